"""`mailward domains add`: some domains by name. `mailward domains import`: a list of them, from a file or from
PowerDNS; a dry run unless told otherwise.
"""

import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from mailward.cli.installation import ConfigOption, DataOption, open_installation
from mailward.cli.problem import Problem

if TYPE_CHECKING:
    from mailward.config import Settings
    from mailward.core.importing.listing import Listing
    from mailward.store.models import DomainImport

app = typer.Typer(
    name="domains",
    help="Domains of this installation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_EXIT_SOME_BAD = 1
_KEY_VARIABLE = "MAILWARD_POWERDNS_KEY"


OrganisationOption = Annotated[
    str, typer.Option(help="Name or number of the organisation; not needed where there is one.")
]
ProfileOption = Annotated[str, typer.Option(help="The policy profile that the domains are put into.")]


@app.command("add")
def add_domains(
    domains: Annotated[
        list[str], typer.Argument(metavar="DOMAIN...", help="Mail domains, such as example.org.")
    ],
    organisation: OrganisationOption = "",
    profile: ProfileOption = "",
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Add domains, each with a testing policy for the MX hosts in DNS, or with the policy that is live elsewhere.

    Each is told on standard output, separated by tabs: verdict, domain, policy, reason. `mailward domains records`
    then prints what to publish.
    """
    from mailward.cli.domain_argument import read_domain
    from mailward.core.importing.listing import Listing, Wish
    from mailward.core.names import InvalidName

    try:
        names = dict.fromkeys(read_domain(domain) for domain in domains)
    except InvalidName as error:
        raise Problem(str(error)) from error
    open_installation(config, data)
    listing = Listing(wishes=tuple(Wish(name, "the command line") for name in names))
    if _carry_out(_find(organisation, profile), listing, "mailward domains add", add=True):
        raise typer.Exit(_EXIT_SOME_BAD)


@app.command("import")
def import_domains(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|URL",
            help="A CSV or zone file, - for standard input, or the http(s) URL of a PowerDNS API "
            f"(its key is read from {_KEY_VARIABLE}).",
        ),
    ],
    organisation: OrganisationOption = "",
    profile: ProfileOption = "",
    origin: Annotated[str, typer.Option(help="Of a zone file that does not name it.")] = "",
    add: Annotated[bool, typer.Option("--add", help="Add them. Without it, a dry run.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Look at each domain of a list, tell what would become of it, and add them with --add. `mailward domains records`
    then prints what to publish.

    Each row is told on standard output, separated by tabs: verdict, domain, policy, reason. Exit status: 0 all rows
    are fine, 1 some are refused or cannot be read, 2 nothing could be done.
    """
    open_installation(config, data)
    whose = _find(organisation, profile)
    if _carry_out(whose, _read(source, origin), source, add=add):
        raise typer.Exit(_EXIT_SOME_BAD)


def _carry_out(whose: tuple[int, int | None], listing: "Listing", source: str, *, add: bool) -> bool:
    """Look, add if asked to, tell. True: some row is refused, or cannot be read."""
    from django.conf import settings

    organisation_id, profile_id = whose
    made = _begin(organisation_id, listing, source, profile_id)
    _work(settings.MAILWARD, made, len(listing.wishes), "looking")
    if add:
        from mailward.store.services import importing

        importing.start(organisation_id, made.pk, for_worker=False)
        _work(settings.MAILWARD, made, len(listing.wishes), "adding")
    bad = _tell(made, add=add)
    if not add:
        type(made).objects.filter(pk=made.pk).delete()
    return bad


def _find(organisation: str, profile: str) -> tuple[int, int | None]:
    from mailward.store.models import Organisation, PolicyProfile

    found = Organisation.objects.all()
    if organisation:
        named = found.filter(name=organisation)
        found = named | found.filter(pk=int(organisation)) if organisation.isdecimal() else named
    ids = list(found.values_list("pk", flat=True)[:2])
    if len(ids) != 1:
        raise Problem(
            f"{organisation!r} is no organisation here, or several."
            if organisation
            else "There is no organisation here, or several: say which one by --organisation."
        )
    if not profile:
        return ids[0], None
    one = PolicyProfile.objects.filter(organisation_id=ids[0], name=profile).first()
    if one is None:
        raise Problem(f"{profile!r} is no profile of this organisation.")
    return ids[0], one.pk


def _read(source: str, origin: str) -> "Listing":
    from mailward.core.importing.listing import Unreadable
    from mailward.core.importing.reading import MAX_BYTES
    from mailward.net.listing import read_listing

    try:
        if urlsplit(source).scheme in ("http", "https"):
            from mailward.net.powerdns import PowerDns

            key = os.environ.get(_KEY_VARIABLE, "")
            if not key:
                raise Problem(f"Put the key of the API into {_KEY_VARIABLE}.")
            return PowerDns(source, key).read()
        if source == "-":
            return read_listing(sys.stdin.buffer.read(MAX_BYTES + 1), "", origin)
        with Path(source).open("rb") as file:
            return read_listing(file.read(MAX_BYTES + 1), source, origin)
    except OSError as error:
        raise Problem(f"{source}: {error.strerror or error}") from error
    except Unreadable as error:
        raise Problem(f"{source}: {error}.") from error


def _begin(organisation_id: int, listing: "Listing", source: str, profile_id: int | None) -> "DomainImport":
    from mailward.store.services import importing

    try:
        # the worker must not do what is done here
        return importing.begin(organisation_id, None, listing, source, profile_id, for_worker=False)
    except importing.TooManyImports:
        raise Problem(
            f"The organisation has {importing.MAX_OPEN} imports under way: carry them out, or drop them."
        ) from None
    except importing.ImportEmpty:
        raise Problem(f"{source} names no domain.") from None


def _work(settings: "Settings", made: "DomainImport", total: int, what: str) -> None:
    from asgiref.sync import async_to_sync

    from mailward.worker.importing import work

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        async_to_sync(work)(settings, made.pk, lambda count: progress.advance(task, count))


def _tell(made: "DomainImport", *, add: bool) -> bool:
    """True: some row is refused, or cannot be read."""
    from mailward.core.importing.verdict import ADDED
    from mailward.store.services.importing import say_automatic

    counts: Counter[str] = Counter()
    for row in made.rows.order_by("number").iterator(1_000):
        counts[row.verdict] += 1
        fields = [row.mode, str(row.max_age_seconds), *row.mx]
        fields += [f"{name}: {value}" for name, value in row.extensions or ()]
        fields = [" ".join(fields)] if row.mode else []
        policy = "; ".join(filter(None, (*fields, say_automatic(row))))
        typer.echo(
            "\t".join(_plain(each) for each in (row.verdict, row.name or row.where, policy, row.reason))
        )
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    added = sum(counts[each] for each in ADDED)
    done = f"{added:,} added." if add else "A dry run: nothing was added. See --add."
    typer.echo(f"{said}. {done}", err=True)
    return bool(counts["refused"] or counts["unreadable"])


def _plain(text: str) -> str:
    """Strangers' text, and this may be a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
