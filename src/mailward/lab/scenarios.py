"""What is tried: each attack or fault, under each protection.

A `Cell` is one domain of its own, `<scenario>-<protection>.test`, with an MX host, a policy host and, at the
attacker's, a mail server of its own: so all of them can be tried at once, and whatever is seen on the wire belongs to
one.
"""

from dataclasses import dataclass
from enum import StrEnum

from mailward.lab.network import address


class Protection(StrEnum):
    """What the receiving domain publishes. The sender is the same for all."""

    UNPROTECTED = "unprotected"
    TESTING = "testing"
    ENFORCE = "enforce"
    DANE = "dane"

    @property
    def has_policy(self) -> bool:
        return self in (Protection.TESTING, Protection.ENFORCE)

    @property
    def words(self) -> str:
        return _WORDS[self]


_WORDS = {
    Protection.UNPROTECTED: "unprotected",
    Protection.TESTING: "MTA-STS testing",
    Protection.ENFORCE: "MTA-STS enforce",
    Protection.DANE: "DANE",
}


class Grip(StrEnum):
    """What the attacker does to an SMTP session that he has got."""

    NONE = ""
    STRIP = "strip"
    """The capability STARTTLS is deleted from the answer to EHLO."""
    REFUSE = "refuse"
    """The command STARTTLS is answered with an error."""
    BREAK = "break"
    """The handshake that follows is broken off."""
    INJECT = "inject"
    """Replies of his own are sent behind the one to STARTTLS, before TLS begins; the rest passes."""
    SELF_SIGNED = "self-signed"
    """He ends TLS himself, with a certificate for the right name that he signed."""
    OTHER_NAME = "other-name"
    """With a good certificate for a name of his own."""
    MISISSUED = "misissued"
    """With a certificate for the right name that a trusted authority should not have issued."""


class Lie(StrEnum):
    """What the attacker does to an answer of the DNS, or to the way to the policy host."""

    MX = "mx"
    """The MX record names his own host."""
    NO_RECORD = "no-record"
    """There is no `_mta-sts` record, he says; with DANE, no TLSA record."""
    BAD_RECORD = "bad-record"
    """The `_mta-sts` record is no such record; with DANE, the TLSA record is of his key."""
    NO_ANSWER = "no-answer"
    """Lookups of the `_mta-sts` record fail; with DANE, of the TLSA record."""
    NEW_ID = "new-id"
    """The `_mta-sts` record has another id: there is something to fetch."""
    NO_POLICY_HOST = "no-policy-host"
    """Nobody reaches the policy host; with DANE, lookups of TLSA fail."""


class Fault(StrEnum):
    """What the owner has got wrong himself."""

    NONE = ""
    EXPIRED = "expired"
    TLS_1_0 = "tls-1.0"
    WRONG_TLSA = "wrong-tlsa"
    ROLLOVER = "rollover"
    """No fault: there is a TLSA record for the next key beside that of this one."""
    POLICY_MX = "policy-mx"
    """The policy names the MX host of before."""
    POLICY_CERTIFICATE = "policy-certificate"
    """That of the policy host has ended."""


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    letter: str
    """Under which the project's plan names it."""
    title: str
    story: str
    grip: Grip = Grip.NONE
    lies: tuple[Lie, ...] = ()
    fault: Fault = Fault.NONE
    is_new: bool = False
    """The sender has never asked about the domain: it knows nothing of its policy."""
    has_history: bool = False
    """A mail was delivered before the attack."""

    @property
    def is_attack(self) -> bool:
        return bool(self.grip or self.lies)


SCENARIOS = (
    Scenario("peace", "", "Nobody attacks", "For comparison: what mail looks like when all is well."),
    Scenario(
        "starttls-stripped", "a", "STARTTLS stripped",
        "The attacker deletes the word STARTTLS from the receiver's list of capabilities. A sender that takes"
        " what it gets goes on without encryption.",
        Grip.STRIP,
    ),
    Scenario(
        "starttls-refused", "a", "STARTTLS answered with an error",
        "The capability stays, but the command is answered with 454, as by a server that has a problem with its TLS.",
        Grip.REFUSE,
    ),
    Scenario(
        "tls-broken", "a", "TLS handshake broken off",
        "The attacker lets STARTTLS pass and breaks the handshake off. Postfix comes back without TLS when"
        " the mail has waited for minimal_backoff_time: five minutes by default, a second here.",
        Grip.BREAK,
    ),
    Scenario(
        "reply-injected", "a", "Replies injected before TLS",
        "The attacker sends replies of his own right behind the answer to STARTTLS, in clear, and hopes that"
        " they are taken for the receiver's, inside TLS. Postfix throws away what came before TLS began.",
        Grip.INJECT,
    ),
    Scenario(
        "mitm-self-signed", "b", "Man in the middle, certificate of his own making",
        "The attacker ends TLS himself. His certificate has the right name, but he has signed it himself.",
        Grip.SELF_SIGNED,
    ),
    Scenario(
        "mitm-other-name", "b", "Man in the middle, good certificate for another name",
        "The attacker ends TLS himself, with a certificate that a trusted authority gave him for a host that is his.",
        Grip.OTHER_NAME,
    ),
    Scenario(
        "mitm-misissued", "b", "Man in the middle, misissued certificate",
        "A trusted authority was fooled: the attacker has a certificate for the receiver's own name. This is"
        " what MTA-STS cannot see, and DANE can.",
        Grip.MISISSUED,
    ),
    Scenario(
        "mx-forged", "c", "MX answer forged",
        "The attacker answers the DNS question for the MX records himself: mail goes to his host, which has a"
        " good certificate for its own name.",
        Grip.OTHER_NAME, (Lie.MX,),
    ),
    Scenario(
        "policy-blocked-first", "d", "Policy fetch blocked before first contact",
        "The sender has never written to this domain. The attacker blocks the way to the policy host, and"
        " strips STARTTLS. This is the first-use gap of MTA-STS: what was never learned protects nobody. DANE"
        " has no such gap.",
        Grip.STRIP, (Lie.NO_POLICY_HOST,), is_new=True,
    ),
    Scenario(
        "policy-blocked-later", "d", "Policy fetch blocked afterwards",
        "The same attack, but the sender had learned the policy from an earlier mail. The attacker even"
        " announces a new policy that nobody can fetch. The cached one holds until its max_age is over.",
        Grip.STRIP, (Lie.NO_POLICY_HOST, Lie.NEW_ID), has_history=True,
    ),
    Scenario(
        "record-removed-first", "e", "_mta-sts record removed before first contact",
        "The attacker answers that there is no _mta-sts record, and strips STARTTLS. For DANE he says the"
        " same of the TLSA record, and cannot sign it.",
        Grip.STRIP, (Lie.NO_RECORD,), is_new=True,
    ),
    Scenario(
        "record-unanswered-first", "e", "_mta-sts record not answered before first contact",
        "The attacker has every lookup of the _mta-sts record fail, and strips STARTTLS. A sender that waited"
        " for an answer would wait for every domain whose DNS is ill. With DANE it must wait.",
        Grip.STRIP, (Lie.NO_ANSWER,), is_new=True,
    ),
    Scenario(
        "record-removed-later", "e", "_mta-sts record removed afterwards",
        "The same, but the policy is known: a record that is gone takes no policy away.",
        Grip.STRIP, (Lie.NO_RECORD,), has_history=True,
    ),
    Scenario(
        "record-forged-later", "e", "_mta-sts record forged afterwards",
        "The attacker puts a record in its place that is none, to hide the policy. For DANE: a TLSA record of"
        " his own key, and a certificate to match.",
        Grip.SELF_SIGNED, (Lie.BAD_RECORD,), has_history=True,
    ),
    Scenario(
        "expired", "f", "Expired certificate at the receiver",
        "Nobody attacks: the receiver's certificate has ended. A sender cannot tell this from an attack.",
        fault=Fault.EXPIRED,
    ),
    Scenario(
        "tls-1.0", "g", "TLS 1.0 only",
        "Nobody attacks: the receiver speaks nothing newer than TLS 1.0. Who takes what he gets takes that"
        " too; who must be sure asks for more (RFC 8461 section 7.2: at least TLS 1.2).",
        fault=Fault.TLS_1_0,
    ),
    Scenario(
        "policy-certificate-first", "h", "Policy host's certificate lapsed before first contact",
        "The owner forgot the certificate of the policy host, so a new sender cannot fetch the policy; and"
        " the attacker strips STARTTLS.",
        Grip.STRIP, fault=Fault.POLICY_CERTIFICATE, is_new=True,
    ),
    Scenario(
        "policy-certificate-later", "h", "Policy host's certificate lapsed afterwards",
        "The same, but the policy was learned before; the attacker announces a new one, to have it fetched.",
        Grip.STRIP, (Lie.NEW_ID,), fault=Fault.POLICY_CERTIFICATE, has_history=True,
    ),
    Scenario(
        "tlsa-wrong", "i", "TLSA record of another key",
        "Nobody attacks: the receiver got a new key, and the TLSA record still names the old one. Where the"
        " zone is not signed, nobody looks at TLSA records.",
        fault=Fault.WRONG_TLSA,
    ),
    Scenario(
        "tlsa-rollover", "i", "TLSA records of this key and the next",
        "Nobody attacks: how a key is changed without anything being lost. The record of the new key is"
        " published beside that of the old one, and the key comes later (RFC 7671 section 8.1).",
        fault=Fault.ROLLOVER,
    ),
    Scenario(
        "policy-without-mx", "", "MX host that the policy does not name",
        "Nobody attacks: the domain has moved to another MX host, and the policy still names the old one.",
        fault=Fault.POLICY_MX,
    ),
)  # fmt: skip
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}

_MX, _POLICY, _EVIL = 0x1000, 0x2000, 0x3000  # 10.77.16.0, 10.77.32.0, 10.77.48.0


@dataclass(frozen=True, slots=True)
class Cell:
    scenario: Scenario
    protection: Protection
    number: int
    """From 1, in this run."""

    @property
    def label(self) -> str:
        return f"{self.scenario.name.replace('.', '')}-{self.protection}"

    @property
    def domain(self) -> str:
        return f"{self.label}.test"

    @property
    def recipient(self) -> str:
        return f"bob@{self.domain}"

    @property
    def mx(self) -> str:
        return f"mx.{self.domain}"

    @property
    def policy_mx(self) -> str:
        """The host that the policy names."""
        return f"old.{self.domain}" if self.scenario.fault is Fault.POLICY_MX else self.mx

    @property
    def mx_number(self) -> int:
        return _MX + self.number

    @property
    def mx_address(self) -> str:
        return address(self.mx_number)

    @property
    def policy_number(self) -> int:
        return _POLICY + self.number

    @property
    def policy_address(self) -> str:
        return address(self.policy_number)

    @property
    def evil(self) -> str:
        """The attacker's host for it."""
        return f"{self.label}.evil.test"

    @property
    def evil_number(self) -> int:
        return _EVIL + self.number

    @property
    def evil_address(self) -> str:
        return address(self.evil_number)

    @property
    def met(self) -> str:
        """The address that the sender connects to while the attack goes on."""
        return self.evil_address if Lie.MX in self.scenario.lies else self.mx_address


def cells(scenarios: tuple[Scenario, ...] = SCENARIOS) -> list[Cell]:
    pairs = [(scenario, protection) for scenario in scenarios for protection in Protection]
    return [Cell(scenario, protection, number) for number, (scenario, protection) in enumerate(pairs, 1)]
