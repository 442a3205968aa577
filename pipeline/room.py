"""Whether what a run will write fits where the bank lies."""

from collections.abc import Mapping, Sequence

from storage import ArrayLayout, BankSpec, DiskTooSmall, Place, part_layouts

TABLE_BYTES = 1024


def bank_bytes(layouts: Sequence[ArrayLayout], rows: int) -> int:
    """Bytes of `rows` rows: features, checksums, and about a kilobyte of tables each."""
    return rows * (sum(layout.row_bytes + 4 for layout in layouts) + TABLE_BYTES)


def refuse_small_disk(place: Place, spec: BankSpec, part: int, clips: Mapping[int, int]) -> None:
    """Make sure that one part's rows of further clips fit where the bank lies.

    Args:
        clips: T of rows to the number of clips.

    Raises:
        DiskTooSmall: with both figures and what would make it fit.
    """
    needed = sum(
        bank_bytes(part_layouts(spec, part, frames), count * spec.views) for frames, count in clips.items()
    )
    rows, free = sum(clips.values()) * spec.views, place.free_bytes()
    if free is not None and needed > free:
        raise DiskTooSmall(
            f"{rows} rows of {needed / rows / 1e6:.2f} MB take about {needed / 1e9:.2f} GB, "
            f"but {place} has only {free / 1e9:.2f} GB free; make room, choose another disk, store integers "
            "(--dtype int8), keep fewer blocks (--last-blocks) or leave out the attention (--attention none)"
        )
