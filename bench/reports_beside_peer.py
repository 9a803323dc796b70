"""The report about one day, of the same signals, as `mailward sender` and as tlsrpt-reporter 0.6.0 make it.

    bench/run reports-beside-peer

The signals are those that a real Postfix 3.10 sent (`corpus/postfix-datagrams` in the shared folder, MAILWARD_SHARED),
each about a domain of its own, and all of them once more about one domain. What differs is printed, field by field;
docs/migrate-from-tlsrpt-reporter.md says why. Needs libfaketime: the peer makes reports of a day that has ended while
it ran.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tests.sender.test_clock_moved import find_library

from mailward.net import clock

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "bench/out/beside-peer"
SHARED = Path(os.environ.get("MAILWARD_SHARED", ROOT.parent / "shared"))
PEER = ROOT / ".venv-bench-collector/bin"
DAY, NEXT = "2026-11-27", "2026-11-28"
TOGETHER = "together.test"
RECORD = "v=TLSRPTv1; rua=mailto:tls@together.test"
WAIT_SECONDS = 120
Report = dict[str, object]


def signals() -> dict[str, list[bytes]]:
    """Domain -> datagrams."""
    found: dict[str, list[bytes]] = defaultdict(list)
    for path in sorted((SHARED / "corpus/postfix-datagrams").glob("*.json")):
        datagram = json.loads(path.read_bytes())
        domain = f"{path.stem}.test"
        found[domain].append(json.dumps(datagram | {"d": domain}).encode())
        found[TOGETHER].append(json.dumps(datagram | {"d": TOGETHER, "pr": RECORD}).encode())
    return found


def ours(datagrams: dict[str, list[bytes]]) -> dict[str, Report]:
    folder = FOLDER / "ours"
    folder.mkdir()
    path, config = folder / "tlsrpt.sock", folder / "mailward.toml"
    config.write_text(
        f'data = "{folder}"\n[sender]\nlisten = ["127.0.0.1:0"]\nmetrics_listen = ""\ndane = false\n'
        f'queue_command = []\n[tlsrpt]\nsocket = "{path}"\ncontact = "tls@sender.test"\norganization = "Sender"\n'
    )
    offset = datetime.fromisoformat(f"{DAY}T12:00:00+00:00") - clock.now()
    environment = dict(os.environ) | {"MAILWARD_CLOCK_OFFSET_SECONDS": str(offset.total_seconds())}
    command = [sys.executable, "-m", "mailward", "sender"]
    with running([*command, "run", "--config", str(config)], environment, folder / "log"):
        send(path, datagrams)
        time.sleep(3)
    found = {}
    for domain in datagrams:
        words = ["reports", "--preview", domain, "--day", DAY, "--json", "--config", str(config)]
        said = subprocess.run([*command, *words], env=environment, check=True, capture_output=True).stdout
        found[domain] = json.loads(said)
    return found


def peers(datagrams: dict[str, list[bytes]]) -> dict[str, Report]:
    folder = FOLDER / "peer"
    (folder / "made").mkdir(parents=True)
    path, database = folder / "tlsrpt.sock", folder / "collectd.sqlite"
    options = ["--storage", f"sqlite://{database}", "--socketname", str(path), "--socketmode", "0666"]
    options += ["--pidfilename", "", "--logfilename", str(folder / "collectd.log"), "--log_level", "info"]
    options += [
        "--socketuser",
        "",
        "--socketgroup",
        "",
        "--dump_path_for_invalid_datagram",
        str(folder / "bad"),
    ]
    yesterdays = database.with_name(f"{database.name}.yesterday")
    with running([str(PEER / "tlsrpt-collectd"), *options], at(f"{DAY} 23:59:30"), folder / "log"):
        send(path, datagrams)
        since = time.monotonic()
        while time.monotonic() < since + 45 or not yesterdays.exists():
            time.sleep(1)
    fetcher = (
        f"{PEER / 'tlsrpt-fetcher'} --storage sqlite://{database} --logfilename {folder / 'fetcher.log'}"
    )
    options = ["--pidfilename", "", "--logfilename", str(folder / "reportd.log"), "--log_level", "info"]
    options += [
        "--dbname",
        str(folder / "reportd.sqlite"),
        "--fetchers",
        fetcher,
        "--organization_name",
        "Sender",
    ]
    options += ["--contact_info", "tls@sender.test", "--sender_address", "tls@sender.test"]
    options += ["--spread_out_delivery", "1", "--interval_main_loop", "2"]
    options += ["--debug_send_file_dest", str(folder / "made"), "--sendmail_script", "/bin/true"]
    with running([str(PEER / "tlsrpt-reportd"), *options], at(f"{NEXT} 00:10:00"), folder / "log"):
        ends = time.monotonic() + WAIT_SECONDS
        while len(names := named(folder / "made", datagrams)) < len(datagrams) and time.monotonic() < ends:
            time.sleep(1)
        time.sleep(3)  # the last one is still written, perhaps
    reports = {}
    for domain, file in names.items():
        reports[domain] = json.loads(file.read_text())
    return reports


def named(folder: Path, datagrams: dict[str, list[bytes]]) -> dict[str, Path]:
    """Domain -> one of its files: there is one for each rua."""
    return {domain: file for domain in datagrams for file in folder.glob(f"testreport-{domain}-*-mailto:*")}


def at(when: str) -> dict[str, str]:
    """A process that is started at that time (UTC)."""
    return dict(os.environ) | {"LD_PRELOAD": find_library(), "FAKETIME": f"@{when}", "TZ": "UTC"}


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("ab") as stream:
        child = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)
    try:
        yield
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(30)


def send(path: Path, datagrams: dict[str, list[bytes]]) -> None:
    ends = time.monotonic() + WAIT_SECONDS
    while not path.exists():
        if time.monotonic() > ends:
            raise SystemExit(f"{path} does not appear: see the logs in {FOLDER}")
        time.sleep(0.1)
    time.sleep(2)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(path))
        for raw in (each for of_domain in datagrams.values() for each in of_domain):
            sender.send(raw)  # waits where the queue is full


def differences(left: object, right: object, place: str = "") -> Iterator[tuple[str, object, object]]:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            yield from differences(left.get(key), right.get(key), f"{place}.{key}")
    elif isinstance(left, list) and isinstance(right, list):
        pairs = zip(*(sorted(each, key=sort_key) for each in (left, right)), strict=False)
        if len(left) != len(right):
            yield f"{place} (how many)", len(left), len(right)
        for one, other in pairs:
            yield from differences(one, other, f"{place}[]")
    elif left != right:
        yield place, left, right


def sort_key(item: object) -> str:
    if isinstance(item, dict) and "policy" in item:
        item = item["policy"]
    if isinstance(item, dict) and "result-type" in item:
        item = [item["result-type"], item.get("receiving-ip"), item.get("receiving-mx-hostname")]
    return json.dumps(item, sort_keys=True)


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    datagrams = signals()
    ours_made, peers_made = ours(datagrams), peers(datagrams)
    print(f"{len(datagrams)} domains; reports: ours {len(ours_made)}, tlsrpt-reporter {len(peers_made)}")
    found: dict[str, dict[str, tuple[object, object]]] = defaultdict(dict)
    for domain in datagrams:
        for place, left, right in differences(ours_made.get(domain), peers_made.get(domain)):
            found[place][domain] = (left, right)
    for place, of_domain in sorted(found.items()):
        print(f"\n{place.lstrip('.') or 'the whole report'}: {len(of_domain)} reports")
        for domain, (left, right) in list(of_domain.items())[:3]:
            print(f"  {domain}\n    ours   {json.dumps(left)[:300]}\n    peer's {json.dumps(right)[:300]}")


if __name__ == "__main__":
    main()
