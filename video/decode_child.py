"""The child's side of decoding: read a request, decode, answer, until the parent is gone.

A program of its own, so that a worker starts it in a fresh interpreter that imports nothing but `video`.
"""

import contextlib
import os
import re
import signal
import sys
from multiprocessing.connection import Connection

from video import Clip, DecodedClip, DecodeError, Fault, ViewPlan, decode_views

ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of an object, in Python's description of it: differs every time


def answer(clip: Clip, plan: ViewPlan) -> DecodedClip | DecodeError:
    """A decoded clip, or why there is none: whatever a decoder raises is the video's fault."""
    try:
        return decode_views(clip, plan)
    except DecodeError as error:
        return error
    except MemoryError:
        return DecodeError("decoding ran out of memory", clip.key, error=Fault.TOO_MUCH_MEMORY)
    except Exception as error:
        reason = ADDRESS.sub("", f"{type(error).__name__}: {error}")
        return DecodeError(reason, clip.key, error=Fault.UNEXPECTED)


def serve(connection: Connection) -> None:
    """Say that the child is there, then answer requests until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, ConnectionError):
        connection.send(True)  # here
        while True:
            clip, plan = connection.recv()
            connection.send(answer(clip, plan))


if __name__ == "__main__":
    serve(Connection(os.dup(int(sys.argv[1]))))
