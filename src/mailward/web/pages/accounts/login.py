"""allauth's forms in our words."""

from allauth.account.forms import ChangePasswordForm, LoginForm, ResetPasswordForm, ResetPasswordKeyForm


class Login(LoginForm):  # type: ignore[misc]  # allauth has no types
    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].label = "Mail address"
        self.fields["password"].help_text = ""  # the template offers a new password, where mail can be sent
        _drop_placeholders(self)


class ChangePassword(ChangePasswordForm):  # type: ignore[misc]
    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["oldpassword"].label = "Present password"
        self.fields["oldpassword"].help_text = ""
        _name_new_password(self)


class ResetPassword(ResetPasswordForm):  # type: ignore[misc]
    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].label = "Mail address"
        _drop_placeholders(self)


class ResetPasswordKey(ResetPasswordKeyForm):  # type: ignore[misc]
    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        _name_new_password(self)


def _name_new_password(form: ChangePasswordForm | ResetPasswordKeyForm) -> None:
    form.fields["password1"].label = "New password"
    form.fields["password1"].help_text = "At least 10 characters."
    form.fields["password2"].label = "New password, again"
    _drop_placeholders(form)


def _drop_placeholders(
    form: LoginForm | ChangePasswordForm | ResetPasswordForm | ResetPasswordKeyForm,
) -> None:
    """They repeat the labels, and fade when somebody types."""
    for field in form.fields.values():
        field.widget.attrs.pop("placeholder", None)
