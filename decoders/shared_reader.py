"""What several decoders read of the same rows, read once.

The union of their blocks and maps is read and decoded as for one decoder; then each takes its part, without a
copy. Blocks are decoded each by itself, so a decoder gets the very values that it would get alone.
"""

from collections.abc import Iterator, Sequence

from decoders.dataset import Batch, FeatureReader


class SharedReader:
    """Several readers of one bank as one.

    Attributes:
        union: reads every block, and every block's maps, that any of them wants.
    """

    def __init__(self, readers: Sequence[FeatureReader]) -> None:
        first = readers[0]
        assert all((other.bank, other.dtype) == (first.bank, first.dtype) for other in readers)
        self.union = FeatureReader(
            first.bank,
            sorted({block for reader in readers for block in reader.blocks}),
            maps={block for reader in readers for block in reader.maps},
            device=first.device,
            dtype=first.dtype,
        )
        self._places = [[self.union.blocks.index(block) for block in reader.blocks] for reader in readers]

    def parts(self, batch: Batch) -> Iterator[Batch]:
        """Each decoder's part of a batch of `union`, in the order of the readers, nothing copied."""
        for places, targets in zip(self._places, batch.targets, strict=True):
            yield Batch(features=[batch.features[place] for place in places], targets=targets)
