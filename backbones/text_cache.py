"""Unit embeddings of texts kept on disk, under the tower that made them: frozen, it need see each text once.

    FOLDER/
      TOWER/           digest of a text tower, and of how texts become its tokens
        CONTENT.npz    texts (n, 32) uint8, sha256 of each; embeddings (n, E) float32

A call adds a file with the texts that were new to it; no file is ever changed. Each is written under a name
of its own and renamed, so that any number of processes may share a folder: where two encode a text at once,
it is there twice, alike. What is damaged shows in the zip's checksums; such a file is removed and its texts
are encoded anew. The folder is one that the user named, or beside the results: nothing is written elsewhere.
"""

import hashlib
import io
import json
import os
import uuid
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from backbones.weights import LoadedClip, tensors_digest

PART = 8192
"""Texts after which what is new goes to the disk."""
DAMAGED = (ValueError, KeyError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What reading an .npz raises that is in memory, and has a flipped bit or ends early."""
Encode = Callable[[Sequence[str]], Tensor]
"""From n texts to their unit embeddings, (n, E)."""


class TextCache:
    """The embeddings of one text tower.

    Args:
        folder: of all towers. tower: digest of all that decides an embedding, as `text_digest` gives it.
    """

    def __init__(self, folder: Path, tower: str) -> None:
        self.folder = folder / tower
        self._known: dict[bytes, NDArray[np.float32]] = {}
        self._read: set[Path] = set()

    def encoded(self, texts: Sequence[str], encode: Encode) -> Float[Tensor, "n E"]:
        """Unit embeddings of texts, in fp32, on the CPU; `encode` is asked for those alone that are not here,
        each once.
        """
        if self._missing(texts):
            self._load()
        missing = self._missing(texts)
        for start in range(0, len(missing), PART):
            part = missing[start : start + PART]
            self._add(part, encode(part).detach().float().cpu().numpy())
        return torch.from_numpy(np.stack([self._known[key_of(text)] for text in texts]))

    def _missing(self, texts: Sequence[str]) -> list[str]:
        return [text for text in dict.fromkeys(texts) if key_of(text) not in self._known]

    def _load(self) -> None:
        """Take what is in files that were not read yet."""
        for path in sorted(set(self.folder.glob("*.npz")) - self._read):
            try:
                data = path.read_bytes()
            except FileNotFoundError:  # another process found it damaged
                continue
            try:
                keys, embeddings = _contents(data)
            except DAMAGED as error:
                path.unlink(missing_ok=True)
                warnings.warn(
                    f"expected embeddings of texts in {path}, found a damaged file ({error}); it is removed, "
                    "and its texts are encoded anew",
                    stacklevel=4,
                )
                continue
            self._read.add(path)
            self._known |= zip(map(bytes, keys), embeddings, strict=True)

    def _add(self, texts: Sequence[str], embeddings: NDArray[np.float32]) -> None:
        """Keep some, on the disk too."""
        keys = [key_of(text) for text in texts]
        self._known |= zip(keys, embeddings, strict=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{hashlib.sha256(b''.join(keys)).hexdigest()}.npz"
        begun = path.with_suffix(f".{os.getpid()}-{uuid.uuid4().hex}.tmp")
        with begun.open("xb") as file:
            np.savez(
                file, texts=np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 32), embeddings=embeddings
            )
        begun.replace(path)
        self._read.add(path)


def key_of(text: str) -> bytes:
    """sha256 of a text."""
    return hashlib.sha256(text.encode()).digest()


def text_digest(clip: LoadedClip) -> str:
    """sha256 of all that decides what a CLIP makes of a text: the text tower's weights, type and activation,
    and its tokenizer. A fine-tuning of the image tower alone leaves it as it is.
    """
    state = clip.model.state_dict().items()
    weights = {name: values for name, values in state if not name.startswith(("visual.", "logit_"))}
    settings = [clip.precision, clip.quick_gelu, clip.tokenizer.settings()]
    said = json.dumps([tensors_digest(weights), settings], sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()


def _contents(data: bytes) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        keys, embeddings = found["texts"], found["embeddings"]
    if (keys.dtype, embeddings.dtype) != (np.uint8, np.float32) or keys.shape != (len(embeddings), 32):
        raise ValueError(f"{keys.dtype} {keys.shape} and {embeddings.dtype} {embeddings.shape}")
    return keys, embeddings
