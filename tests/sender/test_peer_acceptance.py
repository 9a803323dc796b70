"""The acceptance data of postfix-mta-sts-resolver 1.5.1 (its tests/refdata*.tsv), asked over a socket.

Read where it lies, in `../shared`; the environment that its tests describe is built here from real DNS and HTTPS.
Where we differ on purpose, DIFFERENCES says so, and docs/sender-decisions.md gives the reason.
"""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.fakes.certs import Authority
from tests.fakes.dns import FakeDns
from tests.fakes.policyhost import PolicyHost, http
from tests.fakes.socketmap import Client

from mailward.config import Dns, Sender, Settings
from mailward.sender.daemon import make_daemon, make_sender_resolver
from mailward.sender.sockets import open_socket
from mailward.sender.sqlite import SqliteCache

DATA = Path(__file__).parents[2].parent / "shared" / "vectors" / "snawoot" / "tests"
RECORD = re.compile(r'^txt-record=(?P<name>[^,]+),"(?P<text>.*)"$', re.MULTILINE)
POLICY = "version: STSv1\nmode: enforce\nmx: mail.loc\nmax_age: 86400"

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="no ../shared beside this checkout")

# as its nginx.conf answers
ANSWERS = {
    "good": http(POLICY.encode()),
    "bad-policy1": http(b"garbage"),
    "bad-policy2": http(b"version: STSv1\nmode: enforce\nmax_age: 86400"),
    "bad-policy3": http(POLICY.encode(), content_type="text/html"),
    "bad-policy4": http(POLICY.encode(), status="404 Not Found"),
    "bad-policy5": http(POLICY.replace("86400", "xxx").encode()),
    "bad-policy6": http(POLICY.replace("86400", "31557601").encode()),
    "bad-policy7": http(POLICY.replace("mode: enforce\n", "").encode()),
    "bad-policy8": http(POLICY.replace("enforce", "doubt").encode()),
    "bad-cert1": http(POLICY.encode()),
    "bad-cert2": http(POLICY.encode()),
    "valid-none": http(b"version: STSv1\nmode: none\nmax_age: 86400"),
    "testing": http(b"version: STSv1\nmode: testing\nmax_age: 86400\nmx: mail.loc\n"),
    "static-overlength": http(POLICY.encode() + b"\n" + b"a" * 131_072),
    "chunked-overlength": (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"20000\r\n%b\r\n0\r\n\r\n" % (POLICY.encode() + b"\n" + b"a" * 131_071)[:131_072]
    ),
}

SECURE = "OK secure match=mail.loc servername=hostname"
DIFFERENCES = {
    # its option strict_testing: RFC 8461 §5: a testing policy must not stop mail
    ("refdata_strict", "test testing.loc"): "NOTFOUND ",
    # its option require_sni: RFC 8461 §7.1: the client MUST send SNI, so the attribute is always there
    **{
        ("refdata_nosni", f"{name} {key}"): SECURE
        for name, key in [
            ("test", "good.loc"),
            ("test", "[good.loc]"),
            ("test", "[good.loc]:123"),
            ("test", "good.loc:123"),
            ("test2", "good.loc"),
            ("test", "good.loc."),
        ]
    },
}

# what its test_resolver.py expects of domains that its tables do not ask for; bad-policy6 differs: `max_age` above the
# maximum (RFC 8461 §3.2) is capped, since to refuse the policy would let mail pass without any protection
NO_POLICY = [
    "no-data",
    "bad-record3",
    "bad-policy4",
    "bad-policy5",
    "bad-policy7",
    "bad-policy8",
    "static-overlength",
    "chunked-overlength",
]


def load(name: str) -> list[tuple[str, str]]:
    questions = [line.split("\t") for line in (DATA / f"{name}.tsv").read_text().splitlines()]
    assert questions
    return [(question, answer) for question, answer in questions]


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[Client]:
    """A connection to our server, in their world."""
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "Stranger")
    async with AsyncExitStack() as stack:
        dns = await stack.enter_async_context(FakeDns())
        for found in RECORD.finditer((DATA / "dnsmasq.conf.appendix").read_text()):
            dns.set(found["name"], "TXT", found["text"])
        port = 0
        for number, (label, answer) in enumerate(ANSWERS.items(), 10):
            name = "bad-cert2.loc" if label == "bad-cert2" else f"mta-sts.{label}.loc"
            signer = stranger if label == "bad-cert1" else authority
            host = PolicyHost(signer.issue(name), answer, f"127.0.0.{number}")
            host.port = port
            port = (await stack.enter_async_context(host.running())).port
            dns.set(f"mta-sts.{label}.loc", "A", host.address)
        sender = Sender(dane=False, policy_port=port, ca_file=str(authority.file), default_level="may")
        settings = Settings(
            data=str(tmp_path),
            dns=Dns(resolvers=(dns.address,), allow_private_addresses=True),
            sender=sender,
        )
        cache = SqliteCache(settings.sender_cache_path, 100)
        daemon = make_daemon(settings, cache, make_sender_resolver(settings))
        stack.push_async_callback(daemon.knowledge.close)
        listener = open_socket("127.0.0.1:0", 0o600)
        await daemon.server.start([listener])
        stack.push_async_callback(daemon.server.stop)
        yield await stack.enter_async_context(await Client.connect(listener.getsockname()[1]))


@pytest.mark.parametrize("name", ["refdata", "refdata_strict", "refdata_nosni"])
async def test_their_questions_get_their_answers_but_for_the_differences(name: str, peer: Client) -> None:
    differences = {}
    for question, expected in load(name):
        map_name, _, key = question.partition(" ")
        answer = await peer.ask(key, map_name)
        if answer != expected:
            differences[name, question] = answer
    assert differences == {key: answer for key, answer in DIFFERENCES.items() if key[0] == name}


async def test_what_their_resolver_refuses_gives_no_policy(peer: Client) -> None:
    assert {label: await peer.ask(f"{label}.loc") for label in NO_POLICY} == dict.fromkeys(
        NO_POLICY, "NOTFOUND "
    )


async def test_a_max_age_that_they_refuse_is_capped(peer: Client) -> None:
    assert await peer.ask("bad-policy6.loc") == SECURE
