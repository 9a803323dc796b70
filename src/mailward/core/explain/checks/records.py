"""The entries for the TXT records at `_mta-sts` and `_smtp._tls`."""

from mailward.core.check.codes import Code
from mailward.core.explain.explanation import Explanation, Severity

_SEE = "See what is there: `dig TXT _mta-sts.DOMAIN`"
_SEE_REPORTS = "See what is there: `dig TXT _smtp._tls.DOMAIN`"
_ONE = "It must be one record of this form: `v=STSv1; id=20160831085700Z;`"
_ONE_REPORTS = "It must be one record of this form: `v=TLSRPTv1; rua=mailto:tls-reports@DOMAIN`"
_SECTION = "RFC 8461 section 3.1"
_REPORTS = "RFC 8460 section 3"
_UNUSED = "Senders that meet DOMAIN for the first time see no policy, and deliver without its protection."

ENTRIES = (
    Explanation(
        code=Code.STS_ABSENT,
        title="No MTA-STS policy",
        clause="DOMAIN has no MTA-STS policy",
        meaning=(
            "DOMAIN publishes no MTA-STS policy. Unless DANE protects every MX host, anybody on the path can take the "
            "encryption away and read the mail."
        ),
        severity=Severity.WARNING,
        steps=(
            (
                "Serve a policy with `mode: testing` at "
                "`https://mta-sts.DOMAIN/.well-known/mta-sts.txt`, with an `mx:` line for each MX "
                "host."
            ),
            (
                'Then publish `_mta-sts.DOMAIN TXT "v=STSv1; id=1;"`, and a record for reports at '
                "`_smtp._tls.DOMAIN`."
            ),
            "After some weeks of clean reports, change to `mode: enforce` and give the record a new `id`.",
        ),
        section="RFC 8461 section 2",
    ),
    Explanation(
        code=Code.STS_RECORD_MISSING,
        title="Policy without its record",
        clause="_mta-sts.DOMAIN has no record, though a policy is served",
        meaning=f"The policy is served, and the record that announces it is not there. {_UNUSED}",
        severity=Severity.WARNING,
        steps=(
            _SEE,
            _ONE,
            "If you meant to remove the policy, serve `mode: none` until its `max_age` is over.",
        ),
        section=_SECTION,
    ),
    Explanation(
        code=Code.STS_RECORD_MISPLACED,
        title="Record at the wrong name",
        clause="the MTA-STS record of DOMAIN stands at the wrong name",
        meaning=f"The record stands at a name where no sender looks: it belongs to _mta-sts.DOMAIN. {_UNUSED}",
        severity=Severity.WARNING,
        steps=("Move the TXT record to `_mta-sts.DOMAIN`, with the underscore.", _SEE),
        section=_SECTION,
    ),
    Explanation(
        code=Code.STS_RECORD_SEVERAL,
        title="Several MTA-STS records",
        clause="_mta-sts.DOMAIN has several records",
        meaning=f"With more than one record that begins `v=STSv1;` senders ignore all of them. {_UNUSED}",
        severity=Severity.WARNING,
        steps=(_SEE, "Remove all but one."),
        section=_SECTION,
    ),
    Explanation(
        code=Code.STS_RECORD_OTHER_TEXT,
        title="Other text beside the record",
        clause="_mta-sts.DOMAIN has other texts beside its record",
        meaning=(
            "There are texts at `_mta-sts.DOMAIN` that are no MTA-STS record. Senders should pass over them; some take "
            "them for a fault, and see no policy."
        ),
        severity=Severity.NOTICE,
        steps=(
            _SEE,
            "Remove the others. Often they come from a wildcard, or were meant for the domain itself.",
        ),
        section=_SECTION,
    ),
    Explanation(
        code=Code.STS_RECORD_VERSION,
        title="Record does not begin with its version",
        clause="the record at _mta-sts.DOMAIN does not begin `v=STSv1;`",
        meaning=(
            "The record must begin with exactly `v=STSv1;`: case, quotes, spaces and the semicolon "
            f"count. {_UNUSED}"
        ),
        severity=Severity.WARNING,
        steps=(_SEE, _ONE, "Quotation marks belong to the zone file, not into a provider's form."),
        section=_SECTION,
    ),
    Explanation(
        code=Code.STS_RECORD_ID,
        title="Record without a usable id",
        clause="the record at _mta-sts.DOMAIN has no usable id",
        meaning=f"The `id` must be there, in lower case, with 1 to 32 letters and digits. {_UNUSED}",
        severity=Severity.WARNING,
        steps=(_SEE, _ONE, "No hyphens, dots or spaces; a date and time without them is usual."),
        section=_SECTION,
    ),
    Explanation(
        code=Code.STS_RECORD_SYNTAX,
        title="Record not valid",
        clause="the record at _mta-sts.DOMAIN is not valid",
        meaning=f"The record is not what the grammar allows. {_UNUSED}",
        severity=Severity.WARNING,
        steps=(_SEE, _ONE),
        section=_SECTION,
    ),
    Explanation(
        code=Code.STS_RECORD_DANGLING,
        title="Record's alias leads nowhere",
        clause="the alias at _mta-sts.DOMAIN leads nowhere",
        meaning=f"_mta-sts.DOMAIN is a CNAME, and there is no record where it leads. {_UNUSED}",
        severity=Severity.WARNING,
        steps=(
            _SEE,
            "Ask the provider for the right target, or publish the TXT record itself.",
            "If you left that provider, remove the alias.",
        ),
        section="RFC 8461 section 8.2",
        attack="Whoever may create that name at the provider announces policies for you.",
    ),
    Explanation(
        code=Code.STS_RECORD_LOOKUP_FAILED,
        title="Record cannot be looked up",
        clause="_mta-sts.DOMAIN cannot be looked up",
        meaning=(
            "The DNS gives no usable answer at _mta-sts.DOMAIN. Senders that know no policy yet "
            "deliver without one, or wait."
        ),
        severity=Severity.WARNING,
        steps=(
            "Ask with and without validation: `delv _mta-sts.DOMAIN TXT`, then `dig +cd _mta-sts.DOMAIN TXT`",
            "If a provider serves that name, ask its name servers: `dig @SERVER _mta-sts.DOMAIN TXT`",
        ),
        section=_SECTION,
        attack=(
            "Blocking this answer is how an attacker keeps new senders from the policy. Senders that "
            "know it keep it."
        ),
    ),
    Explanation(
        code=Code.TLSRPT_MISSING,
        title="No record for reports",
        clause="_smtp._tls.DOMAIN has no record for reports",
        meaning=(
            "No sender can tell you when encrypted delivery fails, since DOMAIN names no place for "
            "TLS reports."
        ),
        severity=Severity.WARNING,
        steps=(_ONE_REPORTS, "Read what comes, or let Mailward read it."),
        section=_REPORTS,
    ),
    Explanation(
        code=Code.TLSRPT_RECORD_MISPLACED,
        title="Record for reports at the wrong name",
        clause="the record for reports is not at _smtp._tls.DOMAIN",
        meaning=(
            "The text of the record stands at a name where no sender looks. Nobody can tell you when encrypted "
            "delivery fails."
        ),
        severity=Severity.WARNING,
        steps=("Move it to `_smtp._tls.DOMAIN`.", _ONE_REPORTS),
        section=_REPORTS,
    ),
    Explanation(
        code=Code.TLSRPT_SEVERAL,
        title="Several records for reports",
        clause="_smtp._tls.DOMAIN has several records",
        meaning="With more than one record that begins `v=TLSRPTv1;` senders send no reports.",
        severity=Severity.WARNING,
        steps=(_SEE_REPORTS, "Keep one; several places go into one `rua=`, between commas."),
        section=_REPORTS,
    ),
    Explanation(
        code=Code.TLSRPT_SYNTAX,
        title="Record for reports not valid",
        clause="the record at _smtp._tls.DOMAIN is not valid",
        meaning="The record, or a place in it, is not what the grammar allows. Senders send no reports there.",
        severity=Severity.WARNING,
        steps=(
            _SEE_REPORTS,
            _ONE_REPORTS,
            "Only `mailto:` and `https:` count; DMARC's size limits (`!10m`) and tags do not belong here.",
        ),
        section=_REPORTS,
    ),
    Explanation(
        code=Code.TLSRPT_LOOKUP_FAILED,
        title="Record for reports cannot be looked up",
        clause="_smtp._tls.DOMAIN cannot be looked up",
        meaning=(
            "The DNS gives no usable answer at _smtp._tls.DOMAIN. While that lasts, senders send no reports."
        ),
        severity=Severity.NOTICE,
        steps=(
            (
                "Ask with and without validation: `delv _smtp._tls.DOMAIN TXT`, then `dig +cd "
                "_smtp._tls.DOMAIN TXT`"
            ),
        ),
        section=_REPORTS,
    ),
    Explanation(
        code=Code.TLSRPT_TARGET_TAKES_NO_MAIL,
        title="Reports go to a domain without mail",
        clause="reports about DOMAIN go to a domain that takes no mail",
        meaning=(
            "The domain in the report address has neither MX host nor address, or says that it takes "
            "no mail. Every report bounces."
        ),
        severity=Severity.WARNING,
        steps=(_SEE_REPORTS, "Correct the address, or create the mail domain it names."),
        section=_REPORTS,
    ),
    Explanation(
        code=Code.TLSRPT_TARGET_REFUSES,
        title="Reports are refused",
        clause="a place that reports about DOMAIN should go to refuses them",
        meaning=(
            "A test report was sent there and refused. So will those of senders be, and you learn nothing from "
            "them; some senders stop trying."
        ),
        severity=Severity.WARNING,
        steps=(
            "Read what it answered, in the evidence, and look into its log.",
            "For mail: does the mailbox exist, and take attachments of `application/tlsrpt+gzip`?",
            "For HTTPS: does the URL take `POST` from anybody, without redirect, and answer 2xx?",
        ),
        section="RFC 8460 section 5.3; RFC 8460 section 5.4",
    ),
    Explanation(
        code=Code.TLSRPT_TARGET_DEAD,
        title="Nobody takes the reports",
        clause="nobody answers where the reports about DOMAIN are to be posted",
        meaning=(
            "The host in the https URI has no address, refuses connections or does no TLS. Reports "
            "sent there are lost."
        ),
        severity=Severity.WARNING,
        steps=(
            _SEE_REPORTS,
            "Try it: `curl -sSi -X POST URI`",
            "Add a second place to `rua=`, such as a mail address: senders try all of them.",
        ),
        section=_REPORTS,
    ),
)
