import pytest

from mailward.core.names import Domain
from mailward.core.postfix.netstring import encode
from mailward.core.sending.facts import Row
from mailward.net import clock
from mailward.sender import memo as module
from mailward.sender.memo import Memo, Subject

NAME = Domain("example.test")
FRAME = b"9:OK secure,"
FAR = clock.monotonic() + 1e6


def keep(
    memo: Memo, key: str = NAME, *, map_name: str = "QUERY", until: float = FAR, frame: bytes = FRAME
) -> bytes:
    asked = encode(f"{map_name} {key}".encode())
    memo.keep(asked, until, frame, Row.STS_ENFORCE, Subject(map_name, key.encode(), NAME))
    return asked


def test_an_answer_is_found_until_its_end() -> None:
    memo = Memo()
    assert memo.find(keep(memo)) == (FRAME, Row.STS_ENFORCE)
    assert memo.find(keep(memo, until=clock.monotonic() - 1)) is None


@pytest.mark.parametrize("key", [NAME, "EXAMPLE.test", f"[{NAME}]:587"])
def test_what_is_learned_about_a_domain_ends_all_its_answers(key: str) -> None:
    memo = Memo()
    asked = [keep(memo, key), keep(memo, key, map_name="QUERYwithTLSRPT")]
    memo.drop(NAME)
    assert [memo.find(question) for question in asked] == [None, None]
    assert memo.last_row(asked[0]) is Row.STS_ENFORCE


def test_other_domains_are_left_alone() -> None:
    memo = Memo()
    asked = keep(memo)
    memo.drop(Domain("other.test"))
    assert memo.find(asked)
    memo.drop_all()
    assert memo.find(asked) is None


def test_what_could_not_be_found_again_is_not_kept() -> None:
    memo = Memo()
    for number in range(module.MAX_MAP_NAMES):
        assert memo.find(keep(memo, map_name=f"m{number}"))
    assert memo.find(keep(memo, map_name="one-too-many")) is None
    for number in range(module.MAX_ODD_QUESTIONS):
        assert memo.find(keep(memo, f"{NAME}:{number + 1}"))
    assert memo.find(keep(memo, f"{NAME}:99")) is None


def test_long_answers_are_made_anew() -> None:
    memo = Memo()
    assert memo.find(keep(memo, frame=b"x" * (module.MAX_FRAME + 1))) is None


def test_it_is_bounded_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWERS", 100)
    memo = Memo()
    asked = [keep(memo, f"d{number}.test") for number in range(1000)]
    assert len(memo.finished) <= 100
    assert memo.find(asked[0]) is None
    memo.drop_all()
    ended = {finished: finished.cost for finished in memo.finished.values()}
    assert memo._bytes == sum(len(question) + module.ASKED_COST for question in memo.finished) + sum(
        ended.values()
    )


def test_what_is_the_same_but_for_the_domain_is_kept_once() -> None:
    memo = Memo()
    domains = [Domain(f"d{number}.test") for number in range(10)]
    for domain in domains:
        asked = encode(f"QUERY {domain}".encode())
        frame = encode(f"OK secure match=mx.{domain} policy_domain={domain}".encode())
        memo.keep(asked, FAR, frame, Row.STS_ENFORCE, Subject("QUERY", domain.encode(), domain))
        assert memo.find(asked) == (frame, Row.STS_ENFORCE)
    assert len(set(memo.finished.values())) == 2  # the first one, kept whole, and that of all others
    memo.drop(domains[0])
    found = [memo.find(encode(f"QUERY {domain}".encode())) is not None for domain in domains]
    assert found == [False, *9 * [True]]


def test_memory_is_bounded_whatever_the_answers_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100_000)
    memo = Memo()
    for number in range(1000):
        keep(memo, f"d{number}.test", frame=b"%0500d" % number)
    assert 100 < len(memo.finished) < 200
    assert memo._bytes <= 101_000
