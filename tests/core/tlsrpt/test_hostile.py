"""What strangers send to do harm ends in one typed error, in bounded time and memory."""

import base64
import contextlib
import gc
import gzip
import io
import json
import resource
import struct
import time
import tracemalloc
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.signer import google_mail, report_json

from mailward.core.tlsrpt.errors import Unreadable
from mailward.core.tlsrpt.limits import MIB, Limits
from mailward.core.tlsrpt.mail import read_mail
from mailward.core.tlsrpt.read import read_bytes

REPORT = json.dumps(report_json()).encode()
MAIL = google_mail(report_json())


def zipped(content: bytes, name: str = "report.json", members: int = 1) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(members):
            archive.writestr(f"{number}-{name}", content)
    return target.getvalue()


def mail_with(payload: bytes) -> bytes:
    start, _, rest = MAIL.partition(b"Content-Transfer-Encoding: base64\r\n\r\n")
    end = rest[rest.index(b"\r\n--") :]
    return start + b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(payload) + end


def nameless(content: bytes) -> bytes:
    """A zip archive whose one member has an empty name, which no tool would make."""
    sizes = zlib.crc32(content), len(content), len(content)
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 33, *sizes, 0, 0) + content
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, *sizes, 0, 0, 0, 0, 0, 0, 0)
    return local + entry + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(entry), len(local), 0)


def overlapping(members: int) -> bytes:
    """A zip archive that lists one megabyte of blanks so many times."""
    archive = zipped(b" " * MIB)
    start, end = archive.index(b"PK\x01\x02"), archive.rindex(b"PK\x05\x06")
    entries = archive[start:end] * members
    return (
        archive[:start]
        + entries
        + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, members, members, len(entries), start, 0)
    )


ZEROS = gzip.compress(b" " * (26 * MIB))
CASES = {
    "a gzip bomb": (ZEROS, "too-large"),
    "a gzip bomb in gzip": (gzip.compress(ZEROS), "too-large"),
    "a gzip bomb in a mail": (mail_with(ZEROS), "too-large"),
    "a gzip bomb in base64": (base64.encodebytes(ZEROS), "too-large"),
    "a zip bomb": (zipped(b" " * (26 * MIB)), "too-large"),
    "a zip of many small bombs": (zipped(b" " * MIB, members=40), "too-large"),
    "a zip of one bomb listed many times": (overlapping(900), "zip-corrupt"),
    "a zip of too many members": (zipped(REPORT, members=1_001), "too-many"),
    "arrays inside each other": (b"[" * 100_000, "too-deep"),
    "objects inside each other": (b'{"a":' * 100_000, "too-deep"),
    "a million empty arrays": (b"[" + b"[]," * 1_100_000 + b"[]]", "too-large"),
    "megabytes of nothing": (b" " * (30 * MIB), "too-large"),
    "a cut-off document": (REPORT[:-20], "json-truncated"),
    "a cut-off archive": (zipped(REPORT)[:60], "zip-corrupt"),
    "text": (b"Dear sir or madam", "not-json"),
    "nothing": (b"", "not-json"),
    "a number": (b"42", "no-report"),
}


@pytest.mark.parametrize(("data", "code"), CASES.values(), ids=CASES.keys())
def test_r5_hostile_bytes_are_refused_with_a_reason_at_once(data: bytes, code: str) -> None:
    started = time.process_time()
    with pytest.raises(Unreadable) as raised:
        read_bytes(data)
    assert raised.value.code == code
    assert raised.value.detail
    assert time.process_time() - started < 5


def test_a_mail_of_ten_thousand_nested_parts_costs_little() -> None:
    head = b"From: a@b.test\r\nContent-Type: multipart/report; report-type=tlsrpt; boundary=b\r\n\r\n"
    inner = b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" * 10_000
    started = time.process_time()
    with pytest.raises(Unreadable):
        read_mail(head + inner)
    assert time.process_time() - started < 5


def test_r5_a_bomb_is_stopped_while_it_inflates() -> None:
    bomb = gzip.compress(bytes(400 * MIB))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Unreadable, match="too-large"):
        read_bytes(bomb)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KiB


@pytest.mark.parametrize("first", [ZEROS, b" " * (40 * MIB)], ids=["inflated", "as it is"])
def test_what_is_over_the_limit_leaves_no_room_for_the_parts_behind_it(first: bytes) -> None:
    bomb = gzip.compress(bytes(300 * MIB))
    raw = mail_with(first)
    part = raw[raw.rindex(b"\r\n--", 0, raw.index(b"application/tlsrpt")) : raw.rindex(b"\r\n--")]
    second = part.replace(base64.encodebytes(first), base64.encodebytes(bomb))
    tracemalloc.start()
    with pytest.raises(Unreadable, match="too-large"):
        read_mail(raw.replace(part, part + second + second))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250 * MIB


def test_a_zip_member_without_a_name_is_read() -> None:
    assert read_bytes(nameless(REPORT)).reports == read_bytes(REPORT).reports


def test_millions_of_strings_cost_little_memory_to_count() -> None:
    tracemalloc.start()
    with pytest.raises(Unreadable, match="too-large"):
        read_bytes(b'{"a":' * 4_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * MIB


def test_names_in_other_scripts_cost_bounded_time() -> None:
    # each takes idna a millisecond
    names = [".".join(chr(0x4E00 + at % 20_000) * 20 + str(n) for n in range(8)) for at in range(20_000)]
    details = [{"result-type": "tlsa-invalid", "receiving-mx-hostname": name} for name in names]
    data = json.dumps(report_json(details=details)).encode()
    started = time.process_time()
    (report,) = read_bytes(data).reports
    assert time.process_time() - started < 5
    hosts = [detail.receiving_mx_hostname or "" for detail in report.policies[0].failure_details]
    assert hosts[0].startswith("xn--")
    assert hosts[-1] == names[-1]


@pytest.mark.parametrize(
    "raw",
    [
        mail_with(b"no report" * MIB),
        MAIL.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + b"x\n" * 4 * MIB,
        b"x" * 8 * MIB,
    ],
    ids=["a part", "no part", "no mail"],
)
def test_what_was_refused_is_let_go_at_once(raw: bytes) -> None:
    gc.collect()
    gc.disable()  # cycles would wait for it
    try:
        tracemalloc.start()
        for _ in range(5):
            with contextlib.suppress(Unreadable):
                read_bytes(raw + b" ")
        assert tracemalloc.get_traced_memory()[0] < 2 * MIB
    finally:
        tracemalloc.stop()
        gc.enable()


def test_the_limit_can_be_set() -> None:
    with pytest.raises(Unreadable, match="too-large"):
        read_bytes(gzip.compress(REPORT), limits=Limits(max_inflated_bytes=100))


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    _read_or_refuse(data)


@given(st.data())
def test_any_damage_is_read_or_refused(data: st.DataObject) -> None:
    original = data.draw(st.sampled_from([REPORT, MAIL, gzip.compress(REPORT, mtime=0), zipped(REPORT)]))
    at = data.draw(st.integers(0, len(original)))
    cut = data.draw(st.integers(0, 40))
    _read_or_refuse(original[:at] + data.draw(st.binary(max_size=40)) + original[at + cut :])


def _read_or_refuse(data: bytes) -> None:
    with contextlib.suppress(Unreadable):  # and nothing else
        assert read_bytes(data).reports
