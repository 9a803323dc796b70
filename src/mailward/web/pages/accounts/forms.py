"""What people say when they come in, and what an owner says about others."""

from typing import Any

from django import forms
from django.contrib.auth.password_validation import validate_password

from mailward.store.models import Role, User
from mailward.store.services.accounts import Newcomer


class NewcomerForm(forms.Form):
    """A person with an invitation: the address is known."""

    name = forms.CharField(
        label="Your name", max_length=200, widget=forms.TextInput({"autocomplete": "name"})
    )
    password = forms.CharField(
        label="Password",
        help_text="At least 10 characters. A few random words are easy to keep in mind.",
        max_length=200,
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
    )

    def clean(self) -> dict[str, Any]:
        """Django's rules for passwords, told beside the field."""
        cleaned = super().clean() or {}
        if password := cleaned.get("password"):
            user = User(email=cleaned.get("email", ""), name=cleaned.get("name", ""))
            try:
                validate_password(password, user)
            except forms.ValidationError as error:
                self.add_error("password", error)
        return cleaned

    def newcomer(self) -> Newcomer:
        values = self.cleaned_data
        return Newcomer(values.get("email", ""), values["name"], values["password"])


class FirstAdministratorForm(NewcomerForm):
    organisation_name = forms.CharField(
        label="Organisation",
        max_length=200,
        help_text="Shown to its members.",
        widget=forms.TextInput({"autocomplete": "organization"}),
    )
    email = forms.EmailField(label="Mail address", help_text="You sign in with it.")
    field_order = ("name", "email", "organisation_name", "password")


class InviteForm(forms.Form):
    email = forms.EmailField(label="Mail address")
    role = forms.ChoiceField(label="Role", choices=Role.choices, initial=Role.READER)
    mail = forms.BooleanField(
        label="Mail them the link",
        help_text="You are shown it too, to hand it over yourself.",
        required=False,
        initial=True,
    )

    def __init__(self, *args: Any, can_mail: bool, **kwargs: Any) -> None:  # noqa: ANN401 - as Django's
        super().__init__(*args, **kwargs)
        if not can_mail:
            del self.fields["mail"]


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)


class OrganisationForm(forms.Form):
    name = forms.CharField(label="Name of the organisation", max_length=200)
