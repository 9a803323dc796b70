"""What we propose to somebody who has no policy yet."""

from collections.abc import Sequence

from mailward.core.mtasts.policy import Mode, Policy

STARTING_MAX_AGE = 86_400
"""A day: a mistake is forgotten tomorrow."""


def starting_policy(mx_hosts: Sequence[str]) -> Policy:
    """Testing mode with every live MX host by name."""
    return Policy(Mode.TESTING, STARTING_MAX_AGE, tuple(host.lower() for host in mx_hosts))
