"""A customer publishes three CNAMEs, and that was all."""

import time

import pytest
from tests.e2e.certificates.site import running_provider, wait_until

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
