"""Who vouches for a report, in words."""

from dataclasses import dataclass

from mailward.store.models import Report, Trust


@dataclass(frozen=True, slots=True)
class TrustWords:
    badge: str
    """The badge class: ok, warn, bad, info or unknown."""
    label: str
    text: str


_BADGES = {
    Trust.VERIFIED: ("ok", "verified"),
    Trust.VOUCHED_RELAY: ("ok", "vouched for by a relay"),
    Trust.VOUCHED_PERSON: ("info", "imported by a person"),
    Trust.PENDING: ("warn", "waiting for DNS"),
    Trust.UNVERIFIED: ("unknown", "not verified"),
    Trust.FAILED: ("bad", "verification failed"),
    Trust.TEST: ("info", "test report"),
}
_TEXTS = {
    Trust.VERIFIED: "The mail carries a good DKIM signature of {signer}. That proves who sent it, not that "
    "what it says is true.",
    Trust.VOUCHED_RELAY: "A mail relay of yours found a good DKIM signature of {signer}, and we believe that "
    "relay.",
    Trust.VOUCHED_PERSON: "{person} brought it in and vouches for it. No signature was looked at.",
    Trust.PENDING: "DNS did not say which key the sender signs with. We ask again for three days; until then "
    "it is not counted.",
    Trust.UNVERIFIED: "Nothing proves who sent it, so it is shown and not counted. Anybody can write to a "
    "report address, because it stands in DNS.",
    Trust.FAILED: "The signature does not fit the mail: it was changed on its way, or somebody else wrote "
    "it. It is not counted.",
    Trust.TEST: "You asked for this test report. It is not counted.",
}


def badge_of(trust: str) -> tuple[str, str]:
    """Badge class and label."""
    return _BADGES[Trust(trust)]


def describe_trust(row: Report) -> TrustWords:
    badge, label = badge_of(row.trust)
    person = str(row.imported_by) if row.imported_by else "Somebody with access to this server"
    text = _TEXTS[Trust(row.trust)].format(signer=row.signer or "an unknown domain", person=person)
    return TrustWords(badge, label, text)


def note_names(row: Report, contact: str | None) -> str:
    """Where a report's own words about its sender do not fit its signer; empty where they do."""
    contact_domain = (contact or "").rpartition("@")[2].strip(" <>.").lower()
    if not row.signer or "." not in contact_domain or _are_related(row.signer, contact_domain):
        return ""
    return (
        f"It names {contact_domain} as its contact and is signed by {row.signer}. It is counted as a report "
        f"of {row.signer}, since that is proved."
    )


def _are_related(one: str, other: str) -> bool:
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")
