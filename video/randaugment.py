"""RandAugment (Cubuk et al., 2020, arXiv 1909.13719) with the same operations on every frame of a clip.

timm's implementation draws from Python's and numpy's global generators. Each frame starts those from the same
seed, so all frames get the same operations at the same strength, and the states found are put back
afterwards: nothing else in the process notices. A lock keeps threads of one process apart.
"""

import random
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from jaxtyping import UInt8
from PIL import Image

EVL_POLICY = "rand-m7-n4-mstd0.5-inc1"
RAND_AUGMENT = re.compile(r"rand(-(m|n|p|mstd|mmax|inc|w|t)\d+(\.\d+)?)+$")
_GLOBAL_GENERATORS = threading.Lock()


def rand_augment(
    frames: UInt8[np.ndarray, "T H W 3"], policy: str, seed: int
) -> UInt8[np.ndarray, "T H W 3"]:
    """`policy` in timm's notation, bicubic, drawn from `seed`; shifts reach up to 0.45 of the short side."""
    # timm imports torch (2.5 s): only where RandAugment is asked for
    from timm.data.auto_augment import rand_augment_transform

    reach = int(min(frames.shape[1:3]) * 0.45)
    augment = rand_augment_transform(
        policy, {"translate_const": reach, "interpolation": Image.Resampling.BICUBIC}
    )
    augmented = []
    for frame in frames:
        with _seeded(seed):
            augmented.append(np.asarray(augment(Image.fromarray(frame))))
    return np.stack(augmented)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with _GLOBAL_GENERATORS:
        python, legacy = random.getstate(), np.random.get_state()
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)
