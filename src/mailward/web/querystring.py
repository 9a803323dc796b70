"""What stands behind the question mark: anybody may write anything there, so nonsense is the default."""

from datetime import date
from enum import StrEnum
from typing import TypeVar

from django.http import HttpRequest

_Choice = TypeVar("_Choice", bound=StrEnum)
_MAX_ID = 2**63 - 1
MOST_SEARCHED = 253
"""Characters of a search among domains: no name is longer."""
FIRST_DAY = date(2015, 1, 1)
"""Before MTA-STS and TLSRPT."""


def read_number(request: HttpRequest, name: str, *, most: int = _MAX_ID) -> int | None:
    """A whole number from 0 to `most`."""
    text = request.GET.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_ID))):
        return None
    number = int(text)
    return number if number <= most else None


def read_text(request: HttpRequest, name: str, size: int) -> str:
    # PostgreSQL's texts hold no NUL
    return request.GET.get(name, "").replace("\0", "").strip()[:size]


def read_choice(request: HttpRequest, name: str, default: _Choice) -> _Choice:
    try:
        return type(default)(request.GET.get(name, default))
    except ValueError:
        return default


def read_day(request: HttpRequest, name: str, *, latest: date) -> date | None:
    """A day `YYYY-MM-DD`, brought between FIRST_DAY and `latest`."""
    try:
        day = date.fromisoformat(request.GET.get(name, "")[:10])
    except ValueError:
        return None
    return min(max(day, FIRST_DAY), latest)
