"""The tables. Every table that belongs to a tenant carries its organisation."""

from mailward.store.models.accounts import Invitation, Membership, Organisation, Role, User
from mailward.store.models.certificates import (
    AcmeAccount,
    AcmeOrder,
    Certificate,
    CertificateCare,
    CertificateSequence,
    OwnNameCare,
)
from mailward.store.models.changes import DomainEvent, Leaving, MxChange, MxFollow, Notice, VersionStep
from mailward.store.models.domains import (
    Domain,
    DomainRecipient,
    HostingChange,
    HostingGeneration,
    PolicyVersion,
    RecordCheck,
)
from mailward.store.models.fetches import DailyFetches
from mailward.store.models.health import HealthLook
from mailward.store.models.imports import DomainImport, ImportRow, ImportState
from mailward.store.models.problems import Notification, Problem, ProblemDomain
from mailward.store.models.profiles import (
    ChangeState,
    Effect,
    PolicyProfile,
    ProfileChange,
    ProfileChangeDomain,
    ProfileMember,
)
from mailward.store.models.queue import OutboxItem, ServiceState
from mailward.store.models.reports import (
    DailyFailures,
    DailySessions,
    Door,
    QuarantinedMessage,
    RawMessage,
    Receipt,
    Report,
    Trust,
)
from mailward.store.models.rollout import AutomaticChoice, Rollout
from mailward.store.models.updates import DnsWritten, DnsZone
from mailward.store.models.watch import (
    AskedCheck,
    AskedLook,
    Check,
    MxLook,
    MxTarget,
    ProbeSlot,
    Watch,
    WatchFinding,
)

__all__ = [
    "AcmeAccount",
    "AcmeOrder",
    "AskedCheck",
    "AskedLook",
    "AutomaticChoice",
    "Certificate",
    "CertificateCare",
    "CertificateSequence",
    "ChangeState",
    "Check",
    "DailyFailures",
    "DailyFetches",
    "DailySessions",
    "DnsWritten",
    "DnsZone",
    "Domain",
    "DomainEvent",
    "DomainImport",
    "DomainRecipient",
    "Door",
    "Effect",
    "HealthLook",
    "HostingChange",
    "HostingGeneration",
    "ImportRow",
    "ImportState",
    "Invitation",
    "Leaving",
    "Membership",
    "MxChange",
    "MxFollow",
    "MxLook",
    "MxTarget",
    "Notice",
    "Notification",
    "Organisation",
    "OutboxItem",
    "OwnNameCare",
    "PolicyProfile",
    "PolicyVersion",
    "ProbeSlot",
    "Problem",
    "ProblemDomain",
    "ProfileChange",
    "ProfileChangeDomain",
    "ProfileMember",
    "QuarantinedMessage",
    "RawMessage",
    "Receipt",
    "RecordCheck",
    "Report",
    "Role",
    "Rollout",
    "ServiceState",
    "Trust",
    "User",
    "VersionStep",
    "Watch",
    "WatchFinding",
]
