"""Other ways to keep the same rows in files, each written and read as its own documentation suggests.

All are uncompressed fp16. A read gives the values of a batch in memory of the process's own, never a lazy
view of a file, and as near to a batch as the format's fastest call brings them:

* npy: a file per clip and block; the arrays that `np.load` gives. `npy_stacked` stacks them to a tensor per
  block as well, which is what a training step needs.
* safetensors: a file per clip; the arrays that `safetensors.numpy.load_file` gives. (Its torch side gives
  views of a mapped file, and copying those into a batch is slower.)
* hdf5: one file, a dataset per block, chunk = clip; `read_direct` into reused batch buffers.
* webdataset: one tar of npy members, in the tar's order, since it has no random access.
* litdata: clips of a local `StreamingDataset` by number.

`npy_2_threads` and `safetensors_2_threads` load the files of a batch in two threads.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.sample_rows import BATCH, Batch, SampleRows

Reader = Callable[[NDArray[np.int64]], Iterator[Batch]]
"""From a pass, (steps, BATCH) clip numbers, to its batches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One way to keep rows, or to read them back."""

    name: str
    """What the figures call it."""
    folder: str
    """Where its files lie; formats that read the same files share it."""
    needs: str = "numpy"
    """The package that it takes."""
    write: Callable[[Path, SampleRows], None]
    """Write all rows into the folder, which is not there yet."""
    open: Callable[[Path, SampleRows], Reader]
    """Make ready to read them."""

    @property
    def installed(self) -> bool:
        """Whether it can run here."""
        return find_spec(self.needs) is not None


def write_npy(folder: Path, rows: SampleRows) -> None:
    """A file per clip and block."""
    folder.mkdir()
    for clip in range(rows.clips):
        for name, values in zip(rows.names, rows.clip(clip), strict=True):
            np.save(folder / f"{clip:06d}-{name}.npy", values)


def read_npy(folder: Path, rows: SampleRows, *, threads: int = 1, stacked: bool = False) -> Reader:
    """`np.load`, file by file."""

    def batches(order: NDArray[np.int64]) -> Iterator[Batch]:
        with loader(threads) as load_all:
            for clips in order:
                paths = [folder / f"{clip:06d}-{name}.npy" for name in rows.names for clip in clips]
                found = list(load_all(np.load, paths))
                values = [found[first : first + BATCH] for first in range(0, len(found), BATCH)]
                yield clips, [np.stack(arrays) for arrays in values] if stacked else values

    return batches


def write_safetensors(folder: Path, rows: SampleRows) -> None:
    """A file per clip, a tensor per block."""
    from safetensors.numpy import save_file

    folder.mkdir()
    for clip in range(rows.clips):
        save_file(dict(zip(rows.names, rows.clip(clip), strict=True)), folder / f"{clip:06d}.safetensors")


def read_safetensors(folder: Path, rows: SampleRows, *, threads: int = 1) -> Reader:
    """`load_file`, file by file."""
    from safetensors.numpy import load_file

    def batches(order: NDArray[np.int64]) -> Iterator[Batch]:
        with loader(threads) as load_all:
            for clips in order:
                found = list(load_all(load_file, [folder / f"{clip:06d}.safetensors" for clip in clips]))
                yield clips, [[file[name] for file in found] for name in rows.names]

    return batches


def write_hdf5(folder: Path, rows: SampleRows) -> None:
    """A dataset per block, a chunk per clip."""
    import h5py

    folder.mkdir()
    with h5py.File(folder / "rows.h5", "w") as file:
        for place, name in enumerate(rows.names):
            data = file.create_dataset(name, (rows.clips, *rows.shape), "f2", chunks=(1, *rows.shape))
            for clip in range(rows.clips):
                data[clip] = rows.row(clip, place)


def read_hdf5(folder: Path, rows: SampleRows) -> Reader:
    """`read_direct`, chunk by chunk."""
    import h5py

    buffers = batch_buffers(rows)

    def batches(order: NDArray[np.int64]) -> Iterator[Batch]:
        with h5py.File(folder / "rows.h5") as file:
            data: list[Any] = [file[name] for name in rows.names]
            for clips in order:
                for block, buffer in zip(data, buffers, strict=True):
                    for place, clip in enumerate(clips):
                        block.read_direct(buffer, np.s_[clip], np.s_[place])
                yield clips, buffers

    return batches


def write_webdataset(folder: Path, rows: SampleRows) -> None:
    """One tar, an npy member per clip and block."""
    from webdataset.writer import TarWriter

    folder.mkdir()
    with TarWriter(str(folder / "rows.tar")) as tar:
        for clip in range(rows.clips):
            members = {
                f"{name}.npy": values for name, values in zip(rows.names, rows.clip(clip), strict=True)
            }
            tar.write({"__key__": f"{clip:06d}", **members})


def read_webdataset(folder: Path, rows: SampleRows) -> Reader:
    """From the tar's first clip to its last, whatever order is asked for."""
    from webdataset.compat import WebDataset

    def batches(order: NDArray[np.int64]) -> Iterator[Batch]:
        samples = cast(Any, WebDataset(str(folder / "rows.tar"), shardshuffle=False).decode())
        found: list[dict[str, Any]] = []
        for sample in samples:
            found.append(sample)
            if len(found) == BATCH:
                yield (
                    [int(sample["__key__"]) for sample in found],
                    [[sample[f"{name}.npy"] for sample in found] for name in rows.names],
                )
                found = []

    return batches


def write_litdata(folder: Path, rows: SampleRows) -> None:
    """Chunks of 64 MB."""
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_bytes="64MB")
    for clip in range(rows.clips):
        writer[clip] = {"clip": clip, **dict(zip(rows.names, rows.clip(clip), strict=True))}
    writer.done()
    writer.merge(1)


def read_litdata(folder: Path, rows: SampleRows) -> Reader:
    """By number, clip by clip."""
    from litdata import StreamingDataset

    data = StreamingDataset(str(folder))

    def batches(order: NDArray[np.int64]) -> Iterator[Batch]:
        for clips in order:
            found = [data[int(clip)] for clip in clips]
            yield [clip["clip"] for clip in found], [[clip[name] for clip in found] for name in rows.names]

    return batches


@contextmanager
def loader(threads: int) -> Iterator[Callable[..., Any]]:
    """`map`, in so many threads."""
    if threads == 1:
        yield map
    else:
        with ThreadPoolExecutor(threads) as pool:
            yield pool.map


def batch_buffers(rows: SampleRows) -> list[np.ndarray]:
    """(BATCH, T, L, C) fp16 per block, filled once so that its memory is there."""
    return [np.full((BATCH, *rows.shape), np.nan, np.float16) for _ in rows.blocks]


FILE_FORMATS = (
    Format(name="npy", folder="npy", write=write_npy, open=read_npy),
    Format(name="npy_stacked", folder="npy", write=write_npy, open=partial(read_npy, stacked=True)),
    Format(name="npy_2_threads", folder="npy", write=write_npy, open=partial(read_npy, threads=2)),
    Format(
        name="safetensors",
        folder="safetensors",
        needs="safetensors",
        write=write_safetensors,
        open=read_safetensors,
    ),
    Format(
        name="safetensors_2_threads",
        folder="safetensors",
        needs="safetensors",
        write=write_safetensors,
        open=partial(read_safetensors, threads=2),
    ),
    Format(name="hdf5", folder="hdf5", needs="h5py", write=write_hdf5, open=read_hdf5),
    Format(
        name="webdataset",
        folder="webdataset",
        needs="webdataset",
        write=write_webdataset,
        open=read_webdataset,
    ),
    Format(name="litdata", folder="litdata", needs="litdata", write=write_litdata, open=read_litdata),
)
