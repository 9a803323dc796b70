"""A customer publishes three CNAMEs, and that was all."""

import time

import pytest
from tests.e2e.certificates.site import CLIENT, SERVICE_ZONE, running_provider, wait_until

from mailward.lab.network import address

pytestmark = pytest.mark.timeout(300)


def test_the_first_valid_fetch_is_possible_15_seconds_after_the_cnames() -> None:
    with running_provider(["customer.test"]) as provider:
        tokens = provider.add(["customer.test"])
        assert provider.fetch("customer.test") == ""
        begun = time.monotonic()
        provider.publish(tokens, "customer.test.")
        wait_until(lambda: provider.fetch("customer.test"), 60)
        took = time.monotonic() - begun
        assert "mode: testing" in provider.fetch("customer.test")
        print(f"\nfirst valid policy fetch {took:.1f} s after the CNAMEs were published")  # noqa: T201 - a figure
        # the id is told only now: the policy is served, with a certificate that senders accept
        told = wait_until(lambda: "v=STSv1; id=" in provider.txt("_mta-sts.customer.test"), 60)
        print(f"and its id in DNS {told:.1f} s after that")  # noqa: T201
        assert took <= 15, provider.serve.said()[-3000:]


def test_a_certificate_is_had_through_dns_where_port_80_is_not_ours() -> None:
    """The fourth CNAME, and an `mta-sts` that leads to a host where nobody answers."""
    with running_provider(["customer.test"]) as provider:
        token = provider.add(["customer.test"])["customer.test"]
        provider.dns.change(
            "customer.test.",
            f"_smtp._tls CNAME _tlsrpt.{token}.{SERVICE_ZONE}.",
            f"_acme-challenge.mta-sts CNAME _acme-challenge.{token}.{SERVICE_ZONE}.",
            f"mta-sts A {address(CLIENT)}",
        )
        wait_until(lambda: provider.rows("SELECT 1 FROM store_certificate"), 90)
        assert provider.rows("SELECT method FROM store_acmeorder WHERE ended_at IS NOT NULL") == [("dns-01",)]
        # and what was shown is shown no longer
        wait_until(lambda: not provider.txt("_acme-challenge.mta-sts.customer.test"), 30)
