"""An image as a video: one frame, or as many as an animated WebP or PNG has. Decoded by Pillow, turned as its
EXIF says."""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from video.errors import DecodeError
from video.faults import Stage

ORIENTATION = 0x0112
TURNS = {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}


def is_image(data: bytes) -> bool:
    """True for JPEG, PNG and WebP, by their first bytes."""
    return (
        data[:3] == b"\xff\xd8\xff"
        or data[:8] == b"\x89PNG\r\n\x1a\n"
        or (data[:4], data[8:12]) == (b"RIFF", b"WEBP")
    )


class ImageVideo:
    """An open image."""

    decoder = "image"
    missing_frames = None
    backward_times = 0

    def __init__(self, data: bytes, name: str):
        """Raises DecodeError if Pillow cannot read it."""
        self.name = name
        try:
            self._image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP"))
            self.num_frames = getattr(self._image, "n_frames", 1)
            self.rotation = TURNS.get(self._image.getexif().get(ORIENTATION, 1), 0)
            self._first = self._frame(0)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise self._damaged(error, Stage.OPEN) from error
        self.height, self.width = self._first.shape[:2]
        self.fps = 0.0

    def read(self, indices: np.ndarray) -> UInt8[np.ndarray, "n H W 3"]:
        """RGB frames in the order asked, repeats allowed. Raises DecodeError."""
        try:
            return np.stack(
                [self._frame(index) if index else self._first for index in np.asarray(indices).tolist()]
            )
        except (OSError, EOFError, ValueError, SyntaxError) as error:
            raise self._damaged(error, Stage.DECODE) from error

    def _damaged(self, error: Exception, stage: Stage) -> DecodeError:
        known = not isinstance(error, UnidentifiedImageError)  # which names an address in memory, not a cause
        what = error if known else "its header cannot be read"
        return DecodeError(f"damaged image: {what}", self.name, stage=stage, decoder=self.decoder)

    def _frame(self, index: int) -> np.ndarray:
        if index or self.num_frames > 1:
            self._image.seek(index)
        return np.array(ImageOps.exif_transpose(self._image).convert("RGB"))
