"""What can go wrong with a bank, as one small family of errors.

Every message says what was expected, what was found and what to do. A mistake of the user's is a `ValueError`
as well, so that a caller who knows nothing of banks can catch it.
"""


class BankError(Exception):
    """Anything a bank refuses or finds wrong."""


class NotABank(BankError, ValueError):
    """The path holds no bank, or one of a format that this version cannot read."""


class OtherFormat(NotABank):
    """The bank's format is one that this version cannot read."""


class SpecMismatch(BankError, ValueError):
    """The bank was made with another spec than the one asked for."""


class ListingConflict(BankError, ValueError):
    """A new listing contradicts what the bank already holds (a label that changed its name, say)."""


class BankBusy(BankError):
    """Another run holds the bank's writer lease."""


class DiskTooSmall(BankError):
    """The estimate does not fit the free space, or the disk is full."""


class Unstorable(BankError):
    """A row's values do not fit the arrays: another shape, or numbers that the type cannot hold."""


class MissingRow(BankError, LookupError):
    """A row was asked for that no commit record vouches for."""


class CorruptShard(BankError):
    """A shard's bytes are not the bytes that were committed."""


class StoreError(BankError):
    """An object store cannot be reached, refuses the credentials or lacks what a bank needs of it."""
