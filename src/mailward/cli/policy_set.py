"""`mailward policy set DOMAIN FILE`: the policy of a domain of this installation."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailward.cli.domain_argument import read_domain
from mailward.cli.installation import ConfigOption, DataOption, open_installation
from mailward.cli.problem import Problem
from mailward.config import load_settings
from mailward.core.mtasts.policy import MAX_POLICY_BYTES, PolicyInvalid, parse_policy
from mailward.core.names import InvalidName

if TYPE_CHECKING:
    from mailward.store.models import Domain

EXIT_REFUSED = 3


def set_policy(
    domain: Annotated[str, typer.Argument(help="A domain of this installation.")],
    file: Annotated[Path, typer.Argument(help="The new policy, as senders would fetch it.")],
    reason: Annotated[str, typer.Option(help="For the history: why?")] = "",
    organisation: Annotated[
        str, typer.Option(help="Whose domain, where several organisations have it.")
    ] = "",
    force: Annotated[
        str, typer.Option(help="The domain's name again: publish what would be refused.", metavar="DOMAIN")
    ] = "",
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Publish a policy, unless it would lock mail out. Its id is told once every policy host serves the text.

    Exit status: 0 published, or nothing to change; 3 refused.
    """
    try:
        name = read_domain(domain)
        with file.open("rb") as stream:
            policy = parse_policy(stream.read(MAX_POLICY_BYTES + 1))
    except (InvalidName, PolicyInvalid) as error:
        raise Problem(f"{domain if isinstance(error, InvalidName) else file}: {error}") from error
    except OSError as error:
        raise Problem(f"{file}: {error.strerror or error}") from error
    if force and force != name:
        raise Problem(f"--force takes the name of the domain, {name}, and not {force[:253]!r}")
    open_installation(config, data)
    from mailward.store.services.policies import ChangeRefused, PolicyUnchanged, change_policy
    from mailward.worker.changing import learn_facts

    row = _find(name, organisation)
    path = os.environ.get("MAILWARD_CONFIG")
    facts = asyncio.run(learn_facts(load_settings(Path(path) if path else None), row.pk, policy))
    try:
        version = change_policy(
            row.organisation_id, row.pk, policy, facts, author_id=None, reason=reason, is_forced=bool(force)
        )
    except PolicyUnchanged:
        typer.echo(f"{name}: nothing to change, this is what is served.")
        return
    except ChangeRefused as error:
        for refusal in error.refusals:
            typer.echo(f"{refusal.code}: {refusal}", err=True)
        typer.echo(f"Refused. To publish it all the same: --force {name}", err=True)
        raise typer.Exit(EXIT_REFUSED) from error
    typer.echo(f"{name}: version {version.number}, id {version.policy_id} once every policy host serves it.")


def _find(name: str, organisation: str) -> "Domain":
    """Raises Problem."""
    from mailward.store.models import Domain

    rows = Domain.objects.filter(name=name).select_related("organisation")
    if organisation:
        rows = rows.filter(organisation__name=organisation)
    found = list(rows[:2])
    if len(found) > 1:
        raise Problem(f"Several organisations have {name}: say whose with --organisation NAME.")
    if not found:
        raise Problem(
            f"This installation does not have {name}{f' of {organisation}' if organisation else ''}."
        )
    return found[0]
