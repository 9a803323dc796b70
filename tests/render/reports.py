"""Reports for the renderers: a usual one, and one in which every text is an attack."""

from datetime import UTC, datetime

from mailward.core.tlsrpt.schema import DateRange, FailureDetail, Policy, PolicyResult, Report, Summary

DAY = DateRange(
    start_datetime=datetime(2024, 9, 3, tzinfo=UTC), end_datetime=datetime(2024, 9, 3, 23, 59, 59, tzinfo=UTC)
)

USUAL = Report(
    organization_name="Google Inc.",
    date_range=DAY,
    contact_info="smtp-tls-reporting@google.com",
    report_id="2024-09-03T00:00:00Z_example.com",
    policies=(
        PolicyResult(
            policy=Policy(
                policy_type="sts",
                policy_domain="example.com",
                policy_string=("version: STSv1", "mode: enforce", "mx: *.example.com", "max_age: 604800"),
                mx_host=("*.example.com",),
            ),
            summary=Summary(total_successful_session_count=1198, total_failure_session_count=6),
            failure_details=(
                FailureDetail(
                    result_type="certificate-expired",
                    sending_mta_ip="192.0.2.201",
                    receiving_mx_hostname="mx2.example.com",
                    receiving_ip="198.51.100.58",
                    failed_session_count=6,
                    additional_information="https://example.net/info?id=1&x=2",
                ),
            ),
        ),
    ),
)


def hostile(text: str) -> Report:
    """The same text wherever a stranger can put one."""
    detail = FailureDetail(
        result_type=text,
        sending_mta_ip=text,
        receiving_mx_hostname=text,
        receiving_mx_helo=text,
        receiving_ip=text,
        failed_session_count=5,
        additional_information=text,
        failure_reason_code=text,
    )
    policies = tuple(
        PolicyResult(
            policy=Policy(policy_type=kind, policy_domain=text, policy_string=(text,), mx_host=(text,)),
            summary=Summary(total_successful_session_count=1, total_failure_session_count=5),
            failure_details=(detail,),
        )
        for kind in ("sts", "tlsa", text)
    )
    return Report(
        organization_name=text, contact_info=text, report_id=text, date_range=DAY, policies=policies
    )


ATTACKS = [
    ("<script>alert(1)</script>", "an element"),
    ('"><img src=x onerror=alert(1)>', "out of an attribute"),
    ("' onmouseover='alert(1)", "out of an attribute in single quotes"),
    ("javascript:alert(1)", "a link that runs"),
    ("data:text/html,<b>x</b>", "a link that is a page"),
    ('https://x.example/" onclick="alert(1)', "a link that breaks out"),
    ("\x1b[2J\x1b]0;owned\x07", "an escape sequence"),
    ("\x9b31m", "an eight-bit escape sequence"),
    ("a\rb\nc\td\x00e\x7f", "control characters"),
    ("\u202egnp.exe\u2066\u200b", "right to left, isolates, no width"),
    ("line\u2028separator", "a line end of Unicode"),
    ("[bold red]markup[/bold red] [link=https://x.example]x[/link]", "markup of the terminal library"),
    ("`rm -rf /`", "what looks like a command of ours"),
    ("</style></title><script>", "out of the head"),
    (":skull: &amp; &lt;", "emoji codes and entities"),
    ("\ud800", "half a character"),
]
