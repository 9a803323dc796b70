"""What HTTP servers counted, as families of metrics."""

from collections.abc import Iterator, Mapping

from mailward.core.metrics import catalogue
from mailward.core.metrics.family import Family
from mailward.net.certificates import Certificates
from mailward.net.httpserver import Server
from mailward.net.tlsfaults import FAULTS


def context_families(process: str, certificates: Certificates) -> Iterator[Family]:
    yield catalogue.TLS_CONTEXTS.of({(process,): certificates.cached})
    yield catalogue.TLS_CONTEXTS_MADE.of({(process,): certificates.made})


def http_families(servers: Mapping[str, Server]) -> Iterator[Family]:
    """By the names of the servers."""
    counts = {name: server.counts for name, server in servers.items()}
    answers: dict[tuple[str, ...], float] = {}
    for name, each in counts.items():
        for status, count in {200: 0, **each.statuses}.items():
            answers[name, str(status)] = count
        answers[name, "200"] += each.shortcuts
    yield catalogue.HTTP_REQUESTS.of(answers)
    yield catalogue.HTTP_SECONDS.of({(name,): each.seconds for name, each in counts.items()})
    yield catalogue.HTTP_CONNECTIONS.of({(name,): each.connections for name, each in servers.items()})
    yield catalogue.HTTP_TURNED_AWAY.of({(name,): each.turned_away for name, each in counts.items()})
    with_tls = {name: each for name, each in counts.items() if servers[name].has_tls}
    if with_tls:
        yield catalogue.TLS_HANDSHAKES.of({(name,): each.handshakes for name, each in with_tls.items()})
        failures = {
            (name, fault): each.handshake_failures[fault]
            for name, each in with_tls.items()
            for fault in FAULTS
        }
        yield catalogue.TLS_FAILURES.of(failures)
