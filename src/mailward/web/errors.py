"""What a page says when a view broke: a database that is busy or full is nobody's fault, and passes."""

import sys

from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.defaults import server_error

RETRY_SECONDS = 5
_PASSING = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL")


def broken(request: HttpRequest) -> HttpResponse:
    """Django's handler for what was not caught; the exception is the one that is being handled."""
    if _passes(sys.exc_info()[1]):
        response = render(None, "503.html", status=503)
        response["Retry-After"] = str(RETRY_SECONDS)
        return response
    return server_error(request)


def _passes(error: BaseException | None) -> bool:
    if not isinstance(error, OperationalError):
        return False
    if connection.vendor == "postgresql":
        # locked, full, away, too slow: the class of mistakes is ProgrammingError there
        return True
    return str(getattr(error.__cause__, "sqlite_errorname", "")).startswith(_PASSING)
