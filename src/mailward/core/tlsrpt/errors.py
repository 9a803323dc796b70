"""What reading and writing reports raise."""

_MAX_PLACE = 100
"""Characters of it that are told: members of archives have names of any length."""


class Unreadable(Exception):
    """Nothing in the bytes can be kept as a report. The bytes themselves are worth keeping: a later version
    may read them.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        """A slug of level `reject` in DEVIATIONS, stable."""
        self.detail = detail
        """One sentence; may quote a short piece of the input."""

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


Refusal = tuple[str, str]
"""Code and detail of an Unreadable that is kept for later. The error itself would hold, in a cycle that only the
collector ends, the frames of its traceback and with them the megabytes that could not be read.
"""
PlacedRefusal = tuple[str, Refusal]
"""With the part of a mail or the member of an archive that it is about."""


def say_where(failure: PlacedRefusal | None) -> Refusal | None:
    """The place as words of the detail, for what stands beside reports that were read."""
    if failure is None:
        return None
    where, (code, detail) = failure
    return code, f"{where[:_MAX_PLACE]}, beside what was read: {detail}"


class Unwritable(ValueError):
    """A report cannot become a mail: a value that RFC 8460 section 5 needs is not there or not usable."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason
