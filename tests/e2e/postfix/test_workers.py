"""A stream of mail while workers are killed one after the other: Postfix connects again and meets another."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.postfix.bed import Bed, Domain, policy, running_bed
from tests.e2e.postfix.site import Site

pytestmark = pytest.mark.timeout(600)

WORKERS, KILLED, BATCH = 3, 6, 30
MAIL_SECONDS = 240


@pytest.fixture
def bed(root: None) -> Iterator[Bed]:
    site = Site("may", 8461, settings={"workers": str(WORKERS)})
    with running_bed([Domain("stream", policy=policy("enforce", "valid.mx.test"))], [site]) as bed:
        yield bed


def workers(site: Site) -> list[int]:
    assert site.process is not None
    pid = site.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_workers_that_are_killed_defer_no_mail(bed: Bed) -> None:
    site = bed.sites["may"]
    bed.send("stream")
    for version in bed.senders:
        assert bed.taken("stream", version) == "valid.mx.test TLS"
    for number in range(KILLED):
        ends = time.monotonic() + MAIL_SECONDS
        while site.log().count(" sender started ") < WORKERS + number:
            assert time.monotonic() < ends, site.log()
            time.sleep(0.1)
        for version, postfix in bed.senders.items():
            postfix.stream(bed.recipient("stream", version), BATCH)
        os.kill(workers(site)[number % WORKERS], signal.SIGKILL)
        for version, postfix in bed.senders.items():
            postfix.stream(bed.recipient("stream", version), BATCH)
    sent = 2 * BATCH * KILLED + 1
    ends = time.monotonic() + MAIL_SECONDS
    while bed.mailboxes.total() < len(bed.senders) * sent:
        assert time.monotonic() < ends, f"{bed.mailboxes.total()} of {len(bed.senders) * sent}"
        time.sleep(0.2)
    for postfix in bed.senders.values():
        assert postfix.log().count("status=sent") == sent
        assert "status=deferred" not in postfix.log()
    assert site.log().count(" worker-died ") == KILLED
