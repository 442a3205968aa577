"""What stops an extraction, each with what was expected, found and to do."""


class ExtractionError(Exception):
    """The run as a whole failed; single bad videos never raise."""
