"""The ways to install that docs/install.md tells, each tried in a bare Debian."""

import os
import subprocess

import pytest
from tests.packaging.test_packaging import ROOT

SUITES = ("bookworm", "trixie")
OF_THE_PACKAGE = (
    "apt installs it, without a network",
    "nothing runs and nothing is enabled",
    "its files are its own",
    "every command tells its options",
    "bash completes",
    "fish completes",
    "zsh completes",
    "a connection starts it",
    "its policy is served over TLS on 443",
    "the nameserver answers on 53",
    "a report that came to port 25 is in the database",
    "two restarts lose no question",
    "it comes back after kill -9",
    "and loses no question",
    "started by its socket: port 80, for a CA",
    "started by its socket: port 8081, for a front",
    "behind a front, restarts refuse no connection",
    "and none of a CA",
    "a policy host that hangs is started again",
    "a main process that hangs is started anew by systemd",
    "the sender answers Postfix's socket",
    "one setting, and the tables are in PostgreSQL",
    "removed, it stops and keeps settings and data",
    "installed again, it goes on",
    "purged, it says what goes, and nothing is left",
)


def try_it(script: str, suite: str) -> str:
    if os.geteuid() != 0 and "CI" not in os.environ:
        pytest.skip("namespaces and Debian trees need root")
    command = (str(ROOT / "scripts" / script), suite)
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=1780)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("suite", SUITES)
def test_the_package_installs_serves_upgrades_and_goes(suite: str) -> None:
    said = try_it("try-deb", suite)
    assert [what for what in OF_THE_PACKAGE if f"ok  {what}" not in said] == []


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("suite", SUITES)
def test_the_wheel_has_everything_and_pipx_takes_it(suite: str) -> None:
    said = try_it("try-wheel", suite)
    assert "ok  bare: a report is shown" in said
    assert "ok  platform: serve shows its first page" in said
