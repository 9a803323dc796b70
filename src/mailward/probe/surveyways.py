"""How a survey looks at domains."""

from dataclasses import dataclass
from pathlib import Path

from mailward.core.suffixes import Suffixes

SUFFIX_LIST = Path("/usr/share/publicsuffix/public_suffix_list.dat")
SESSIONS = "sessions.sqlite3"  # in the directory of a survey


@dataclass(frozen=True, slots=True)
class SurveyWays:
    """All of it can be pickled."""

    resolvers: tuple[str, ...] = ()
    """`address` or `address:port`, taken in turn; none: the system's."""
    concurrency: int = 500
    """Domains at a time in one process, and questions."""
    retries: int = 2
    """Of a DNS question, after the first try."""
    per_address: int = 4
    """Connections at a time to one address, from one process."""
    has_smtp: bool = False
    smtp_rate: float = 10.0
    """Connections to MX hosts a second."""
    sessions_file: Path | None = None
    """Where sessions with MX hosts are kept, so that none is had twice."""
    ehlo_name: str = ""
    ca_file: Path | None = None
    allow_private: bool = False
    https_port: int = 443
    smtp_port: int = 25
    dns_seconds: float = 3.0
    connect_seconds: float = 10.0
    fetch_seconds: float = 30.0
    domain_seconds: float = 120.0
    suffix_list: Path = SUFFIX_LIST


def read_suffixes(path: Path) -> Suffixes:
    try:
        with path.open(encoding="utf-8") as lines:
            return Suffixes(lines)
    except (OSError, UnicodeDecodeError):
        return Suffixes()
