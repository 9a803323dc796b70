"""The database away, or too busy, as every task of a worker meets it: said once, and once that it is back."""

import logging

from django.db import InterfaceError, OperationalError

_log = logging.getLogger(__name__)
AWAY = (InterfaceError, OperationalError)
"""What is raised then."""


class Outage:
    """Shared by all tasks of a worker."""

    def __init__(self) -> None:
        self._lasts = False

    def met(self, error: Exception) -> None:
        if not self._lasts:
            _log.error("database-unavailable", extra={"reason": error, "work": "waits"})
        self._lasts = True

    def ended(self) -> None:
        if self._lasts:
            _log.info("database-back")
        self._lasts = False
