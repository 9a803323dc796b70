"""The policy as a form: each field in its owner's words; what comes out is a policy that senders take."""

from typing import Any

from django import forms

from mailward.core.mtasts.policy import MAX_AGE_LIMIT, Mode, Policy, PolicyInvalid, serialise_policy
from mailward.core.names import InvalidName, parse_mx_pattern
from mailward.store.models import PolicyVersion

MAX_PATTERNS = 100
OTHER = "other"
_MODES = (
    (Mode.TESTING, "Testing", "Senders deliver as before and report what would have failed. Begin here."),
    (
        Mode.ENFORCE,
        "Enforce",
        "Senders refuse hosts that are not named here or have no valid certificate. This protects your mail.",
    ),
    (Mode.NONE, "None", "Says that there is no policy any more: the orderly way to leave MTA-STS."),
)
_AGES = (
    ("86400", "1 day: to begin with"),
    ("604800", "1 week"),
    ("1209600", "2 weeks"),
    ("2419200", "4 weeks"),
    ("15552000", "180 days"),
    (str(MAX_AGE_LIMIT), "1 year: the most that is allowed"),
    (OTHER, "Other"),
)


class PolicyForm(forms.Form):
    mode = forms.ChoiceField(
        choices=[(mode.value, label) for mode, label, _ in _MODES], widget=forms.RadioSelect
    )
    mx = forms.CharField(
        label="MX hosts",
        required=False,
        max_length=30_000,
        help_text="One a line. “*.example.net” stands for exactly one label in place of the star.",
        widget=forms.Textarea(
            {"rows": 5, "spellcheck": "false", "autocapitalize": "none", "class": "conditional"}
        ),
    )
    age = forms.ChoiceField(
        label="How long senders keep it (max_age)",
        choices=_AGES,
        help_text="Protection lasts this long after a sender last saw the policy, and so does a mistake.",
    )
    other_age = forms.IntegerField(
        label="Other max_age, in seconds", required=False, min_value=1, max_value=MAX_AGE_LIMIT
    )
    reason = forms.CharField(
        label="Reason", required=False, max_length=500, help_text="For the history: why this change, now?"
    )
    based_on = forms.IntegerField(widget=forms.HiddenInput, min_value=0)
    restored_from = forms.IntegerField(widget=forms.HiddenInput, min_value=1, required=False)
    confirm = forms.CharField(required=False, max_length=253)
    """The domain's name, typed to force what would be refused."""

    modes = _MODES

    def clean_mx(self) -> tuple[str, ...]:
        patterns, errors = [], []
        for number, line in enumerate(self.cleaned_data["mx"].splitlines(), 1):
            if not (text := line.strip()):
                continue
            try:
                patterns.append(parse_mx_pattern(text))
            except InvalidName as error:
                errors.append(f"Line {number}, {text[:80]}: {error}")
        if len(patterns) + len(errors) > MAX_PATTERNS:
            errors = [f"A policy names {MAX_PATTERNS} hosts at most."]
        if errors:
            raise forms.ValidationError(errors[:10])
        return tuple(dict.fromkeys(patterns))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("age") == OTHER and not cleaned.get("other_age") and "other_age" not in self.errors:
            self.add_error("other_age", "Give the number of seconds.")
        if "mx" in cleaned and not cleaned["mx"] and cleaned.get("mode") in (Mode.TESTING, Mode.ENFORCE):
            self.add_error("mx", "Name at least one MX host, or choose mode none.")
        if not self.errors:
            try:
                serialise_policy(self.policy())
            except PolicyInvalid as error:
                self.add_error(None, [str(problem) for problem in error.problems[:10]])
        return cleaned

    def policy(self) -> Policy:
        values = self.cleaned_data
        seconds = values["other_age"] if values["age"] == OTHER else int(values["age"])
        return Policy(Mode(values["mode"]), seconds, values["mx"])

    def clean_confirm(self) -> str:
        return str(self.cleaned_data["confirm"]).strip().lower().removesuffix(".")

    @staticmethod
    def data_of(version: PolicyVersion, *, based_on: int, reason: str) -> dict[str, Any]:
        """As if somebody had filled in what that version says."""
        values = PolicyForm.initial_of(version)
        return values | {
            "based_on": based_on,
            "reason": reason,
            "restored_from": version.number,
            "other_age": values["other_age"] or "",
        }

    @staticmethod
    def initial_of(version: PolicyVersion) -> dict[str, Any]:
        is_listed = str(version.max_age_seconds) in dict(_AGES)
        return {
            "mode": version.mode,
            "mx": "\n".join(version.mx),
            "age": str(version.max_age_seconds) if is_listed else OTHER,
            "other_age": None if is_listed else version.max_age_seconds,
            "based_on": version.number,
        }
