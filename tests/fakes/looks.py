"""Looks at domains as the watcher keeps them, without the network."""

from mailward.config import Settings
from mailward.core.check.facts import Facts
from mailward.core.watch.keeping import pack_session
from mailward.net import clock
from mailward.store.models import Domain, MxLook
from mailward.store.services import watching


def look_at(domain: Domain, facts: Facts, settings: Settings | None = None) -> None:
    """As if a check of `domain` had just seen these facts."""
    now = clock.now()
    rows = [
        MxLook.objects.create(
            host=host.name,
            address=session.address,
            session=pack_session(session),
            digest=b"",
            first_at=now,
            last_at=now,
        )
        for host in facts.hosts
        for session in host.sessions
    ]
    looked_at = {host.name: now for host in facts.hosts}
    watching.keep(
        domain.pk, watching.Seen(facts, tuple(row.pk for row in rows), looked_at), settings or Settings()
    )
