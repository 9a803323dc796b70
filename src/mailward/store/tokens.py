"""Random tokens that we give out."""

import secrets

_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # 32, none of which is taken for another
ADDRESS_LETTERS = 20  # 100 bits
CLAIM_LETTERS = 26  # 130 bits


def make_address_token() -> str:
    """The local part of a report address: lower case, since some senders change the case of local parts."""
    return _make(ADDRESS_LETTERS)


def make_claim_token() -> str:
    """What the TXT record that proves a claim holds."""
    return _make(CLAIM_LETTERS)


def make_delegation_token() -> str:
    """A label of our zone (RFC 1035: up to 63 octets, without regard to case)."""
    return _make(ADDRESS_LETTERS)


def make_veto_token() -> str:
    """For a link in a mail: whoever has it may object to one change."""
    return _make(CLAIM_LETTERS)


def _make(letters: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(letters))
