from datetime import UTC, datetime, time

from django import forms

from mailward.core.names import InvalidName, parse_mx_pattern
from mailward.net import clock


class PlanForm(forms.Form):
    pattern = forms.CharField(
        label="MX host to come",
        max_length=253,
        help_text="Its name as it will stand in the MX record.",
        widget=forms.TextInput({"autocapitalize": "none", "spellcheck": "false"}),
    )
    expected = forms.DateField(label="From", widget=forms.DateInput({"type": "date"}))
    reason = forms.CharField(label="Reason", required=False, max_length=500)

    def clean_pattern(self) -> str:
        try:
            return parse_mx_pattern(str(self.cleaned_data["pattern"]).strip())
        except InvalidName as error:
            raise forms.ValidationError(str(error)) from error

    def clean_expected(self) -> datetime:
        moment = datetime.combine(self.cleaned_data["expected"], time(), UTC)
        if moment.date() < clock.today():
            raise forms.ValidationError("That day is over.")
        return moment
