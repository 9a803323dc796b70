"""The tenant filter: every query of a person starts here.

A page never touches a model's own manager. It asks its scope, which knows one organisation, so what belongs
to a stranger is not there at all: 404, not 403. What a person may do inside their organisation depends on
their role.
"""

from dataclasses import dataclass
from typing import TypeVar

from django.db.models import Model, QuerySet

from mailward.store.models import (
    AcmeOrder,
    AskedCheck,
    AskedLook,
    AutomaticChoice,
    Certificate,
    CertificateCare,
    Check,
    DailyFailures,
    DailyFetches,
    DailySessions,
    DnsWritten,
    DnsZone,
    Domain,
    DomainEvent,
    DomainImport,
    DomainRecipient,
    ImportRow,
    Invitation,
    Leaving,
    Membership,
    MxChange,
    MxFollow,
    Notice,
    Notification,
    Organisation,
    PolicyProfile,
    PolicyVersion,
    Problem,
    ProblemDomain,
    ProfileChange,
    ProfileChangeDomain,
    ProfileMember,
    QuarantinedMessage,
    RawMessage,
    Receipt,
    RecordCheck,
    Report,
    Role,
    Rollout,
    User,
    VersionStep,
    Watch,
    WatchFinding,
)

_M = TypeVar("_M", bound=Model)


@dataclass(frozen=True, slots=True)
class Scope:
    """One person in one organisation."""

    organisation_id: int
    user_id: int
    role: Role

    @property
    def may_write(self) -> bool:
        """Domains, policies, reports."""
        return self.role in (Role.OWNER, Role.ADMINISTRATOR)

    @property
    def may_manage_people(self) -> bool:
        return self.role == Role.OWNER

    def organisation(self) -> Organisation:
        return Organisation.objects.get(pk=self.organisation_id)

    def user(self) -> User:
        return User.objects.get(pk=self.user_id)

    def domains(self) -> QuerySet[Domain]:
        return self._of(Domain)

    def policy_versions(self) -> QuerySet[PolicyVersion]:
        return self._of(PolicyVersion)

    def version_steps(self) -> QuerySet[VersionStep]:
        return self._of(VersionStep)

    def domain_events(self) -> QuerySet[DomainEvent]:
        return self._of(DomainEvent)

    def leavings(self) -> QuerySet[Leaving]:
        return self._of(Leaving)

    def mx_changes(self) -> QuerySet[MxChange]:
        return self._of(MxChange)

    def mx_follows(self) -> QuerySet[MxFollow]:
        return self._of(MxFollow)

    def notices(self) -> QuerySet[Notice]:
        return self._of(Notice)

    def record_checks(self) -> QuerySet[RecordCheck]:
        return self._of(RecordCheck)

    def dns_zones(self) -> QuerySet[DnsZone]:
        return self._of(DnsZone)

    def dns_written(self) -> QuerySet[DnsWritten]:
        return self._of(DnsWritten)

    def recipients(self) -> QuerySet[DomainRecipient]:
        return self._of(DomainRecipient)

    def reports(self) -> QuerySet[Report]:
        return self._of(Report)

    def receipts(self) -> QuerySet[Receipt]:
        return self._of(Receipt)

    def raw_messages(self) -> QuerySet[RawMessage]:
        return self._of(RawMessage)

    def quarantined(self) -> QuerySet[QuarantinedMessage]:
        return self._of(QuarantinedMessage)

    def daily_sessions(self) -> QuerySet[DailySessions]:
        return self._of(DailySessions)

    def daily_failures(self) -> QuerySet[DailyFailures]:
        return self._of(DailyFailures)

    def daily_fetches(self) -> QuerySet[DailyFetches]:
        return self._of(DailyFetches)

    def problems(self) -> QuerySet[Problem]:
        return self._of(Problem)

    def problem_domains(self) -> QuerySet[ProblemDomain]:
        return self._of(ProblemDomain)

    def notifications(self) -> QuerySet[Notification]:
        return self._of(Notification)

    def watches(self) -> QuerySet[Watch]:
        return self._of(Watch)

    def checks(self) -> QuerySet[Check]:
        return self._of(Check)

    def watch_findings(self) -> QuerySet[WatchFinding]:
        return self._of(WatchFinding)

    def rollouts(self) -> QuerySet[Rollout]:
        return self._of(Rollout)

    def automatic_choices(self) -> QuerySet[AutomaticChoice]:
        return self._of(AutomaticChoice)

    def profiles(self) -> QuerySet[PolicyProfile]:
        return self._of(PolicyProfile)

    def profile_members(self) -> QuerySet[ProfileMember]:
        return self._of(ProfileMember)

    def profile_changes(self) -> QuerySet[ProfileChange]:
        return self._of(ProfileChange)

    def profile_change_domains(self) -> QuerySet[ProfileChangeDomain]:
        return self._of(ProfileChangeDomain)

    def import_rows(self) -> QuerySet[ImportRow]:
        return self._of(ImportRow)

    def domain_imports(self) -> QuerySet[DomainImport]:
        return self._of(DomainImport)

    def asked_checks(self) -> QuerySet[AskedCheck]:
        return self._of(AskedCheck)

    def asked_looks(self) -> QuerySet[AskedLook]:
        return self._of(AskedLook)

    def certificates(self) -> QuerySet[Certificate]:
        return self._of(Certificate)

    def certificate_cares(self) -> QuerySet[CertificateCare]:
        return self._of(CertificateCare)

    def certificate_orders(self) -> QuerySet[AcmeOrder]:
        return self._of(AcmeOrder)

    def memberships(self) -> QuerySet[Membership]:
        return self._of(Membership)

    def invitations(self) -> QuerySet[Invitation]:
        return self._of(Invitation)

    def _of(self, model: type[_M]) -> QuerySet[_M]:
        return model._default_manager.filter(organisation_id=self.organisation_id)


def scope_of(user: User, organisation_id: int | None = None) -> Scope | None:
    """The scope of `user` in that organisation, or in their first one; None: they belong to none such."""
    memberships = Membership.objects.filter(user=user).order_by("id")
    if organisation_id is not None:
        memberships = memberships.filter(organisation_id=organisation_id)
    row = memberships.values_list("organisation_id", "role").first()
    return None if row is None else Scope(row[0], user.pk, Role(row[1]))
