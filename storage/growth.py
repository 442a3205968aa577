"""Adding to what a bank keeps, without rewriting what is there.

What is asked for is compared with what is kept, array by array. Arrays that are missing become a new part
with its own commit records; an array that is there in another type is refused, since rows that were read
once must read the same for ever.
"""

from collections.abc import Collection

from storage.errors import SpecMismatch
from storage.layout import array_layouts, derived_blocks, part_shapes
from storage.places.place import Place
from storage.spec import BankSpec, Kept


def grown(
    place: Place, have: BankSpec, want: BankSpec, *, grow: bool, lengths: Collection[int] = ()
) -> BankSpec:
    """The bank's spec once it keeps all that is asked for; `have` itself where it does already.

    Args:
        place: the bank, for messages.
        have: its spec.
        want: what is asked for, in one part.
        grow: whether a part may be added.
        lengths: T of rows that there are beside the spec's.

    Raises:
        SpecMismatch: an array is kept in another type, or something is missing and `grow` is not set.
    """
    asked = want.kept[0]
    kept = {layout.name: layout.dtype for layout in array_layouts(have, lengths)}
    wanted = wanted_arrays(want, lengths)
    other = [name for name, dtype in wanted.items() if kept.get(name, dtype) != dtype]
    if other:
        name = other[0]
        raise SpecMismatch(
            f"{place} keeps {name} as {kept[name]} for good, asked for {wanted[name]}; ask for the same "
            f"type, or for another bank.{in_words(have)}"
        )
    missing = [name for name in wanted if name not in kept]
    if asked in have.kept or not (missing or lacks_attention(have, asked)):
        return have
    if not grow:
        raise SpecMismatch(
            f"{place} does not keep {', '.join(missing[:4]) or 'the weights that q and k derive with'}"
            f"{' ...' if len(missing) > 4 else ''}, which is asked for; --grow adds it to the bank, all else "
            f"stays as it is.{in_words(have)}"
        )
    return have.with_part(asked)


def lacks_attention(have: BankSpec, asked: Kept) -> bool:
    """Whether weights for derived q and k are missing, though all tokens may be there."""
    return asked.attention == "derived" and not set(asked.blocks) <= set(derived_blocks(have))


def wanted_arrays(want: BankSpec, lengths: Collection[int]) -> dict[str, str]:
    """Names and types of the arrays that are asked for, at the spec's T and at others."""
    shapes = [part_shapes(want, want.kept[0], frames) for frames in (want.frames, *lengths)]
    return {name: dtype for some in shapes for name, (_, dtype) in some.items()}


def needed_parts(have: BankSpec, want: BankSpec, lengths: Collection[int] = ()) -> tuple[int, ...]:
    """Numbers of the parts whose arrays are asked for, and of the first, which knows what became of each
    row.
    """
    wanted = wanted_arrays(want, lengths)
    found = {layout.part for layout in array_layouts(have, lengths) if layout.name in wanted}
    return tuple(sorted({0} | found))


def in_words(spec: BankSpec) -> str:
    """What a bank keeps, a line per part."""
    lines = [
        f"\n  it keeps blocks {' '.join(map(str, kept.blocks))}, attention {kept.attention}, {kept.dtype}"
        for kept in spec.kept
    ]
    return "".join(lines)
