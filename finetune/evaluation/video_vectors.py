"""A vector for every video, from which its zero-shot score follows for any classes.

A video's score is the mean over frames of the scaled cosine with a class, summed over views (Open-VCLIP,
arXiv 2302.00624). Both sums may be taken before the product with the class matrix, so a video is one vector:
the sum over its views of the mean of its unit frame embeddings. 20,000 videos of ViT-B are 40 MB, and every
protocol, split and draw of classes is a product with them.

Vectors come from a bank, which keeps the embeddings of all frames (in fp16), or from videos through the
tower. The latter writes each to a journal as soon as it is known, so an interrupted run goes on where it was.
"""

import base64
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from backbones.taps import FrozenTower
from finetune.decoding import Decoders
from storage import Bank
from video import Clip, DecodedClip, DecodeError, ViewPlan

Vectors = dict[str, NDArray[np.float32]]
"""A clip's key to its vector, (E,)."""
ROWS = 256
"""Rows of a bank that are read at once."""


def video_vector(embeddings: Float[Tensor, "V T E"]) -> Float[Tensor, " E"]:
    """One video's vector from the embeddings of its views' frames, in fp32."""
    return F.normalize(embeddings.float(), dim=-1).mean(dim=1).sum(dim=0)


def bank_vectors(bank: Bank) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Every clip of a bank that has all of its views, images too, by key."""
    for frames in bank.lengths:
        yield from _vectors_of(bank, frames)


def _vectors_of(bank: Bank, frames: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Those of clips whose rows have this T."""
    table, views = bank.written(frames=frames), bank.spec.views
    rows, keys = table["row"].to_numpy(), table["key"].to_pylist()
    first = rows - table["view"].to_numpy()
    owners, found = np.unique(np.unique(np.stack([first, rows]), axis=1)[0], return_counts=True)
    named: dict[int, list[str]] = {}
    for key, owner in dict.fromkeys(zip(keys, first.tolist(), strict=True)):
        named.setdefault(owner, []).append(key)
    whole = owners[found == views]
    for part in np.array_split(whole, -(-len(whole) * views // ROWS) or 1):
        rows = (part[:, None] + np.arange(views)).reshape(-1)
        pooled = torch.from_numpy(bank.read(bank.pooled_name(frames), rows))
        clips = rearrange(pooled, "(n v) t e -> n v t e", v=views)
        for owner, embeddings in zip(part.tolist(), clips, strict=True):
            vector = video_vector(embeddings).numpy()
            yield from ((key, vector) for key in named[owner])


@torch.inference_mode()
def clip_vector(tower: FrozenTower, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The vector of decoded views, (V, T, h, w, 3)."""
    views, length = frames.shape[:2]
    images = tower.normalise(torch.from_numpy(frames).flatten(0, 1))
    pooled = tower(images, frames=length).pooled
    return video_vector(rearrange(pooled, "(v t) e -> v t e", v=views)).cpu().numpy()


def found_of(tower: FrozenTower, views: DecodedClip | DecodeError) -> NDArray[np.float32] | str:
    """A clip's vector, or why it has none."""
    return str(views) if isinstance(views, DecodeError) else clip_vector(tower, views.frames)


def encoded(
    tower: FrozenTower, clips: Sequence[Clip], plan: ViewPlan, *, processes: int = 2
) -> Generator[tuple[str, NDArray[np.float32] | str], None, None]:
    """Vectors of clips in their order, or why a clip gave none; a few are decoded ahead, in processes that a
    damaged video may crash.
    """
    with Decoders(processes) as decoders:
        for clip, views in zip(clips, decoders.in_order(clips, plan), strict=True):
            yield clip.key, found_of(tower, views)


class Journal:
    """Vectors as they are made, a line each, in a file that any interruption leaves readable.

    Attributes:
        vectors: what it holds.
        failed: why clips gave none, by key; they are not tried again.
        known: the keys of both.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], *, vectors: bool = True) -> None:
        """Open or begin a journal.

        Args:
            path: its file. identity: what decides the vectors; plain JSON values.
            vectors: whether to hold them in memory, which who only adds to it need not.

        Raises:
            ValueError: the file has vectors of another model or of other views.
        """
        self.vectors: Vectors = {}
        self.failed: dict[str, str] = {}
        self.known: set[str] = set()
        self._holds = vectors
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        self._read(json.loads(json.dumps(identity)), path)

    def add(self, key: str, found: NDArray[np.float32] | str) -> None:
        """Note a clip's vector, or why it has none."""
        if isinstance(found, str):
            line = {"key": key, "failed": found}
        else:
            line = {"key": key, "vector": base64.b64encode(found.astype("<f4").tobytes()).decode()}
        self._write(line)
        self._take(line)

    def close(self) -> None:
        self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()

    def _read(self, identity: Any, path: Path) -> None:
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]  # a line that was cut short is made again
        self._file.truncate(len(whole))
        lines = [json.loads(line) for line in whole.splitlines()]
        if not lines:
            self._write({"of": identity})
        elif lines[0].get("of") != identity:
            self._file.close()
            raise ValueError(
                f"{path} holds vectors of another model, or of other views of its videos; name another --out"
            )
        for line in lines[1:]:
            self._take(line)

    def _take(self, line: Mapping[str, str]) -> None:
        self.known.add(line["key"])
        if "failed" in line:
            self.failed[line["key"]] = line["failed"]
        elif self._holds:
            self.vectors[line["key"]] = np.frombuffer(base64.b64decode(line["vector"]), "<f4")
