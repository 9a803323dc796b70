"""Postfix's own programs, for real: `postqueue -j` of a queue in which mail waits, and instances made by postmulti."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.postfix.bed import MAPS, SUITES, Bed, Domain, policy, running_bed
from tests.e2e.postfix.site import Site

from mailward.lab.mta import HOME, Postfix

pytestmark = pytest.mark.timeout(600)

NOTICE_SECONDS = 90
OUT = "/etc/postfix-out"


@pytest.fixture(scope="module")
def bed(root: None) -> Iterator[Bed]:
    held = Domain("held", mx=("plain",), policy=policy("enforce", "plain.mx.test"))
    with running_bed([held, Domain("ops")], [Site("may", 8461)]) as bed:
        bed.send("held")
        for version in bed.senders:
            delivery = bed.delivery("held", version)
            assert (delivery.status, delivery.dsn) == ("deferred", "4.7.4"), delivery
        yield bed


def programs(folder: Path, postfix: Postfix) -> Path:
    """Postfix's programs, as they would be in a PATH, of the Postfix in that tree."""
    folder.mkdir()
    for name in ("postqueue", "postmulti", "postconf", "sendmail"):
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec chroot {postfix.root} {name} "$@"\n')
        path.chmod(0o755)
    return folder


@pytest.mark.parametrize("version", SUITES)
def test_mail_that_waits_in_a_real_queue_is_told_by_mail(bed: Bed, version: str, tmp_path: Path) -> None:
    there = programs(tmp_path / "bin", bed.senders[version])
    to = bed.recipient("ops", version)
    site = bed.sites["may"]
    site.kill()
    (site.folder / "sender-notices.json").unlink(missing_ok=True)
    site.settings = {
        "queue_command": f'["{there}/postqueue", "-c", "{HOME}", "-j"]',
        "notice_mail": f'["{to}"]',
        "notice_mail_command": f'["{there}/sendmail", "-C", "{HOME}", "-i", "--"]',
    }
    site.write(site.folder.parent, bed.authority.file, bed.senders["3.10"].home)
    before = site.log().count(" mail-deferred ")
    site.spawn(bed.network)
    site.wait()
    ends = time.monotonic() + NOTICE_SECONDS
    while site.log().count(" mail-deferred ") == before:
        assert time.monotonic() < ends, site.log()
        time.sleep(0.2)
    told = [line for line in site.log().splitlines() if " mail-deferred " in line][-1]
    assert " domain=held.test " in told
    assert " messages=1 " in told
    assert bed.senders[version].wait_for([to])[to].status == "sent"
    assert bed.mailboxes.wait_for(to, 1) == {"valid.mx.test TLS": 1}


@pytest.mark.parametrize("version", SUITES)
def test_doctor_finds_the_instances_that_postmulti_has_made(bed: Bed, version: str, tmp_path: Path) -> None:
    postfix = bed.senders[version]
    for words in ("init", "create -I postfix-out -G out", "enable -i postfix-out"):
        postfix.command("postmulti", "-e", *words.split())
    ours = f"socketmap:inet:127.0.0.1:8461:{MAPS[version]}"
    postfix.command("postconf", "-c", OUT, "-e", f"smtp_tls_policy_maps={ours}")
    said = _doctor(bed, programs(tmp_path / "bin", postfix))
    first, second = said.split("Postfix, ")[1:]
    assert first.startswith("/etc/postfix\n")
    assert second.startswith(f"{OUT}\n")
    assert f"ok      Postfix {version}." in second
    assert "smtp_tls_policy_maps does not lead to us" in first
    assert f"smtp_tls_policy_maps asks {ours}" in second


def _doctor(bed: Bed, there: Path) -> str:
    config = bed.sites["may"].folder / "mailward.toml"
    command = [sys.executable, "-m", "mailward", "sender", "doctor", "--config", str(config)]
    environment = os.environ | {"PATH": f"{there}:{os.environ['PATH']}"}
    done = subprocess.run(
        [*bed.network.inside("sender"), *command],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout
