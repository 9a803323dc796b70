"""What a channel must tell its peer apart: all are temporary, and nothing was kept."""


class IngestError(Exception):
    """A report could not be taken now."""


class StoreBusy(IngestError):
    """The database is locked, full or gone. The sender's retry will succeed once it is not."""


class TooMuchToday(IngestError):
    """This organisation got more today that cannot be read, that nobody vouches for, or of one signer, than is kept."""
