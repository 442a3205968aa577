"""The one error of this room: a backbone that cannot be had as it was asked for."""


class BackboneError(ValueError):
    """Says what was expected, what was found and what to do, in one line."""
