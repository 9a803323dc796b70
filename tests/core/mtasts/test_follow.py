"""Providers by their hosts, and what following the MX records changes."""

import pytest

from mailward.core.mtasts.follow import (
    Comparison,
    Follow,
    compare,
    narrow,
    patterns_for,
    why_not_agreed,
    widen,
)
from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.mtasts.providers import PROVIDERS, recognise
from mailward.core.names import matches_mx, parse_mx_pattern

POLICY = Policy(Mode.ENFORCE, 604_800, ("mx1.example.net", "*.old.example"))


@pytest.mark.parametrize(
    "hosts, name",
    [
        (("aspmx.l.google.com", "alt1.aspmx.l.google.com"), "Google Workspace"),
        (("example-test.mail.protection.outlook.com",), "Microsoft 365"),
        (("mx.zoho.eu", "mx2.zoho.eu"), "Zoho Mail"),
        (("in1-smtp.messagingengine.com",), "Fastmail"),
        (("mxa-001.gslb.pphosted.com",), "Proofpoint"),
        (("inbound-smtp.eu-west-1.amazonaws.com",), "Amazon SES"),
        # two providers at once, and names that only look like one
        (("aspmx.l.google.com", "mx.zoho.eu"), None),
        (("mail.protection.outlook.com.evil.test",), None),
        (("xaspmx.l.google.com",), None),
        (("evilmx.zoho.eu",), None),
        ((), None),
    ],
)
def test_providers_are_told_by_their_hosts(hosts: tuple[str, ...], name: str | None) -> None:
    found = recognise(hosts)
    assert (found.name if found else None) == name


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda each: f"{each.name}-{each.hosts[0]}")
def test_what_is_proposed_is_a_policy_and_covers_the_named_hosts(provider: object) -> None:
    for pattern in provider.patterns:  # type: ignore[attr-defined]
        assert parse_mx_pattern(pattern) == pattern
    for host in provider.hosts:  # type: ignore[attr-defined]
        named = not host.startswith(".") and provider.patterns  # type: ignore[attr-defined]
        assert not named or any(matches_mx(pattern, host) for pattern in provider.patterns)  # type: ignore[attr-defined]


def test_a_new_host_and_one_that_left_are_seen() -> None:
    assert compare(POLICY, ("mx1.example.net", "mx2.example.net")) == Comparison(
        ("mx2.example.net",), ("*.old.example",)
    )


@pytest.mark.parametrize("mode, hosts", [(Mode.NONE, ("mx9.example.net",)), (Mode.ENFORCE, ())])
def test_no_policy_and_no_hosts_have_nothing_to_compare(mode: Mode, hosts: tuple[str, ...]) -> None:
    assert compare(Policy(mode, 86_400, ("mx1.example.net",)), hosts) == Comparison((), ())


@pytest.mark.parametrize(
    "host, follow, patterns",
    [
        ("mx2.example.net", Follow.ALL, ("mx2.example.net",)),
        ("mx2.example.net", Follow.PROVIDERS, ()),
        ("mail.protonmail.ch", Follow.PROVIDERS, ("mail.protonmail.ch",)),
        ("alt9.aspmx.l.google.com", Follow.ALL, ("*.aspmx.l.google.com",)),
        # anybody can be a customer there: no pattern of the provider's is ours
        ("mxa-001.gslb.pphosted.com", Follow.PROVIDERS, ()),
        ("mail.protonmail.ch", Follow.OFF, ()),
        ("192.0.2.1", Follow.ALL, ()),
    ],
)
def test_what_may_be_taken_without_a_person(host: str, follow: Follow, patterns: tuple[str, ...]) -> None:
    assert patterns_for(host, follow) == patterns


def test_a_policy_is_widened_once_and_never_emptied() -> None:
    assert widen(POLICY, ("mx1.example.net", "mx2.example.net")).mx == (*POLICY.mx, "mx2.example.net")
    narrowed = narrow(POLICY, ("*.old.example",))
    assert narrowed is not None
    assert narrowed.mx == ("mx1.example.net",)
    assert narrow(POLICY, POLICY.mx) is None


@pytest.mark.parametrize(
    "answers, validated, reason",
    [
        ({"a": ("mx1", "mx2"), "b": ("mx2", "mx1")}, ("mx1", "mx2"), ""),
        ({"a": ("mx1",), "b": ("mx1", "evil")}, ("mx1",), "b says evil, mx1, others mx1"),
        ({"a": ("mx1",), "b": None}, ("mx1",), "b does not answer"),
        ({"a": ("mx1",)}, None, "the resolver has no answer, or DNSSEC refuses it"),
        ({}, ("mx1",), "no authoritative server is known"),
    ],
)
def test_all_servers_must_say_the_same(
    answers: dict[str, tuple[str, ...] | None], validated: tuple[str, ...] | None, reason: str
) -> None:
    assert why_not_agreed(answers, validated) == reason
