"""What is wrong with what we do for a domain ourselves: its certificate."""

from collections.abc import Mapping

from mailward.core.acme.state import CareState
from mailward.core.explain.explanation import Explanation, Severity

CERTIFICATE_FAILING = "certificate-not-issued"
CERTIFICATE_FORBIDDEN = "certificate-forbidden"
CERTIFICATE_GONE = "certificate-not-renewed"
CERTIFICATE_AWAY = "certificate-authorities-away"
CERTIFICATE_LAST_DAYS = "certificate-last-days"
CERTIFICATE_ENDED = "certificate-ended"

OF_STATE: Mapping[CareState, str] = {
    CareState.FAILING: CERTIFICATE_FAILING,
    CareState.FORBIDDEN: CERTIFICATE_FORBIDDEN,
    CareState.GONE: CERTIFICATE_GONE,
    CareState.AWAY: CERTIFICATE_AWAY,
}
"""The cause under which a state is told."""

_SECTION = "RFC 8461 section 3.3"
_URGENT = (
    "Read why it is not renewed: above, and on the domain's page, under Set-up.",
    (
        "If the authorities are away or refuse, whoever runs this installation puts another one into the settings "
        "(`acme.directories`), which is asked at once, or a certificate of his own into the folder `certs` of the data."
    ),
    "If the name leads elsewhere, or CAA records forbid it, mend the DNS and press Check now on the domain's page.",
    "Change no MX host before it is renewed, where the policy is enforced.",
)

ENTRIES = (
    Explanation(
        code=CERTIFICATE_FAILING,
        title="The certificate of the policy host is refused",
        clause="no certificate authority gives MX_HOST a certificate",
        meaning=(
            "Mailward asked for a certificate and the authority said no; its own words are on the domain's page. "
            "It is asked again by itself, less and less often. Once the present certificate has ended, senders that "
            "do not know the policy yet get none, and others go on with the copy they have."
        ),
        severity=Severity.WARNING,
        steps=(
            "Read the authority's words on the domain's page, under Set-up.",
            (
                "Ask as the authority does: `curl -i http://MX_HOST/.well-known/acme-challenge/x` must end at "
                "Mailward, from every address that `dig +short MX_HOST A MX_HOST AAAA` names."
            ),
            "If the authority has a block or a limit, put a second one into the settings (`acme.directories`).",
        ),
        section=_SECTION,
    ),
    Explanation(
        code=CERTIFICATE_FORBIDDEN,
        title="CAA records forbid the certificate of the policy host",
        clause="the CAA records for MX_HOST allow none of our certificate authorities",
        meaning=(
            "The domain says in DNS which authorities may issue certificates, and none that Mailward may ask is "
            "among them. Nothing is ordered, and the present certificate runs out."
        ),
        severity=Severity.WARNING,
        steps=(
            "See what stands there: `dig MX_HOST CAA` and the same for the names above it.",
            (
                "Add a CAA record that allows the authority that the domain's page names, at the policy host's name "
                "alone if the domain itself is to stay as it is."
            ),
            "Press Check now on the domain's page.",
        ),
        section="RFC 8659 section 4.2",
    ),
    Explanation(
        code=CERTIFICATE_GONE,
        title="The policy host leads elsewhere, and its certificate is not renewed",
        clause="MX_HOST does not lead to Mailward any more",
        meaning=(
            "The name led to us when its certificate was made and does not now, so it is not renewed. Senders that "
            "know the policy keep it until its max_age is over, and then go without."
        ),
        severity=Severity.CRITICAL,
        steps=(
            "See where it leads: `dig MX_HOST A` and `dig MX_HOST AAAA`.",
            "If that was not meant, publish the CNAME of the Set-up page again.",
            (
                "If the domain moves away or gives MTA-STS up, remove it here once senders have forgotten the policy "
                "(RFC 8461 section 8.3)."
            ),
        ),
        section=_SECTION,
        attack=(
            "Whoever can change the name's records can get certificates for it too. If you changed nothing, look who "
            "did, before anything else."
        ),
    ),
    Explanation(
        code=CERTIFICATE_AWAY,
        title="No certificate authority can be asked for the certificate of the policy host",
        clause="no certificate authority answers, or takes an order for MX_HOST",
        meaning=(
            "It is time for a certificate, and each authority in the settings is down or takes no orders of this "
            "installation now. They are asked again by themselves, once an hour at least. Once the present "
            "certificate has ended, senders that do not know the policy yet get none, and others go on with the "
            "copy they have."
        ),
        severity=Severity.WARNING,
        steps=(
            (
                "Whoever runs this installation sees what each authority said, and until when it is left alone: "
                "`mailward certificates`."
            ),
            "Look whether this machine reaches the Internet by HTTPS: `mailward doctor --only outbound`.",
            (
                "If an authority is down for long, put another one into the settings (`acme.directories`): it is "
                "asked at once."
            ),
        ),
        section=_SECTION,
    ),
    Explanation(
        code=CERTIFICATE_LAST_DAYS,
        title="Policy host's certificate ends within days",
        clause="the certificate of MX_HOST ends within days",
        meaning=(
            "It is not renewed: that has been due since a third of its life was left, and has not succeeded. When it "
            "has ended, no sender can fetch the policy: those that do not know it yet deliver without protection, and "
            "others go on with the copy they have, until its max_age is over."
        ),
        severity=Severity.CRITICAL,
        steps=_URGENT,
        section=_SECTION,
    ),
    Explanation(
        code=CERTIFICATE_ENDED,
        title="Policy host's certificate has ended",
        clause="the certificate of MX_HOST has ended",
        meaning=(
            "No sender can fetch the policy any more: those that do not know it yet deliver without protection, and "
            "others go on with the copy they have, until its max_age is over. Renewal is still tried by itself. An "
            "MX host that changes now, under enforce, is refused by those that hold the old copy."
        ),
        severity=Severity.CRITICAL,
        steps=_URGENT,
        section=_SECTION,
    ),
)

HOSTING: Mapping[str, Explanation] = {entry.code: entry for entry in ENTRIES}
