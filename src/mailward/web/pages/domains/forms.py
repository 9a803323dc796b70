"""Names of domains as people paste them."""

from django import forms

from mailward.core.names import Domain, InvalidName, parse_domain

MAX_LINES = 500
_MAX_ERRORS = 10
_MAX_CHARACTERS = 100_000


class AddForm(forms.Form):
    names = forms.CharField(
        label="Domains",
        max_length=_MAX_CHARACTERS,
        help_text=f"One a line, {MAX_LINES} at most. The part after the @ of your mail addresses.",
        widget=forms.Textarea(
            {
                "rows": 4,
                "placeholder": "example.com",
                "spellcheck": "false",
                "autocapitalize": "none",
                "autofocus": "",
            }
        ),
    )
    begin = forms.BooleanField(
        label="Serve a policy at once: testing mode, the live MX hosts, max_age 1 day (recommended)",
        help_text="In testing mode nobody refuses mail because of it; senders only report what they find.",
        required=False,
        initial=True,
    )

    def clean_names(self) -> list[Domain]:
        """The names in their canonical form; a line that is none is told with the reason."""
        lines = [line.strip() for line in self.cleaned_data["names"].replace(",", "\n").splitlines()]
        wanted = [(number, line) for number, line in enumerate(lines, 1) if line]
        if len(wanted) > MAX_LINES:
            raise forms.ValidationError(f"{len(wanted)} lines are too many: {MAX_LINES} at most at once.")
        names, errors = [], []
        for number, line in wanted:
            try:
                names.append(parse_domain(_bare(line)))
            except InvalidName as error:
                errors.append(
                    f"{line[:80]}: {error}" if len(wanted) == 1 else f"Line {number}, {line[:80]}: {error}"
                )
        if len(errors) > _MAX_ERRORS:
            errors[_MAX_ERRORS:] = [f"… and {len(errors) - _MAX_ERRORS} more lines like these"]
        if errors:
            raise forms.ValidationError(errors)
        return names


class RemoveForm(forms.Form):
    """The name is typed, so that nobody removes the wrong domain by a slip."""

    def __init__(self, name: str, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]  # the data, where there is any
        self.wanted = name

    confirmation = forms.CharField(
        label="Type the name of the domain to confirm",
        max_length=300,
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}),
    )

    def clean_confirmation(self) -> str:
        typed: str = self.cleaned_data["confirmation"].strip()
        try:
            typed = parse_domain(typed)
        except InvalidName:
            typed = ""
        if typed != self.wanted:
            raise forms.ValidationError(f"This is not {self.wanted}.")
        return typed


class RecipientForm(forms.Form):
    email = forms.EmailField(label="Mail address", max_length=254)


def _bare(line: str) -> str:
    """People paste addresses and mta-sts host names too; what they mean is plain."""
    return line.rpartition("@")[2].removeprefix("mta-sts.")
