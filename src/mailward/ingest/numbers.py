"""What the report doors tell of themselves."""

from collections.abc import Iterator

from mailward.core.metrics import catalogue
from mailward.core.metrics.family import Family
from mailward.core.metrics.health import Health
from mailward.ingest.arrivals import DOORS, OUTCOMES, Arrivals
from mailward.ingest.channels.smtp import SmtpDoor
from mailward.ingest.writer import Writer
from mailward.store.models import Trust
from mailward.store.services.writable import takes_writes


def arrival_families(arrivals: Arrivals) -> Iterator[Family]:
    pairs = {(door, outcome) for door in DOORS for outcome in OUTCOMES}
    yield catalogue.ARRIVALS.of({pair: arrivals.outcomes[pair] for pair in pairs})
    trusts = {(door, trust.value) for door in DOORS for trust in Trust}
    yield catalogue.REPORTS.of({pair: arrivals.reports[pair] for pair in trusts})
    yield catalogue.ARRIVAL_BYTES.of({(door,): sizes for door, sizes in arrivals.sizes.items()})
    yield catalogue.ARRIVAL_SECONDS.of({(door,): seconds for door, seconds in arrivals.seconds.items()})


def writer_families(writer: Writer) -> Iterator[Family]:
    waiting, size = writer.waiting
    yield catalogue.WRITER_WAITING.one(waiting)
    yield catalogue.WRITER_BYTES.one(size)
    yield catalogue.DATABASE_UP.of({("doors",): writer.database_ok})
    yield catalogue.COMMITS.of({(each,): writer.commits[each] for each in ("done", "failed")})
    yield catalogue.COMMIT_SECONDS.of({(): writer.seconds})


def mail_families(door: SmtpDoor) -> Iterator[Family]:
    yield catalogue.SMTP_CONNECTIONS.one(len(door.connections))
    yield catalogue.SMTP_ACCEPTED.one(door.accepted)
    yield catalogue.SMTP_TURNED_AWAY.one(door.turned_away)
    yield catalogue.SMTP_ENCRYPTED.one(door.encrypted)
    replies = {(code,): count for code, count in dict(door.replies).items() if code.isdecimal()}
    yield catalogue.SMTP_REPLIES.of({("250",): 0, ("451",): 0, ("550",): 0} | replies)


class Examination:
    """Whether the database takes writes, tried where nothing was written lately."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def examine(self) -> Health:
        """Ready where the database takes writes: else reports are answered 451 and 503, and come again."""
        if takes_writes():
            return Health(facts={"database": True})
        return Health(
            ready=False,
            reasons=("the database takes no writes: reports are answered 451, and come again",),
            facts={"database": False, "waiting": self._writer.waiting[0]},
        )
