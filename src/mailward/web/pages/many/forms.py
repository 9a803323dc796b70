"""What people fill in about many domains."""

from typing import Any

from django import forms

from mailward.core.mtasts.policy import Mode, Policy, PolicyInvalid, serialise_policy
from mailward.core.names import Domain, InvalidName, parse_domain
from mailward.store.scope import Scope
from mailward.store.services.profiles import MAX_WAVE_HOURS
from mailward.web.pages.policies.forms import PolicyForm

_DAY_SECONDS = 86_400
_MOST_NAMES = 20_000
_PLACEHOLDER_MX = "mx.example"


class ProfilePolicyForm(forms.Form):
    """A policy that need not name MX hosts: then each domain keeps its own."""

    mode = forms.ChoiceField(choices=[(mode.value, label) for mode, label, _ in PolicyForm.modes])
    max_age_days = forms.IntegerField(
        label="How long senders keep it (max_age), in days", min_value=1, max_value=365, initial=1
    )
    mx = forms.CharField(
        label="MX hosts",
        required=False,
        max_length=30_000,
        help_text="One a line, for all domains. Empty: each domain keeps its own.",
        widget=forms.Textarea({"rows": 4, "spellcheck": "false", "autocapitalize": "none"}),
    )

    clean_mx = PolicyForm.clean_mx

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            try:
                policy = self.policy()
                if policy.mode is not Mode.NONE:
                    serialise_policy(
                        Policy(policy.mode, policy.max_age_seconds, policy.mx or (_PLACEHOLDER_MX,))
                    )
            except PolicyInvalid as error:
                self.add_error(None, [str(problem) for problem in error.problems[:10]])
        return cleaned

    def policy(self) -> Policy:
        values = self.cleaned_data
        mode = Mode(values["mode"])
        mx = () if mode is Mode.NONE else values["mx"]
        return Policy(mode, values["max_age_days"] * _DAY_SECONDS, mx)


class ProfileForm(ProfilePolicyForm):
    field_order = ("name", "mode", "max_age_days", "mx")
    name = forms.CharField(max_length=100)


class ChangeForm(ProfilePolicyForm):
    reason = forms.CharField(
        required=False, max_length=300, help_text="For the history: why this change, now?"
    )
    wave_hours = forms.IntegerField(
        label="Hours between the waves",
        min_value=0,
        max_value=MAX_WAVE_HOURS,
        initial=24,
        help_text="Reports come once a day: after less than 24 hours only our own probes have seen anything.",
    )


class MembersForm(forms.Form):
    names = forms.CharField(
        label="Domains",
        required=False,
        max_length=1_000_000,
        help_text="One a line, of your own.",
        widget=forms.Textarea({"rows": 4, "spellcheck": "false", "autocapitalize": "none"}),
    )
    everything = forms.BooleanField(label="All domains of the organisation", required=False)

    def clean_names(self) -> list[Domain]:
        found, errors = [], []
        for number, line in enumerate(self.cleaned_data["names"].split(), 1):
            try:
                found.append(parse_domain(line))
            except InvalidName as error:
                errors.append(f"Line {number}, {line[:80]}: {error}")
        if len(found) > _MOST_NAMES:
            errors = [f"{_MOST_NAMES:,} names at most at once."]
        if errors:
            raise forms.ValidationError(errors[:10])
        return found


class ImportForm(forms.Form):
    file = forms.FileField(
        label="CSV or zone file",
        help_text=(
            "CSV: a column “domain”, and if you like “mx”, “mode”, “max_age”, “automatic” and “extensions”; or "
            "just names, one a line."
        ),
    )
    origin = forms.CharField(
        label="Origin", required=False, max_length=253, help_text="Of a zone file that does not name it."
    )
    profile = forms.ChoiceField(
        label="Put them into the profile",
        required=False,
        help_text="They begin with the policies of the dry run, and follow the profile from its next change on.",
    )

    def __init__(self, scope: Scope, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]  # the data, where there is any
        rows = scope.profiles().order_by("name").values_list("pk", "name")
        field = self.fields["profile"]
        if isinstance(field, forms.ChoiceField):
            field.choices = [("", "None"), *((str(key), name) for key, name in rows)]
