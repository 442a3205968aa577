"""Other ways to keep the same rows in files, each written and read as its own documentation suggests.

All are uncompressed fp16. A read hands over what a training step takes: a batch, one (8, T, L, C) array
per block, in buffers that are used again, as framebank's own are. An array is copied to its place as soon
as it is loaded, while it is in the processor's cache.

* npy: a file per clip and block, `np.load`. `npy_stacked` makes a new batch by `np.stack`, as most scripts
  do.
* safetensors: a file per clip, `safetensors.numpy.load_file`. (Its torch side gives views of a mapped file,
  and copying those into a batch is slower.)
* hdf5: one file, a dataset per block, chunk = clip; `read_direct` into the batch.
* webdataset: one tar of npy members, in the tar's order, since it has no random access.
* litdata: clips of a local `StreamingDataset` by number.

`npy_2_threads` and `safetensors_2_threads` fill a batch in two threads. `npy_loose` and `safetensors_loose`
make no batch: 32 arrays as they were loaded. `memory` is no format but the limit: rows that are arrays in
memory already, copied into a batch.
"""

from collections.abc import Callable, Iterator, Sequence
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
Fill = Callable[[int, Sequence[np.ndarray]], None]
"""Puts a clip's blocks into their places in the batch."""


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
        for path, values in zip(npy_paths(folder, rows, clip), rows.clip(clip), strict=True):
            np.save(path, values)


def read_npy(folder: Path, rows: SampleRows, *, threads: int = 1) -> Reader:
    """`np.load`, file by file."""

    def fill(clip: int, places: Sequence[np.ndarray]) -> None:
        for path, place in zip(npy_paths(folder, rows, clip), places, strict=True):
            place[...] = np.load(path)

    return batched(fill, rows, threads=threads)


def read_npy_loose(folder: Path, rows: SampleRows, *, stacked: bool = False) -> Reader:
    """`np.load`, file by file, the arrays left apart or stacked."""

    def batches(order: NDArray[np.int64]) -> Iterator[Batch]:
        for clips in order:
            found = [[np.load(path) for path in npy_paths(folder, rows, clip)] for clip in clips]
            values = list(zip(*found, strict=True))
            yield clips, [np.stack(arrays) for arrays in values] if stacked else values

    return batches


def npy_paths(folder: Path, rows: SampleRows, clip: int) -> list[Path]:
    """The files of a clip."""
    return [folder / f"{clip:06d}-{name}.npy" for name in rows.names]


def write_safetensors(folder: Path, rows: SampleRows) -> None:
    """A file per clip, a tensor per block."""
    from safetensors.numpy import save_file

    folder.mkdir()
    for clip in range(rows.clips):
        save_file(dict(zip(rows.names, rows.clip(clip), strict=True)), folder / f"{clip:06d}.safetensors")


def read_safetensors(folder: Path, rows: SampleRows, *, threads: int = 1) -> Reader:
    """`load_file`, file by file."""
    from safetensors.numpy import load_file

    def fill(clip: int, places: Sequence[np.ndarray]) -> None:
        found = load_file(folder / f"{clip:06d}.safetensors")
        for name, place in zip(rows.names, places, strict=True):
            place[...] = found[name]

    return batched(fill, rows, threads=threads)


def read_safetensors_loose(folder: Path, rows: SampleRows) -> Reader:
    """`load_file`, file by file, the arrays left apart."""
    from safetensors.numpy import load_file

    def batches(order: NDArray[np.int64]) -> Iterator[Batch]:
        for clips in order:
            found = [load_file(folder / f"{clip:06d}.safetensors") for clip in clips]
            yield clips, [[file[name] for file in found] for name in rows.names]

    return batches


def read_memory(folder: Path, rows: SampleRows) -> Reader:
    """A copy of arrays in memory."""
    held = [[np.load(path) for path in npy_paths(folder, rows, clip)] for clip in range(rows.clips)]

    def fill(clip: int, places: Sequence[np.ndarray]) -> None:
        for values, place in zip(held[clip], places, strict=True):
            place[...] = values

    return batched(fill, rows)


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

    def batches(order: NDArray[np.int64]) -> Iterator[Batch]:
        with h5py.File(folder / "rows.h5") as file:
            data: list[Any] = [file[name] for name in rows.names]

            def fill(clip: int, places: Sequence[np.ndarray]) -> None:
                for block, place in zip(data, places, strict=True):
                    block.read_direct(place, np.s_[clip])

            yield from batched(fill, rows)(order)

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

    buffers = batch_buffers(rows)

    def batches(order: NDArray[np.int64]) -> Iterator[Batch]:
        samples = cast(Any, WebDataset(str(folder / "rows.tar"), shardshuffle=False).decode())
        clips: list[int] = []
        for sample in samples:
            for name, buffer in zip(rows.names, buffers, strict=True):
                buffer[len(clips)] = sample[f"{name}.npy"]
            clips.append(int(sample["__key__"]))
            if len(clips) == BATCH:
                yield clips, buffers
                clips = []

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

    def fill(clip: int, places: Sequence[np.ndarray]) -> None:
        found = data[clip]
        for name, place in zip(rows.names, places, strict=True):
            place[...] = found[name]

    return batched(fill, rows)


def batched(fill: Fill, rows: SampleRows, *, threads: int = 1) -> Reader:
    """Batches in buffers that are used again, filled clip by clip."""
    buffers = batch_buffers(rows)

    def batches(order: NDArray[np.int64]) -> Iterator[Batch]:
        with mapping(threads) as apply:
            for clips in order:
                places = [[buffer[place] for buffer in buffers] for place in range(BATCH)]
                for _ in apply(fill, clips.tolist(), places):
                    pass
                yield clips, buffers

    return batches


@contextmanager
def mapping(threads: int) -> Iterator[Callable[..., Any]]:
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
    Format(name="memory", folder="npy", write=write_npy, open=read_memory),
    Format(name="npy", folder="npy", write=write_npy, open=read_npy),
    Format(name="npy_2_threads", folder="npy", write=write_npy, open=partial(read_npy, threads=2)),
    Format(name="npy_loose", folder="npy", write=write_npy, open=read_npy_loose),
    Format(name="npy_stacked", folder="npy", write=write_npy, open=partial(read_npy_loose, stacked=True)),
    *(
        Format(name=name, folder="safetensors", needs="safetensors", write=write_safetensors, open=read)
        for name, read in (
            ("safetensors", read_safetensors),
            ("safetensors_2_threads", partial(read_safetensors, threads=2)),
            ("safetensors_loose", read_safetensors_loose),
        )
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
