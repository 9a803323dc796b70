"""The entries for the policy host and the policy's text, where no report could say the same."""

from mailward.core.check.codes import Code
from mailward.core.explain.explanation import Explanation, Severity
from mailward.core.explain.results import SEE_POLICY

_FETCH = "RFC 8461 section 3.3"
_TEXT = "RFC 8461 section 3.2"
_NEW_ID = "After a change of the policy, give the record at `_mta-sts.DOMAIN` a new `id`."

ENTRIES = (
    Explanation(
        code=Code.POLICY_HOST_DANGLING,
        title="Policy host's alias leads nowhere",
        clause="the alias mta-sts.DOMAIN leads nowhere",
        meaning=(
            "mta-sts.DOMAIN is a CNAME to a name without address, so nobody gets the policy. If somebody else "
            "can claim that name, they write the policy for your mail."
        ),
        severity=Severity.WARNING,
        steps=(
            "See where it leads: `dig mta-sts.DOMAIN A`",
            "If you left that provider, remove the alias today.",
            "Else ask the provider for the right name.",
        ),
        section="RFC 8461 section 8.2",
        attack=(
            "Taking over such a name needs only an account at the provider: a certificate for "
            "mta-sts.DOMAIN comes with it."
        ),
    ),
    Explanation(
        code=Code.POLICY_CLIENT_DIFFERS,
        title="Policy depends on who asks",
        clause="mta-sts.DOMAIN serves the policy to some programs only",
        meaning=(
            "mta-sts.DOMAIN answers one program otherwise than the next, by User-Agent or Accept. Senders are programs "
            "of all kinds: those that are turned away have no policy. A notice where only one without User-Agent is."
        ),
        severity=Severity.WARNING,
        steps=(
            (
                "Compare `curl -sSi https://mta-sts.DOMAIN/.well-known/mta-sts.txt` and, without User-Agent, "
                "`curl -sSi -A '' https://mta-sts.DOMAIN/.well-known/mta-sts.txt`"
            ),
            "Take mta-sts.DOMAIN out of bot filters, challenges and firewalls in front of the web server.",
            "Serve the file to everybody, whatever the headers of the request.",
        ),
        section="RFC 8461 section 3.3",
    ),
    Explanation(
        code=Code.POLICY_HOST_DIFFERS,
        title="Policy host works at some addresses only",
        clause="mta-sts.DOMAIN serves the policy at some of its addresses only",
        meaning=(
            "One address of mta-sts.DOMAIN serves the policy and another does not. Which one a sender"
            " gets is chance."
        ),
        severity=Severity.WARNING,
        steps=(
            "Try both families: `curl -4sSi https://mta-sts.DOMAIN/.well-known/mta-sts.txt`, then with `-6`",
            "Mend the address that fails, or remove it from the DNS.",
        ),
        section=_FETCH,
    ),
    Explanation(
        code=Code.POLICY_HOST_TLS,
        title="No TLS with the policy host",
        clause="no TLS 1.2 or 1.3 with mta-sts.DOMAIN",
        meaning=(
            "The web server at mta-sts.DOMAIN and the sender find no TLS version or cipher that both "
            "have, or the handshake breaks."
        ),
        severity=Severity.WARNING,
        steps=(
            "Try it: `openssl s_client -connect mta-sts.DOMAIN:443 -servername mta-sts.DOMAIN </dev/null`",
            "Allow TLS 1.2 and 1.3 with the standard ciphers.",
        ),
        section="RFC 8461 section 3.3; RFC 8461 section 7",
    ),
    Explanation(
        code=Code.POLICY_BODIES_DIFFER,
        title="Policy host serves different policies",
        clause="the addresses of mta-sts.DOMAIN serve different policies",
        meaning=(
            "Two addresses of mta-sts.DOMAIN serve different policies. Senders keep whichever they "
            "happen to get."
        ),
        severity=Severity.WARNING,
        steps=("Serve the same file everywhere.", _NEW_ID),
        section="RFC 8461 section 8.1",
    ),
    Explanation(
        code=Code.POLICY_TOO_LARGE,
        title="Policy too large",
        clause="mta-sts.DOMAIN serves more than 64 KiB",
        meaning=(
            "What mta-sts.DOMAIN serves is larger than 64 KiB, where senders stop reading. A policy "
            "has some hundred bytes."
        ),
        severity=Severity.WARNING,
        steps=(SEE_POLICY, "Serve the policy and nothing else."),
        section=_FETCH,
    ),
    Explanation(
        code=Code.POLICY_CERTIFICATE_EXPIRES,
        title="Policy host's certificate ends soon",
        clause="the certificate of mta-sts.DOMAIN ends soon",
        meaning=(
            "Renewal is late. When the certificate has ended, senders cannot fetch the policy, and "
            "new ones deliver without protection."
        ),
        severity=Severity.WARNING,
        steps=(
            "Where Mailward serves the policy, it renews by itself: the domain's page Set-up says why it could not.",
            "On a web server of your own, renew it now (certbot: `certbot renew`) and reload the server.",
            "Find out why it did not renew by itself: `systemctl list-timers`",
        ),
        section=_FETCH,
    ),
    Explanation(
        code=Code.POLICY_CAA_FORBIDS,
        title="CAA forbids the next certificate",
        clause="CAA records forbid the next certificate of mta-sts.DOMAIN",
        meaning=(
            "The CAA records do not name the authority that issued the certificate of mta-sts.DOMAIN. It will not "
            "issue the next one, and senders cannot fetch the policy when this one ends."
        ),
        severity=Severity.WARNING,
        steps=(
            "See what is there: `dig CAA mta-sts.DOMAIN`, then `dig CAA DOMAIN`; the closest one counts",
            (
                'Name the authority: `mta-sts.DOMAIN CAA 0 issue "letsencrypt.org"`, or get '
                "certificates from one that is named."
            ),
        ),
        section="RFC 8659 section 4.2",
    ),
    Explanation(
        code=Code.POLICY_MAX_AGE_SHORT,
        title="Policy is soon forgotten",
        clause="the policy's max_age is under a day",
        meaning=(
            "Senders forget the policy within a day. An attacker only has to block one renewal to be "
            "rid of it."
        ),
        severity=Severity.WARNING,
        steps=("Set `max_age` to weeks, such as 1209600; under `mode: enforce`, to months.", _NEW_ID),
        section="RFC 8461 section 10.2",
    ),
    Explanation(
        code=Code.POLICY_MAX_AGE_HIGH,
        title="max_age above the limit",
        clause="the policy's max_age is above the limit",
        meaning=(
            "`max_age` may be a year at most (31557600). Some senders cut it to that, some refuse the policy."
        ),
        severity=Severity.WARNING,
        steps=("Set `max_age: 31557600` or less.", _NEW_ID),
        section=_TEXT,
    ),
    Explanation(
        code=Code.POLICY_DUPLICATE_FIELD,
        title="Field given twice",
        clause="a field of the policy is given twice",
        meaning=(
            "Only the first of duplicated fields counts, `mx` excepted. Some senders read the last "
            "one, so they follow another policy."
        ),
        severity=Severity.WARNING,
        steps=("Keep one line of each field but `mx`.", _NEW_ID),
        section=_TEXT,
    ),
    Explanation(
        code=Code.POLICY_UNKNOWN_FIELD,
        title="Unknown field",
        clause="the policy has a field that senders do not know",
        meaning=(
            "Senders ignore fields that they do not know. If it is a slip of the pen, what it should "
            "say is not said."
        ),
        severity=Severity.NOTICE,
        steps=("Check its spelling: only version, mode, mx and max_age mean anything.",),
        section=_TEXT,
    ),
    Explanation(
        code=Code.POLICY_PATTERN_ODD,
        title="Pattern that is probably not meant so",
        clause="an mx line of the policy is probably not meant so",
        meaning=(
            "An `mx` line is allowed by the grammar and still looks wrong. A wildcard covers exactly "
            "one label, and names only, no addresses."
        ),
        severity=Severity.WARNING,
        steps=(
            "Compare it with the MX records: `dig +short DOMAIN MX`",
            "Write one `mx:` line for each host.",
            _NEW_ID,
        ),
        section="RFC 8461 section 4.1",
    ),
    Explanation(
        code=Code.POLICY_TESTING,
        title="Policy in testing mode",
        clause="the policy is in testing mode",
        meaning="Senders report what would fail and deliver all the same: nothing is protected yet.",
        severity=Severity.NOTICE,
        steps=("When reports have been clean for some weeks, change to `mode: enforce`.", _NEW_ID),
        section="RFC 8461 section 5",
    ),
    Explanation(
        code=Code.POLICY_NONE,
        title="Policy says that there is none",
        clause="the policy's mode is none",
        meaning="`mode: none` takes a policy back. It protects nothing.",
        severity=Severity.NOTICE,
        steps=(
            "When the longest `max_age` ever served is over, remove record and policy.",
            "If you want protection, serve `mode: testing` first, then `mode: enforce`.",
        ),
        section="RFC 8461 section 8.3",
    ),
    Explanation(
        code=Code.POLICY_PATTERN_UNUSED,
        title="Pattern that covers no MX host",
        clause="an mx line of the policy covers no MX host",
        meaning=(
            "No MX record of DOMAIN has a name that this line covers. Harmless, unless the host was "
            "meant to be there."
        ),
        severity=Severity.NOTICE,
        steps=(
            "If it is a server that you will use, leave it.",
            "If it is one that you left, remove the line: whoever has that name may take your mail.",
        ),
        section="RFC 8461 section 4.1",
    ),
)
