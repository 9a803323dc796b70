import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.mtasts.policy import Mode, Policy, PolicyInvalid, parse_policy
from mailward.core.names import Domain, InvalidName
from mailward.core.postfix.answer import render
from mailward.core.postfix.socketmap import MAX_REPLY_BYTES, Dialect
from mailward.core.sending.facts import Decision, Level, Row
from mailward.core.sending.table import usable_names

DOMAIN = Domain("example.com")
BODY = b"version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmax_age: 604800\n"


def enforcing(body: bytes = BODY) -> Decision:
    policy = parse_policy(body)
    return Decision(
        Row.STS_ENFORCE,
        level=Level.SECURE,
        match=usable_names(policy.mx),
        policy=policy,
        policy_domain=DOMAIN,
    )


def test_postfix_3_4_gets_names_and_nothing_else() -> None:
    expected = b"OK secure match=mail.example.com:.example.net servername=hostname"
    assert render(enforcing(), Dialect.PLAIN) == expected


def test_postfix_3_10_gets_the_policy_too() -> None:
    assert render(enforcing(), Dialect.TLSRPT) == (
        b"OK secure match=mail.example.com:.example.net servername=hostname policy_type=sts"
        b" policy_domain=example.com mx_host_pattern=mail.example.com mx_host_pattern=*.example.net"
        b" { policy_string = version: STSv1 } { policy_string = mode: enforce }"
        b" { policy_string = mx: mail.example.com } { policy_string = mx: *.example.net }"
        b" { policy_string = max_age: 604800 }"
    )


def test_no_level_is_notfound_with_its_space() -> None:
    assert render(Decision(Row.NOTHING), Dialect.TLSRPT) == b"NOTFOUND "


def test_a_deferral_names_its_row_and_reason() -> None:
    decision = Decision(Row.RECORD_FAILED_DEFERRED, "TXT _mta-sts.x: no answer", is_deferral=True)
    assert render(decision, Dialect.PLAIN) == b"TEMP record-failed-deferred: TXT _mta-sts.x: no answer"


def test_a_testing_policy_is_a_label_only_where_labels_are_understood() -> None:
    policy = Policy(Mode.TESTING, 86400, ("mx.example.com",))
    decision = Decision(Row.STS_TESTING, level=Level.MAY, policy=policy, policy_domain=DOMAIN)
    assert render(decision, Dialect.PLAIN) == b"NOTFOUND "
    labels = b"policy_type=sts policy_domain=example.com mx_host_pattern=mx.example.com"
    assert render(decision, Dialect.TLSRPT) == b"OK may " + labels


def test_at_dane_no_pattern_may_be_enforced() -> None:
    policy = Policy(Mode.TESTING, 86400, ("mx.example.com",))
    decision = Decision(Row.STS_TESTING, level=Level.DANE, policy=policy, policy_domain=DOMAIN)
    assert render(decision, Dialect.TLSRPT) == b"OK dane policy_type=sts policy_domain=example.com"


HOSTILE = [
    b"x: } ciphers=null { x",
    b"x: a } tafile=/etc/x {",
    b"x: a, protocols=SSLv2",
    b'x: "a"',
    b"x: a\\ b",
    "x: über".encode(),
]


@pytest.mark.parametrize("line", HOSTILE)
def test_extension_text_is_left_out_not_escaped(line: bytes) -> None:
    assert render(enforcing(BODY + line + b"\n"), Dialect.TLSRPT) == render(enforcing(), Dialect.TLSRPT)


def test_a_name_that_is_none_never_gets_out() -> None:
    decision = Decision(Row.OVERRIDE_SECURE, level=Level.SECURE, match=("mx.example.com tafile=/x",))
    with pytest.raises(InvalidName):
        render(decision, Dialect.PLAIN)


def test_a_huge_policy_stays_under_postfix_s_limit() -> None:
    lines = b"".join(b"mx: a%d.b\n" % number for number in range(5500))
    decision = enforcing(b"version: STSv1\nmode: enforce\nmax_age: 86400\n" + lines)
    reply = render(decision, Dialect.TLSRPT)
    assert len(reply) <= MAX_REPLY_BYTES
    assert reply.startswith(b"OK secure match=a0.b:a1.b:")


ATTRIBUTE = re.compile(
    rb"match=[a-z0-9.:-]+|servername=hostname|policy_type=sts|policy_domain=example\.com"
    rb"|mx_host_pattern=(?:\*\.)?[a-z0-9.-]+|\{ policy_string = [A-Za-z0-9][A-Za-z0-9 ._:/+@*=-]* \}"
)
NASTY = st.text(alphabet='ab1.*:{}=, "\\\t\n\r;-_ü', max_size=40)


@given(st.lists(st.tuples(st.sampled_from(["mx", "x", "mode", "tafile"]), NASTY), max_size=6))
def test_whatever_a_policy_holds_only_known_attributes_come_out(fields: list[tuple[str, str]]) -> None:
    text = "".join(f"{name}: {value}\n" for name, value in fields)
    try:
        decision = enforcing(BODY + text.encode())
    except PolicyInvalid:
        return
    reply = render(decision, Dialect.TLSRPT).removeprefix(b"OK secure ")
    while reply:
        attribute = ATTRIBUTE.match(reply)
        assert attribute is not None, reply
        reply = reply[attribute.end() :].removeprefix(b" ")
