"""One content, one hash: whatever the container, the order of keys, the spacing, and the order of entries."""

from hashlib import sha256

import msgspec

from mailward.core.tlsrpt.schema import PolicyResult, Report

_encode = msgspec.json.Encoder().encode


def content_hash(report: Report) -> bytes:
    """32 bytes over all that the report says: organisation, id, period, contact, policies, details."""
    return sha256(canonical_form(report)).digest()


def canonical_form(report: Report) -> bytes:
    """The report's values with everything that is a set in sorted order: policies, their lines, MX patterns,
    details. The same entry twice is not the same as once.
    """
    period = report.date_range
    head = (
        report.organization_name,
        period.start_datetime,
        period.end_datetime,
        report.contact_info,
        report.report_id,
    )
    # encoded JSON has no line ends of its own, so that pieces cannot run into each other
    return b"\n".join([_encode(head), *sorted(map(_policy_form, report.policies))])


def _policy_form(result: PolicyResult) -> bytes:
    policy, summary = result.policy, result.summary
    # values in their order, since a changed copy of each struct takes as long as all the rest
    values = (
        policy.policy_type,
        policy.policy_domain,
        sorted(policy.policy_string),
        sorted(policy.mx_host),
        summary.total_successful_session_count,
        summary.total_failure_session_count,
    )
    return b"\t".join([_encode(values), *sorted(map(_encode, result.failure_details))])
