import pytest

from mailward.core.dns.ratelimit import RateLimiter, Verdict, network_of


def decide(limiter: RateLimiter, address: str, topic: bytes, second: int) -> Verdict:
    return limiter.judge(address, topic) if limiter.admits(address, second) else Verdict.DROP


def verdicts(limiter: RateLimiter, count: int, address: str = "192.0.2.1", topic: bytes = b"t") -> list[str]:
    return [decide(limiter, address, topic, 5).value[0] for _ in range(count)]


def test_beyond_the_rate_every_second_reply_says_to_come_by_tcp() -> None:
    limiter = RateLimiter(per_topic=3, per_address=0)
    assert "".join(verdicts(limiter, 8)) == "sssdtdtd"
    assert limiter.limited == 5


def test_a_network_shares_its_rate_and_others_keep_theirs() -> None:
    limiter = RateLimiter(per_topic=1, per_address=0)
    assert verdicts(limiter, 1) == ["s"]
    assert verdicts(limiter, 1, "192.0.2.77") == ["d"]
    assert verdicts(limiter, 1, "192.0.3.1") == ["s"]
    assert verdicts(limiter, 1, topic=b"another") == ["s"]


def test_each_second_begins_anew() -> None:
    limiter = RateLimiter(per_topic=1, per_address=1)
    assert decide(limiter, "192.0.2.1", b"t", 1) is Verdict.SEND
    assert decide(limiter, "192.0.2.1", b"t", 1) is Verdict.DROP
    assert decide(limiter, "192.0.2.1", b"t", 2) is Verdict.SEND


def test_one_address_with_ever_new_names_is_stopped_all_the_same() -> None:
    limiter = RateLimiter(per_topic=100, per_address=10)
    got = [decide(limiter, "192.0.2.1", str(number).encode(), 1) for number in range(12)]
    assert got == [Verdict.SEND] * 10 + [Verdict.DROP] * 2
    assert decide(limiter, "192.0.2.2", b"1", 1) is Verdict.SEND


def test_ever_new_sources_do_not_fill_the_memory() -> None:
    limiter = RateLimiter(per_topic=1, per_address=1, max_entries=10)
    for number in range(1000):
        decide(limiter, f"10.0.{number // 256}.{number % 256}", str(number).encode(), 1)
    assert len(limiter._topics) <= 11
    assert len(limiter._addresses) <= 11


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.254", True),
        ("192.0.2.1", "192.0.21.1", False),
        ("2001:db8:1:2300::1", "2001:db8:1:23ff:1::", True),
        ("2001:db8:1:2300::1", "2001:db8:1:2400::1", False),
        ("2001:db8::1", "2001:db8:0:5::2", True),
        ("::1", "::2", True),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:9:3:4:5:6", True),
        ("2001:db8:1:102:3:4:5:6", "2001:db8:1:2:3:4:5:6", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_a_network_is_a_24_or_a_56(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same
