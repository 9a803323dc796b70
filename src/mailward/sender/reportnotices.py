"""What the operator should hear of report deliveries: ruas where the last ones failed for good, and those that nothing
is sent to any more. Read beside the reporter, on a connection that cannot write.
"""

import contextlib
import sqlite3
from pathlib import Path

from mailward.core.names import Domain
from mailward.core.sending.notice import Cause, Kind
from mailward.sender.census import open_for_reading
from mailward.sender.reportrows import StoreError

MAX_CAUSES = 1_000
_DAY = 86_400
LOOK_BACK_DAYS = 7
"""A rua that nothing went to for so long is no news any more."""
# SQLite takes the other columns of a group from the row that has the maximum: a failure of the last day that has any
_FAILING = """
SELECT rua, domain, state, outcome, max(2 * day + (state != 'delivered')) FROM delivery
WHERE state IN ('delivered', 'failed', 'bounced') AND rua != '' AND day >= ?
GROUP BY rua HAVING state != 'delivered' ORDER BY day DESC, rua LIMIT ?
"""
_SUPPRESSED = "SELECT rua, until, reason FROM suppression WHERE until > ? ORDER BY since DESC LIMIT ?"
_OF_RUA = "SELECT domain FROM delivery WHERE rua = ? ORDER BY day DESC LIMIT 1"


def report_causes(path: Path, now: int) -> list[Cause]:
    """`path`: of the reports; nothing where there are none yet. Raises StoreError."""
    if not path.exists():
        return []
    try:
        with contextlib.closing(open_for_reading(path)) as connection:
            suppressed = [
                Cause(
                    Kind.SUPPRESSED,
                    _domain(connection, rua),
                    "",
                    reason,
                    lifetime_seconds=until - now,
                    rua=rua,
                )
                for rua, until, reason in connection.execute(_SUPPRESSED, (now, MAX_CAUSES))
            ]
            told = {cause.rua for cause in suppressed}
            since = now // _DAY - LOOK_BACK_DAYS
            failing = [
                Cause(Kind.UNDELIVERED, Domain(domain), "", outcome, rua=rua)
                for rua, domain, _, outcome, _ in connection.execute(_FAILING, (since, MAX_CAUSES))
                if rua not in told
            ]
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error
    return suppressed + failing


def _domain(connection: sqlite3.Connection, rua: str) -> Domain:
    """One whose reports go there."""
    found = connection.execute(_OF_RUA, (rua,)).fetchone()
    return Domain(found[0] if found else "")
