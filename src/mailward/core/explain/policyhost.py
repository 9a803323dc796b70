"""The finer entries for what goes wrong at a policy host, `mta-sts.<domain>`."""

from mailward.core.explain.explanation import Explanation, Severity
from mailward.core.explain.results import SEE_POLICY

SECTION = "RFC 8460 section 4.3.2.2; RFC 8461 section 3.3"
POLICY_MISSING = Explanation(
    code="policy-not-there",
    title="Policy file not there",
    clause="mta-sts.DOMAIN has no policy file",
    meaning=(
        "The web server at mta-sts.DOMAIN answers that there is no such file. Your DNS record announces "
        "a policy that is not there."
    ),
    severity=Severity.WARNING,
    steps=(
        SEE_POLICY,
        "Put the policy at exactly `/.well-known/mta-sts.txt` on the host mta-sts.DOMAIN.",
        (
            "If many domains share the web server: check that it knows mta-sts.DOMAIN and does not answer "
            "with its default site."
        ),
    ),
    section=SECTION,
)
POLICY_REDIRECT = Explanation(
    code="policy-redirected",
    title="Policy host redirects",
    clause="mta-sts.DOMAIN redirects instead of giving the policy",
    meaning=(
        "The web server at mta-sts.DOMAIN sends senders to another address. They are not allowed to follow."
    ),
    severity=Severity.WARNING,
    steps=(
        SEE_POLICY,
        (
            "Take `/.well-known/mta-sts.txt` out of every redirect rule (to `www`, to the main domain, to a "
            "login page)."
        ),
        "The first answer must be status 200 with the policy itself.",
    ),
    section=SECTION,
)
POLICY_FORBIDDEN = Explanation(
    code="policy-forbidden",
    title="Policy host turns senders away",
    clause="mta-sts.DOMAIN turns senders away",
    meaning=(
        "The web server at mta-sts.DOMAIN refuses to give the policy. Mostly a filter takes mail servers "
        "for bots."
    ),
    severity=Severity.WARNING,
    steps=(
        (
            "Fetch it as a program does: `curl -sSi -A libwww-perl "
            "https://mta-sts.DOMAIN/.well-known/mta-sts.txt`"
        ),
        "Exempt mta-sts.DOMAIN from bot filters, browser checks, country blocks and rate limits.",
    ),
    section=SECTION,
)
POLICY_SERVER_ERROR = Explanation(
    code="policy-server-error",
    title="Policy host has an error of its own",
    clause="mta-sts.DOMAIN answers with an error of its own",
    meaning=(
        "The web server at mta-sts.DOMAIN answers with a status in the 500s: it, or what stands behind "
        "it, is broken or overloaded."
    ),
    severity=Severity.WARNING,
    steps=(
        SEE_POLICY,
        "Look into the web server's log; behind a proxy, check that it reaches its origin.",
        "A plain file needs no application behind it: serve it from the web server itself.",
    ),
    section=SECTION,
)
POLICY_NO_ADDRESS = Explanation(
    code="policy-host-not-in-dns",
    title="Policy host not in the DNS",
    clause="mta-sts.DOMAIN has no address in the DNS",
    meaning=(
        "Senders find no address for mta-sts.DOMAIN, so they cannot fetch the policy that your DNS "
        "record announces."
    ),
    severity=Severity.WARNING,
    steps=(
        "Ask for it: `dig mta-sts.DOMAIN A`, then `AAAA`; with DNSSEC also `delv mta-sts.DOMAIN`",
        "Create the record, or correct the CNAME: its target must exist.",
        "If you no longer want MTA-STS, serve `mode: none` first and remove the records later.",
    ),
    section=SECTION,
    attack=(
        "A CNAME to a provider who no longer knows you can be taken over by a stranger. Remove it, or "
        "make it yours."
    ),
)
POLICY_UNREACHABLE = Explanation(
    code="policy-host-unreachable",
    title="Policy host cannot be reached",
    clause="mta-sts.DOMAIN could not be reached",
    meaning=(
        "Senders get no connection to mta-sts.DOMAIN, or no answer in time. One broken address, IPv4 or "
        "IPv6, is enough."
    ),
    severity=Severity.WARNING,
    steps=(
        "Try both: `curl -4sSi https://mta-sts.DOMAIN/.well-known/mta-sts.txt`, then with `-6`",
        "Open port 443 to everybody, and remove address records that lead nowhere.",
        "If it works from everywhere now and there were few failures, it was a passing fault.",
    ),
    section=SECTION,
    attack="Whoever can block the policy for long enough makes senders forget it. A long `max_age` helps.",
)
POLICY_MEDIA_TYPE = Explanation(
    code="policy-media-type",
    title="Policy has the wrong media type",
    clause="mta-sts.DOMAIN serves the policy with the wrong media type",
    meaning=(
        "The policy must be served as `text/plain`. Anything else, mostly an HTML page, is taken for an "
        "error page."
    ),
    severity=Severity.WARNING,
    steps=(
        SEE_POLICY,
        "Set the type in the web server: `Content-Type: text/plain`.",
        "If you see a web page instead of the policy, the server answers with its default site.",
    ),
    section="RFC 8461 section 3.2",
)
