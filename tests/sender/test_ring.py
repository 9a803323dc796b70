"""Who takes datagrams and who counts them, in one process, with the ring between them."""

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from mailward.net import clock
from mailward.sender.drain import Drain, Taken
from mailward.sender.receive import Intake, Precedence
from mailward.sender.ring import FREED, HEAD, HEAVY, RELEASED, TAIL, Ring

QUEUE_LENGTH = 10


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    source, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with source, sender:
        source.setsockopt(socket.SOL_SOCKET, 16, 1)  # SO_PASSCRED
        yield source, sender


def make(source: socket.socket, slots: int = 16) -> tuple[Ring, Intake]:
    ring = Ring(slots)
    return ring, Intake(ring, source, QUEUE_LENGTH, in_order=True)


def drained(ring: Ring, intake: Intake) -> Taken:
    drain = Drain(ring, intake, in_order=True)
    drain.start()
    drain.stop()
    return drain.take()


def take(ring: Ring, intake: Intake, sender: socket.socket, *datagrams: bytes) -> None:
    for datagram in datagrams:
        sender.send(datagram)
    intake.take_rest()


def test_datagrams_come_out_in_order_with_process_and_time(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    source, sender = pair
    ring, intake = make(source)
    before = clock.now().timestamp()
    take(ring, intake, sender, b"a", b"b", b"a")
    taken = drained(ring, intake)
    assert taken.counts == {b"a": 2, b"b": 1}
    assert [(each.pid, each.raw) for each in taken.ordered] == [
        (os.getpid(), raw) for raw in (b"a", b"b", b"a")
    ]
    assert all(before <= each.at <= clock.now().timestamp() for each in taken.ordered)
    assert (taken.received, taken.dropped, taken.full) == (3, 0, 0)


def test_the_ring_is_gone_round_many_times(pair: tuple[socket.socket, socket.socket]) -> None:
    source, sender = pair
    ring, intake = make(source)
    drain = Drain(ring, intake, in_order=True)
    drain.start()
    thread = threading.Thread(target=intake.run)
    thread.start()
    sent = [f"{number}".encode() for number in range(1000)]
    for datagram in sent:
        sender.send(datagram)
    intake.stop()
    thread.join()
    drain.stop()
    assert [each.raw for each in drain.take().ordered] == sent


def test_what_one_took_who_was_killed_before_he_said_so_is_found(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    source, sender = pair
    ring, intake = make(source)
    take(ring, intake, sender, b"a", b"b")
    drained(ring, intake)
    take(ring, intake, sender, b"c", b"d", b"e")
    ring.words[HEAD] = 3  # as if killed between the call and the word
    second = Intake(ring, source, QUEUE_LENGTH)
    assert drained(ring, second).counts == {b"c": 1, b"d": 1, b"e": 1}


def test_what_one_copied_who_was_killed_does_not_come_again(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    source, sender = pair
    ring, intake = make(source)
    take(ring, intake, sender, b"a", b"b", b"c")
    ring.words[TAIL] = 2  # as if killed before they could be freed
    assert drained(ring, intake).counts == {b"c": 1}
    assert ring.words[FREED] == 3


def test_what_a_full_ring_does_not_take_is_dropped_and_counted(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    source, sender = pair
    ring, intake = make(source, slots=8)
    thread = threading.Thread(target=intake.run)
    thread.start()
    for number in range(50):
        sender.send(f"{number}".encode())
    intake.stop()
    thread.join(60)
    taken = drained(ring, intake)
    assert list(taken.counts) == [f"{number}".encode() for number in range(8)]
    assert (taken.received, taken.dropped) == (50, 42)


def test_long_datagrams_come_whole_and_give_their_memory_back(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    source, sender = pair
    ring, intake = make(source)
    long = [bytes([number]) * 100_000 for number in range(2)]
    take(ring, intake, sender, long[0], b"short")
    take(ring, intake, sender, long[1])
    assert ring.words[HEAVY] == 200_000
    assert set(drained(ring, intake).counts) == {*long, b"short"}
    assert ring.words[RELEASED] == 200_000
    place = ring.slots_at + 8192
    assert ring.room[place : place + 1000] == bytes(1000)


def test_a_flood_ends_precedence_until_there_is_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    policies = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda pid, policy, param: policies.append(policy))
    precedence = Precedence()
    ends = clock.monotonic() + 0.2
    while clock.monotonic() < ends:
        pass
    precedence._at, precedence._used = clock.monotonic() - 1, precedence._used - 1
    precedence.be_fair()
    precedence.be_fair()
    precedence.have()
    assert policies == [os.SCHED_FIFO, os.SCHED_OTHER, os.SCHED_FIFO]


def test_who_may_not_go_first_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(*arguments: object) -> None:
        asked.append(arguments)
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    precedence = Precedence()
    precedence.have()
    precedence.be_fair()
    assert len(asked) == 1
