"""What several decoders read of the same rows, read once.

The union of what they want is read and decoded as for one decoder; then each takes its part, without a copy:
of a block that another reads whole, a decoder of pooled frames takes a view of CLS. Blocks and tokens are
decoded each by itself, so a decoder gets the very values that it would get alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from decoders.dataset import Batch, FeatureReader
from decoders.evl import BlockFeatures
from decoders.wanted import Wanted, union


class SharedReader:
    """Several readers of one bank as one.

    Attributes:
        union: reads everything that any of them wants.
    """

    def __init__(self, readers: Sequence[FeatureReader]) -> None:
        first = readers[0]
        assert all((other.bank, other.dtype) == (first.bank, first.dtype) for other in readers)
        self.union = FeatureReader(
            first.bank,
            union(reader.wanted for reader in readers),
            device=first.device,
            dtype=first.dtype,
        )
        self._wants = [reader.wanted for reader in readers]

    def parts(self, batch: Batch) -> Iterator[Batch]:
        """Each decoder's part of a batch of `union`, in the order of the readers, nothing copied."""
        found = dict(zip(self.union.wanted.blocks, batch.features, strict=True))
        for wanted, targets in zip(self._wants, batch.targets, strict=True):
            yield Batch(
                features=[_part(found[block], block, wanted) for block in wanted.blocks], targets=targets
            )


def _part(features: BlockFeatures, block: int, wanted: Wanted) -> BlockFeatures:
    """A decoder's part of what is read of a block."""
    return features if block in wanted.whole else replace(features, out=features.out[:, :, :1])
