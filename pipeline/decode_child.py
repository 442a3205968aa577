"""The child's side of decoding: read a request, decode, answer, until the parent is gone.

A program of its own, so that a worker starts it in a fresh interpreter that imports nothing but `video`.
"""

import contextlib
import os
import signal
import sys
from multiprocessing.connection import Connection

from video import Clip, DecodedClip, DecodeError, ViewPlan, decode_views


def answer(clip: Clip, plan: ViewPlan) -> DecodedClip | str:
    """A decoded clip, or the reason why there is none: whatever a decoder raises is the video's fault."""
    try:
        return decode_views(clip, plan)
    except DecodeError as error:
        return error.reason
    except MemoryError:
        return "decoding ran out of memory"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def serve(connection: Connection) -> None:
    """Answer requests until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            clip, plan = connection.recv()
            connection.send(answer(clip, plan))


if __name__ == "__main__":
    serve(Connection(os.dup(int(sys.argv[1]))))
