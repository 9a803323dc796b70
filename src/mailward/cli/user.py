"""`mailward user list` and `mailward user link`: what whoever runs the installation can do about accounts.

For the owner who has forgotten the password, with nobody to ask and no mail relay. Whoever may read the data
folder is believed: the key that signs sessions is in there too.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from mailward.cli.installation import ConfigOption, DataOption, open_installation
from mailward.cli.problem import Problem

if TYPE_CHECKING:
    from mailward.store.queries.accounts import Person

app = typer.Typer(
    name="user",
    help="Accounts of people on this installation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_NOBODY = "Nobody has an account yet. mailward user link, without an address, prints a link that makes the first one."


@app.command("list")
def list_users(config: ConfigOption = None, data: DataOption = None) -> None:
    """List who has an account: mail address, name, last sign-in, roles."""
    open_installation(config, data)
    from mailward.store.queries.accounts import list_people

    people = list_people()
    if not people:
        raise Problem(_NOBODY)
    width = max(len(person.email) for person in people)
    for person in people:
        typer.echo(_line(person, width))


@app.command()
def link(
    email: Annotated[
        str,
        typer.Argument(
            metavar="EMAIL",
            help="The mail address that the person signs in with; none while nobody has an account.",
        ),
    ] = "",
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Print a one-time link with which a person sets a new password, or with which the first person comes in.

    It works once, for three days, and until they next sign in; the present password works until then. Whoever
    has the link has the account: hand it over by a way that you trust.
    """
    open_installation(config, data)
    from django.conf import settings

    from mailward.store.queries.accounts import find_person, nobody_has_an_account
    from mailward.web.pages.accounts.reset import password_link

    if not email:
        _tell_first_link()
        return
    user = find_person(email)
    if user is None:
        reason = f"Nobody here has an account with the address {_plain(email)}. See: mailward user list"
        raise Problem(_NOBODY if nobody_has_an_account() else reason)
    if not user.is_active:
        raise Problem(f"The account of {user.email} is closed; a new password would not open it.")
    typer.echo(password_link(user))
    lifetime = timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT)
    typer.echo(
        f"{user.email} sets a new password with it: once, within {lifetime.days} days. Keep it secret.",
        err=True,
    )


def _tell_first_link() -> None:
    """As `mailward serve` prints it at its start; the one that it printed stops to work."""
    from django.conf import settings

    from mailward.store.services.accounts import LINK_LIFETIME, first_administrator_link

    token = first_administrator_link()
    if token is None:
        raise Problem("Somebody has an account already: say whose password to set. See: mailward user list")
    typer.echo(f"{settings.MAILWARD.console_url}/start/{token}/")
    hours = int(LINK_LIFETIME.total_seconds()) // 3600
    typer.echo(f"It makes the first administrator: once, within {hours} hours. Keep it secret.", err=True)


def _line(person: "Person", width: int) -> str:
    signed_in = f"{person.last_login:%Y-%m-%d %H:%M}" if person.last_login else "never"
    roles = ", ".join(f"{role} of {_plain(organisation)}" for organisation, role in person.roles)
    name = f"{_plain(person.name)}; " if person.name else ""
    return f"{person.email:<{width}}  {signed_in:<16}  {name}{roles or 'in no organisation'}"


def _plain(text: str) -> str:
    """Names are people's own text, and this is a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
