"""A decoding child whose decoder crashes, hangs or eats memory, depending on the name of the video."""

import ctypes
import os
import sys
import time
from multiprocessing.connection import Connection

from video import Clip, DecodedClip, ViewPlan, decode_child, decode_views

PIECE, PIECES = 32 << 20, 100


def decode(clip: Clip, plan: ViewPlan) -> DecodedClip:
    """Decode, unless the name says otherwise."""
    if "crash" in clip.key:
        ctypes.string_at(0)
    if "hang" in clip.key:
        time.sleep(1000)
    if "greedy" in clip.key:
        hoard = []
        for _ in range(PIECES):
            hoard.append(b"x" * PIECE)
            time.sleep(0.02)
    return decode_views(clip, plan)


if __name__ == "__main__":
    decode_child.decode_views = decode
    decode_child.serve(Connection(os.dup(int(sys.argv[1]))))
