"""A stream of mail while the sender is killed and started again and again: the listening sockets are systemd's, so
Postfix waits, and no message is put back into the queue.
"""

import signal
import socket
import time
from collections.abc import Iterator

import pytest
from tests.e2e.postfix.bed import SUITES, Bed, Domain, policy, running_bed
from tests.e2e.postfix.site import Site

pytestmark = pytest.mark.timeout(600)

ENFORCE = policy("enforce", "valid.mx.test")
BATCH = 20
ENDS = (signal.SIGKILL, signal.SIGTERM) * 3


@pytest.fixture
def bed(root: None) -> Iterator[Bed]:
    listeners = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in SUITES]
    site = Site("may", 0, listeners=listeners)
    try:
        with running_bed([Domain("stream", policy=ENFORCE)], [site]) as bed:
            yield bed
    finally:
        for listener in listeners:
            listener.close()


def test_crashes_and_restarts_defer_no_mail(bed: Bed) -> None:
    site, sent = bed.sites["may"], 0
    bed.send("stream")
    for version in bed.senders:
        assert bed.taken("stream", version) == "valid.mx.test TLS"
    for number in ENDS:
        sent += _stream(bed)
        site.kill(number)
        sent += _stream(bed)  # nobody is there to answer
        site.spawn(bed.network)
        sent += _stream(bed)
        site.wait()
        # Postfix asks twice: what is asked again because of this end must have its answer before the next one
        _wait_for(bed, 2 * (sent + 1))
    for postfix in bed.senders.values():
        assert postfix.log().count("status=sent") == sent + 1
        assert "status=deferred" not in postfix.log()
    assert site.log().count(" sender started ") == len(ENDS) + 1


def _wait_for(bed: Bed, mails: int) -> None:
    ends = time.monotonic() + 150
    while bed.mailboxes.total() < mails:
        deferred = [
            line
            for each in bed.senders.values()
            for line in each.log().splitlines()
            if "status=deferred" in line
        ]
        assert not deferred, deferred[:3]
        assert time.monotonic() < ends, f"{bed.mailboxes.total()} of {mails}"
        time.sleep(0.2)


def _stream(bed: Bed) -> int:
    for version, postfix in bed.senders.items():
        postfix.stream(bed.recipient("stream", version), BATCH)
    return BATCH
