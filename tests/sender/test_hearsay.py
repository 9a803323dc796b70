"""A ring in memory that several processes share."""

import os
import signal
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain, repeat

from tests.sender.lab import DOMAIN, SECURE, Lab
from tests.sender.test_answers import ask

from mailward.core.names import Domain
from mailward.sender.hearsay import SLOTS, Hearsay, Listener

LONGEST = Domain(".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61]))  # 253 octets: RFC 1035 §2.3.4


def in_child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def tell(hearsay: Hearsay, names: Iterable[str]) -> None:
    for name in names:
        hearsay.tell(Domain(name))


def test_what_one_process_tells_another_hears_once() -> None:
    hearsay = Hearsay()
    listener = Listener(hearsay)
    os.waitpid(in_child(lambda: tell(hearsay, (DOMAIN, LONGEST))), 0)
    assert listener.number[0] != listener.heard
    assert listener.listen() == [DOMAIN, LONGEST]
    assert listener.number[0] == listener.heard
    assert listener.listen() == []


def test_who_has_missed_too_much_hears_that() -> None:
    hearsay = Hearsay()
    listener = Listener(hearsay)
    for number in range(SLOTS):
        hearsay.tell(Domain(f"{number}.test"))
    assert listener.listen() == [f"{number}.test" for number in range(SLOTS)]
    for number in range(SLOTS + 1):
        hearsay.tell(Domain(f"{number}.test"))
    assert listener.listen() is None
    assert listener.listen() == []


def test_several_that_tell_at_once_lose_nothing_and_one_that_is_killed_holds_up_nobody() -> None:
    hearsay = Hearsay()
    listener = Listener(hearsay)

    doomed = in_child(lambda: tell(hearsay, repeat("killed.test")))
    while not listener.number[0]:
        pass
    os.kill(doomed, signal.SIGKILL)
    os.waitpid(doomed, 0)
    listener.listen()
    names = [[f"{each}-{number}.test" for number in range(500)] for each in "abc"]
    for pid in [in_child(partial(tell, hearsay, each)) for each in names]:
        os.waitpid(pid, 0)
    heard = listener.listen()
    assert heard is not None
    assert sorted(heard) == sorted(chain(*names))


async def test_a_policy_that_is_learned_elsewhere_ends_what_was_said_before_the_next_answer(lab: Lab) -> None:
    hearsay = Hearsay()
    first, second = lab.daemon(), lab.daemon()
    for daemon in (first, second):
        daemon.answers.join(hearsay)
    assert await ask(first) == await ask(second) == "NOTFOUND "
    lab.publish()
    first.knowledge.forget(Domain(DOMAIN))
    assert await ask(first) == SECURE
    listener = second.answers.listener
    assert listener is not None
    assert listener.number[0] != listener.heard
    second.answers.listen()
    assert await ask(second) == SECURE
    assert lab.asked(f"_mta-sts.{DOMAIN}", "TXT") == 3  # the second has it from the cache
    for daemon in (first, second):
        await daemon.knowledge.close()
