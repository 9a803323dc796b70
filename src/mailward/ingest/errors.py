"""What a channel must tell its peer apart: all are temporary, and nothing was kept."""


class IngestError(Exception):
    """A report could not be taken now."""


class StoreBusy(IngestError):
    """The database is locked, full or gone. The sender's retry will succeed once it is not."""


class TooMuchUnreadable(IngestError):
    """This organisation got more mail today that cannot be read than is kept."""
