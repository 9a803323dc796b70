"""What people decide about a rollout."""

from django import forms

from mailward.core.rollout.conditions import DEFAULT_HOLD_DAYS, MAX_HOLD_DAYS
from mailward.core.rollout.verdict import State
from mailward.store.services.automatic import Choice
from mailward.web.querystring import MOST_SEARCHED


class PromoteForm(forms.Form):
    reason = forms.CharField(label="Reason", required=False, max_length=300, help_text="For the history.")
    based_on = forms.IntegerField(widget=forms.HiddenInput, min_value=0)


class ChoiceForm(forms.Form):
    is_automatic = forms.BooleanField(label="Enforce by itself when it is ready", required=False)
    hold_days = forms.IntegerField(
        label="… and has been for so many days",
        min_value=1,
        max_value=MAX_HOLD_DAYS,
        initial=DEFAULT_HOLD_DAYS,
    )
    steps_back = forms.BooleanField(label="Go back to testing by itself", required=False)


class ManyForm(forms.Form):
    """Whether many domains are enforced by themselves: a button says whether, and which."""

    hold_days = forms.IntegerField(
        label="Ready for so many days without a break",
        min_value=1,
        max_value=MAX_HOLD_DAYS,
        initial=DEFAULT_HOLD_DAYS,
    )
    wanted = forms.ChoiceField(choices=[(each, each) for each in ("on", "off")], widget=forms.HiddenInput)

    def choice(self) -> Choice:
        return Choice(self.cleaned_data["wanted"] == "on", self.cleaned_data["hold_days"])


class ListedForm(ManyForm):
    """Those that are ticked, or all that the list shows on its pages."""

    wanted = forms.ChoiceField(
        choices=[(each, each) for each in ("on", "off", "on-all", "off-all")], widget=forms.HiddenInput
    )
    q = forms.CharField(required=False, max_length=MOST_SEARCHED)
    show = forms.ChoiceField(required=False, choices=[(each.value, each.value) for each in State])

    @property
    def is_for_all(self) -> bool:
        return str(self.cleaned_data["wanted"]).endswith("-all")

    def choice(self) -> Choice:
        return Choice(self.cleaned_data["wanted"].startswith("on"), self.cleaned_data["hold_days"])
