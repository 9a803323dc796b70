"""What is read from captured packets: every byte that an eavesdropper could read, and nothing invented."""

import random
import struct
from pathlib import Path
from socket import inet_aton

import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.lab.capture import HEADER, LINK_ETHERNET, MAGIC, RECORD
from mailward.lab.wire import DNS, SMTP, dns_answers, read_capture, talks

CLIENT, SERVER = ("10.78.0.2", 40_000), ("10.77.16.1", SMTP)
SYN, PUSH = 2, 24
HELLO = b"\x16\x03\x01\x00\x05hello"


def ip(protocol: int, source: str, target: str, inner: bytes) -> bytes:
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(inner), 0, 0, 64, protocol, 0)
    return bytes(12) + b"\x08\x00" + head + inet_aton(source) + inet_aton(target) + inner


def tcp(source: tuple[str, int], target: tuple[str, int], sequence: int, payload: bytes, flags: int) -> bytes:
    head = struct.pack(">HHIIBBHHH", source[1], target[1], sequence % 2**32, 0, 0x50, flags, 0, 0, 0)
    return ip(6, source[0], target[0], head + payload)


def said(begin: int, *turns: tuple[bool, bytes]) -> list[bytes]:
    """The frames of a conversation, client first."""
    at = {True: begin, False: begin}
    frames = [tcp(CLIENT, SERVER, begin, b"", SYN), tcp(SERVER, CLIENT, begin, b"", SYN | 16)]
    for is_client, payload in turns:
        ends = (CLIENT, SERVER) if is_client else (SERVER, CLIENT)
        frames.append(tcp(*ends, at[is_client] + 1, payload, PUSH))
        at[is_client] += len(payload)
    return frames


def capture(path: Path, frames: list[bytes], cut: int = 0) -> Path:
    content = HEADER.pack(MAGIC, 2, 4, 0, 0, 262_144, LINK_ETHERNET)
    for number, frame in enumerate(frames):
        content += RECORD.pack(1000 + number, 0, len(frame), len(frame)) + frame
    path.write_bytes(content[: len(content) - cut])
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pcap"


def test_a_session_without_encryption_is_read_line_by_line(file: Path) -> None:
    frames = said(
        7, (False, b"220 mx.test\r\n"), (True, b"EHLO sender.test\r\n"), (False, b"250 mx.test\r\n")
    )
    [talk] = talks(read_capture(capture(file, frames)), SMTP)
    assert (talk.client, talk.server) == (CLIENT, SERVER)
    assert talk.dialogue() == [(False, "220 mx.test"), (True, "EHLO sender.test"), (False, "250 mx.test")]


def test_after_starttls_bytes_are_counted_and_not_read(file: Path) -> None:
    turns = [(True, b"STARTTLS\r\n"), (False, b"220 go\r\n"), (True, HELLO), (False, b"\x16\x03\x03secret")]
    [talk] = talks(read_capture(capture(file, said(7, *turns))), SMTP)
    assert talk.dialogue()[-1] == (True, f"[TLS: {len(HELLO) + 9} bytes that only the two ends can read]")


def test_a_word_is_found_though_two_packets_share_it(file: Path) -> None:
    [talk] = talks(read_capture(capture(file, said(7, (True, b"the acco"), (True, b"unt 4711\r\n")))), SMTP)
    assert talk.contains(b"account 4711")
    assert not talk.contains(b"account 4712")


def test_what_one_says_and_the_other_answers_is_no_word(file: Path) -> None:
    [talk] = talks(read_capture(capture(file, said(7, (True, b"acco"), (False, b"unt")))), SMTP)
    assert not talk.contains(b"account")


@given(seed=st.integers(0, 2**32), begin=st.sampled_from([7, 2**32 - 20]), pieces=st.integers(1, 12))
def test_repeated_overlapping_and_late_segments_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, seed: int, begin: int, pieces: int
) -> None:
    chance = random.Random(seed)
    text = bytes(chance.randrange(32, 127) for _ in range(60))
    cuts = sorted(chance.sample(range(1, 60), pieces))
    segments = list(zip([0, *cuts], [*cuts, 60], strict=True))
    segments += [(start, min(60, end + chance.randrange(5))) for start, end in segments]
    chance.shuffle(segments)
    frames = [tcp(CLIENT, SERVER, begin, b"", SYN)]
    frames += [tcp(CLIENT, SERVER, begin + 1 + start, text[start:end], PUSH) for start, end in segments]
    path = capture(tmp_path_factory.mktemp("wire") / "pcap", frames)
    [talk] = talks(read_capture(path), SMTP)
    assert b"".join(payload for _, payload in talk.turns) == text


def test_one_port_used_twice_is_two_sessions(file: Path) -> None:
    frames = [*said(7, (True, b"QUIT\r\n")), *said(9000, (True, b"EHLO again\r\n"))]
    first, second = talks(read_capture(capture(file, frames)), SMTP)
    assert (first.dialogue(), second.dialogue()) == ([(True, "QUIT")], [(True, "EHLO again")])


def test_other_ports_are_other_peoples(file: Path) -> None:
    frames = [tcp(("10.78.0.2", 1), ("10.77.16.1", 443), 7, b"", SYN)]
    assert talks(read_capture(capture(file, frames)), SMTP) == []


def test_answers_of_the_dns_are_told_with_whether_they_were_signed(file: Path) -> None:
    query = dns.message.make_query("shop.test", "MX")
    response = dns.message.make_response(query)
    response.answer.append(dns.rrset.from_text("shop.test.", 0, "IN", "MX", "10 mx.evil.test."))
    wire = response.to_wire()
    datagram = struct.pack(">HHHH", DNS, 5000, 8 + len(wire), 0) + wire
    packets = read_capture(capture(file, [ip(17, "10.77.0.53", "10.78.0.2", datagram)]))
    assert dns_answers(packets) == [(1000.0, "shop.test MX", "10 mx.evil.test.")]


def test_a_capture_that_ends_in_a_packet_loses_only_that_one(file: Path) -> None:
    frames = said(7, (True, b"QUIT\r\n"), (False, b"221 bye\r\n"))
    [talk] = talks(read_capture(capture(file, frames, cut=3)), SMTP)
    assert talk.dialogue() == [(True, "QUIT")]


@given(frames=st.lists(st.binary(max_size=80), max_size=8))
def test_no_frame_is_too_strange(tmp_path_factory: pytest.TempPathFactory, frames: list[bytes]) -> None:
    strange = [bytes(12) + b"\x08\x00" + frame for frame in frames]
    packets = read_capture(capture(tmp_path_factory.mktemp("wire") / "pcap", [*frames, *strange]))
    assert talks(packets, SMTP) == talks(packets, SMTP)
    assert isinstance(dns_answers(packets), list)


def test_what_is_no_capture_holds_nothing(file: Path) -> None:
    file.write_bytes(b"")
    assert read_capture(file) == []
