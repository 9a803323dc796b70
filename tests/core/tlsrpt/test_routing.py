"""Ownership follows the address; a `tlsa` entry names an MX host and follows its report."""

import pytest

from mailward.core.tlsrpt.routing import Address, Share, hosts_in_doubt, route
from mailward.core.tlsrpt.schema import Policy, PolicyResult, Report

DOMAIN = Address({"example.test"}, "example.test")
ORGANISATION = Address({"example.test", "second.test"})


def report(*policies: tuple[str | None, str | None]) -> Report:
    return Report(
        policies=tuple(
            PolicyResult(policy=Policy(policy_type=kind, policy_domain=name)) for kind, name in policies
        )
    )


FOREIGN = {None: (0,)}


@pytest.mark.parametrize(
    "address, policies, header, expected, reason",
    [
        (DOMAIN, [("sts", "example.test")], None, {"example.test": (0,)}, "the usual report"),
        (DOMAIN, [("no-policy-found", "example.test")], None, {"example.test": (0,)}, "without a policy"),
        (DOMAIN, [("sts", "other.test")], "example.test", FOREIGN, "policy domain wins over the header"),
        (DOMAIN, [("sts", "second.test")], None, FOREIGN, "ours, but not of this address"),
        (DOMAIN, [("sts", "www.example.test")], None, FOREIGN, "a child is another policy domain"),
        (DOMAIN, [("sts", None)], None, {"example.test": (0,)}, "names nobody: the address says"),
        (DOMAIN, [("sts", None)], "other.test", FOREIGN, "names nobody: the header says"),
        (DOMAIN, [("future", "example.test")], None, {"example.test": (0,)}, "a type that we do not know"),
        (DOMAIN, [("tlsa", "mx.provider.test")], None, {"example.test": (0,)}, "the address says"),
        (DOMAIN, [("tlsa", "mx.provider.test")], "Example.Test.", {"example.test": (0,)}, "the header says"),
        (DOMAIN, [("tlsa", "mx.provider.test")], "other.test", FOREIGN, "the header says otherwise"),
        (DOMAIN, [("tlsa", "example.test")], "other.test", FOREIGN, "the header wins over an MX host"),
        (
            DOMAIN,
            [("tlsa", "mx.provider.test"), ("sts", "example.test")],
            None,
            {"example.test": (0, 1)},
            "the other entry says",
        ),
        (
            DOMAIN,
            [("tlsa", "example.test"), ("sts", "other.test")],
            None,
            {None: (0, 1)},
            "the other entry says somebody else",
        ),
        (
            DOMAIN,
            [("sts", "example.test"), ("sts", "other.test")],
            None,
            {"example.test": (0,)},
            "the foreign entry is kept with ours, unshared",
        ),
        (
            ORGANISATION,
            [("sts", "second.test"), ("sts", "example.test"), ("sts", "second.test")],
            None,
            {"second.test": (0, 2), "example.test": (1,)},
            "the organisation's address routes by policy domain",
        ),
        (ORGANISATION, [("sts", "other.test")], None, FOREIGN, "not ours"),
        (ORGANISATION, [("tlsa", "mx.provider.test")], None, FOREIGN, "nothing says whose it is"),
        (ORGANISATION, [("tlsa", "mx.provider.test")], "second.test", {"second.test": (0,)}, "the header"),
        (
            ORGANISATION,
            [("tlsa", "example.test"), ("tlsa", "second.test")],
            None,
            {"example.test": (0,), "second.test": (1,)},
            "some senders write the recipient's domain",
        ),
        (DOMAIN, [], None, {"example.test": ()}, "no policies at all: kept where it came to"),
        (ORGANISATION, [], None, {None: ()}, "no policies at all, nobody's address"),
    ],
)
def test_whose_policies_they_are(
    address: Address,
    policies: list[tuple[str | None, str | None]],
    header: str | None,
    expected: dict[str | None, tuple[int, ...]],
    reason: str,
) -> None:
    shares = tuple(Share(domain, places) for domain, places in expected.items())
    assert route(report(*policies), address, header) == shares, reason


@pytest.mark.parametrize(
    "policies, expected, reason",
    [
        ([("sts", "example.test"), ("tlsa", "mx.other.test")], set(), "an entry names the domain"),
        ([("no-policy-found", "example.test")], set(), "whatever its type"),
        ([("tlsa", "example.test")], set(), "the domain is its own MX host"),
        ([("tlsa", "example.test"), ("tlsa", "mx.other.test")], {"mx.other.test"}, "each host is weighed"),
        ([("tlsa", None)], {""}, "a host without a name"),
        ([("sts", None)], {""}, "an entry that names nobody"),
        ([("tlsa", f"mx{number}.test") for number in range(51)], {""}, "more hosts than are weighed"),
        ([], set(), "nothing to count"),
    ],
)
def test_hosts_that_a_report_names_instead_of_its_domain(
    policies: list[tuple[str | None, str | None]], expected: set[str], reason: str
) -> None:
    assert hosts_in_doubt(report(*policies), "example.test", range(len(policies))) == expected, reason
