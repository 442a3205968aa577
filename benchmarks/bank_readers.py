"""Readers of one bank's files: framebank's own, zarr-python and tensorstore.

* framebank reads as a training does, through `RowLoader` with its defaults: into buffers that are used again,
  by four threads, ahead of the one that asks. `framebank_1_thread` has one thread; `framebank_always` checks
  every row on every read, `framebank_never` none.
* zarr: `array[clip]`, row by row, which is faster than a selection of several. Its crc32c codec checks every
  read.
* tensorstore: all rows of a batch are asked for at once and read by threads of its own, checked as well.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.rivals import Format, Reader, batch_buffers, batched
from benchmarks.sample_rows import Batch, SampleRows, write_bank
from storage import Bank, RowLoader, array_name
from storage.shard_file import Verify


def read_framebank(
    folder: Path, rows: SampleRows, *, verify: Verify = "first-touch", threads: int | None = None
) -> Reader:
    """Batch by batch through the loader; what was verified is remembered from pass to pass."""
    names = [array_name(block, "out") for block in rows.blocks]
    loader = RowLoader(Bank(folder, verify=verify), names, threads=threads)

    def batches(order: NDArray[np.int64]) -> Iterator[Batch]:
        for clips, values in zip(order, loader.batches(order), strict=True):
            yield clips, [values[name] for name in names]

    return batches


def read_zarr(folder: Path, rows: SampleRows) -> Reader:
    """Row by row."""
    import zarr

    group = zarr.open_group(folder, mode="r")
    arrays = [cast(Any, group[array_name(block, "out")]) for block in rows.blocks]

    def fill(clip: int, places: Sequence[np.ndarray]) -> None:
        for array, place in zip(arrays, places, strict=True):
            place[...] = array[clip]

    return batched(fill, rows)


def read_tensorstore(folder: Path, rows: SampleRows) -> Reader:
    """A batch at a time."""
    import tensorstore

    def opened(name: str) -> Any:
        place = {"driver": "file", "path": f"{folder / name}/"}
        return tensorstore.open({"driver": "zarr3", "kvstore": place}, read=True, open=True).result()

    arrays = [opened(array_name(block, "out")) for block in rows.blocks]
    buffers = batch_buffers(rows)

    def batches(order: NDArray[np.int64]) -> Iterator[Batch]:
        for clips in order:
            coming = [[array[int(clip)].read() for clip in clips] for array in arrays]
            for block, buffer in zip(coming, buffers, strict=True):
                for place, row in enumerate(block):
                    buffer[place] = row.result()
            yield clips, buffers

    return batches


def framebank(name: str, **options: Any) -> Format:
    """framebank's own reader in one of its settings."""
    return Format(name=name, folder="bank", write=write_bank, open=partial(read_framebank, **options))


BANK_FORMATS = (
    framebank("framebank"),
    framebank("framebank_1_thread", threads=1),
    framebank("framebank_always", verify="always"),
    framebank("framebank_never", verify="never"),
    Format(name="zarr", folder="bank", needs="zarr", write=write_bank, open=read_zarr),
    Format(name="tensorstore", folder="bank", needs="tensorstore", write=write_bank, open=read_tensorstore),
)
