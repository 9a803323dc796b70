"""A report that counts nothing, to try whether reports arrive: well-formed, and marked as what it is (RFC 8460 §4)."""

from datetime import UTC, datetime, timedelta

from mailward.core.names import Domain
from mailward.core.tlsrpt.daily import Reporter, day_range
from mailward.core.tlsrpt.schema import Policy, PolicyResult, PolicyType, Report, Summary

ORGANIZATION = "Mailward test report, no sessions"
REMARKS = (
    "It is a test of whether reports arrive, asked for with",
    "mailward check --report-test. It counts nothing.",
)


def make_trial(domain: Domain, reporter: Reporter, now: datetime, nonce: str) -> Report:
    """About the UTC day before, with no session at all: nobody's statistics change. `nonce`: letters and digits."""
    return Report(
        organization_name=reporter.organization_name or ORGANIZATION,
        date_range=day_range(now.astimezone(UTC).date() - timedelta(days=1)),
        contact_info=reporter.contact,
        report_id=f"test.{nonce}@{reporter.submitter}",
        policies=(
            PolicyResult(
                policy=Policy(policy_type=PolicyType.NO_POLICY_FOUND, policy_domain=domain),
                summary=Summary(total_successful_session_count=0, total_failure_session_count=0),
            ),
        ),
    )
