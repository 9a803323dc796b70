"""One content, one hash: whatever the container, the order of keys, the spacing, and the order of entries."""

from hashlib import sha256

import msgspec

from mailward.core.tlsrpt.schema import PolicyResult, Report

_ENCODER = msgspec.json.Encoder()


def content_hash(report: Report) -> bytes:
    """32 bytes over all that the report says: organisation, id, period, contact, policies, details."""
    return sha256(canonical_form(report)).digest()


def canonical_form(report: Report) -> bytes:
    """The report's values with everything that is a set in sorted order: policies, their lines, MX patterns,
    details. The same entry twice is not the same as once.
    """
    head = msgspec.structs.replace(report, policies=())
    # encoded JSON has no line ends of its own, so that pieces cannot run into each other
    return b"\n".join([_ENCODER.encode(head), *sorted(map(_policy_form, report.policies))])


def _policy_form(result: PolicyResult) -> bytes:
    policy = msgspec.structs.replace(
        result.policy,
        policy_string=tuple(sorted(result.policy.policy_string)),
        mx_host=tuple(sorted(result.policy.mx_host)),
    )
    details = sorted(map(_ENCODER.encode, result.failure_details))
    return b"\t".join([_ENCODER.encode(policy), _ENCODER.encode(result.summary), *details])
