"""How much of a stranger's report is read. What goes beyond is Unreadable, never cut off silently."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    max_inflated_bytes: int = 25 * MIB
    """Of JSON, summed over everything that one file or mail unpacks to. RFC 8460 section 5.2 speaks of ten
    megabytes as a common limit for a whole report.
    """
    max_depth: int = 64
    """JSON nesting. A report has 7 levels."""
    max_values: int = 1_000_000
    """JSON values in one document: 25 MiB of `[],[],...` would take a gigabyte as objects."""
    max_reports: int = 1_000
    """Reports in one file or mail."""
    max_parts: int = 500
    """MIME parts of one mail."""
    max_mime_depth: int = 12
    """Multiparts and mails inside each other."""
    max_header_bytes: int = 512 * 1024
    """The header of one mail or part."""
    max_members: int = 1_000
    """Members of one zip archive or of one gzip file."""


DEFAULT_LIMITS = Limits()
