"""What people decide about a rollout."""

from django import forms

from mailward.store.services.rollout import MAX_HOLD_DAYS


class PromoteForm(forms.Form):
    reason = forms.CharField(label="Reason", required=False, max_length=300, help_text="For the history.")
    based_on = forms.IntegerField(widget=forms.HiddenInput, min_value=0)


class ChoiceForm(forms.Form):
    is_automatic = forms.BooleanField(label="Enforce by itself when it is ready", required=False)
    hold_days = forms.IntegerField(
        label="… and has been for so many days", min_value=1, max_value=MAX_HOLD_DAYS, initial=7
    )
    steps_back = forms.BooleanField(label="Go back to testing by itself", required=False)
