"""The journal's native protocol, read by the real journald in a mount namespace of its own."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from mailward.net.journal import encode_entry, field_name

LOG = """
import logging
from mailward.net import log
log.configure("policy-host", format="journal")
logger = logging.getLogger("mailward.hosting")
logger.info("request", extra={"host": "mta-sts.example.test", "status": 200, "path": "/a\\nPRIORITY=0"})
logger.warning("store-busy", extra={"still-serving": 3})
logger.error("big", extra={})
logging.getLogger("other").error("x" * 300_000)
logger.debug("unseen")
try:
    raise RuntimeError("broken")
except RuntimeError:
    logger.exception("crashed")
"""
SCRIPT = """
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
/lib/systemd/systemd-journald &
journald=$!
for _ in $(seq 200); do [ -S /run/systemd/journal/socket ] && break; sleep 0.05; done
"$0" -c "$LOG" || exit 1
journalctl --directory=/run/log/journal --sync >/dev/null 2>&1
for _ in $(seq 200); do
  journalctl --directory=/run/log/journal --no-pager -o export MAILWARD_PROCESS=policy-host >"$OUT"
  grep -q crashed "$OUT" && break
  sleep 0.05
done
kill $journald
"""


def read_export(content: bytes) -> list[dict[str, str]]:
    """systemd's journal export format: `NAME=value`, or the name, eight octets of length, and the value."""
    entries: list[dict[str, str]] = [{}]
    while content:
        line, _, content = content.partition(b"\n")
        if not line:
            entries.append({})
        elif b"=" in line:
            name, _, value = line.partition(b"=")
            entries[-1][name.decode()] = value.decode()
        else:
            (size,) = struct.unpack("<Q", content[:8])
            entries[-1][line.decode()] = content[8 : 8 + size].decode()
            content = content[8 + size + 1 :]
    return [entry for entry in entries if entry]


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    assert os.geteuid() == 0, "a mount namespace needs root"
    out = tmp_path_factory.mktemp("journal") / "export"
    environment = {**os.environ, "LOG": LOG, "OUT": str(out)}
    script = ["unshare", "--mount", "bash", "-c", SCRIPT, sys.executable]
    subprocess.run(script, env=environment, check=False, timeout=60, stderr=subprocess.DEVNULL)
    return read_export(out.read_bytes())


def test_each_fact_is_a_field_of_its_own(entries: list[dict[str, str]]) -> None:
    request = entries[0]
    ours = {name: request[name] for name in request if name.startswith("MAILWARD_")}
    assert ours == {
        "MAILWARD_PROCESS": "policy-host",
        "MAILWARD_EVENT": "request",
        "MAILWARD_HOST": "mta-sts.example.test",
        "MAILWARD_STATUS": "200",
        "MAILWARD_PATH": "/a\nPRIORITY=0",
    }
    assert request["MESSAGE"] == 'request host=mta-sts.example.test status=200 path="/a\\nPRIORITY=0"'
    assert (request["PRIORITY"], request["SYSLOG_IDENTIFIER"]) == ("6", "mailward-policy-host")
    assert request["_TRANSPORT"] == "journal"


def test_priorities_are_those_of_syslog(entries: list[dict[str, str]]) -> None:
    found = [(each["MAILWARD_EVENT"][:10], each["PRIORITY"]) for each in entries]
    assert found == [("request", "6"), ("store-busy", "4"), ("big", "3"), ("x" * 10, "3"), ("crashed", "3")]
    assert entries[1]["MAILWARD_STILL_SERVING"] == "3"


def test_what_is_too_large_for_a_datagram_arrives_all_the_same(entries: list[dict[str, str]]) -> None:
    assert len(entries[3]["MESSAGE"]) == 256 * 1024


def test_a_trace_is_a_field(entries: list[dict[str, str]]) -> None:
    assert entries[4]["MAILWARD_TRACE"].startswith("Traceback (most recent call last):\n")
    assert entries[4]["MAILWARD_TRACE"].endswith("RuntimeError: broken")


def test_a_name_is_one_that_the_journal_takes() -> None:
    assert field_name("still-serving") == "MAILWARD_STILL_SERVING"
    assert len(field_name("x" * 100)) == 64


def test_a_line_break_in_a_value_adds_no_field() -> None:
    assert encode_entry({"A": "b\nC=d"}) == b"A\n" + b"\x05\0\0\0\0\0\0\0" + b"b\nC=d\n"


def test_without_a_journal_lines_go_to_standard_error(tmp_path: Path) -> None:
    code = "from mailward.net import journal, log\n"
    code += f"journal.SOCKET = {str(tmp_path / 'none')!r}\nlog.configure('worker', format='journal')\n"
    code += "import logging; logging.error('told')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "WARNING worker no-journal" in done.stderr
    assert done.stderr.endswith(" ERROR worker told\n")
