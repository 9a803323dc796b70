"""`mailward survey LIST --out DIR`: the check in bulk, to measure adoption."""

import os
from pathlib import Path
from typing import Annotated

import typer

from mailward.probe.surveyways import SESSIONS, SUFFIX_LIST, SurveyWays
from mailward.survey.processes import prepare_processes

app = typer.Typer(name="survey", help="Check many domains, and tell what they add up to.")

_MAX_WORKERS = 64


@app.command()
def survey(
    list_file: Annotated[
        str | None,
        typer.Argument(
            metavar="LIST",
            help="Domains, one a line or as CSV (name, or rank and name); - is stdin. Not needed to go on.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", help="The directory for journal and results.", show_default=False
        ),
    ] = ...,  # type: ignore[assignment]  # typer's way to say that it is required
    resolvers: Annotated[
        list[str] | None,
        typer.Option(
            "--resolver",
            metavar="ADDRESS",
            help="Ask this DNS server (address or address:port); several take turns.",
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(metavar="N", min=1, max=20_000, help="Domains at a time, in all.")
    ] = 1000,
    workers: Annotated[
        int,
        typer.Option(metavar="N", min=0, max=_MAX_WORKERS, help="Processes; 0: one more than processors."),
    ] = 0,
    per_address: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=1000, help="Connections at a time to one address of policy hosts."
        ),
    ] = 8,
    retries: Annotated[
        int,
        typer.Option("--retry", metavar="N", min=0, max=10, help="How often a DNS question is asked again."),
    ] = 2,
    sample: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="So many of the list's domains, the same each time."),
    ] = None,
    smtp: Annotated[
        bool, typer.Option("--smtp", help="Speak to each MX host up to a TLS handshake; no mail is sent.")
    ] = False,
    smtp_rate: Annotated[
        float, typer.Option(metavar="N", min=0.01, max=1000, help="Connections to MX hosts a second.")
    ] = 10.0,
    ehlo: Annotated[
        str, typer.Option(metavar="NAME", help="Our name in EHLO; otherwise the machine's.")
    ] = "",
    ca_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Trust these certificate authorities (PEM) instead of the system's."
        ),
    ] = None,
    suffix_list: Annotated[
        Path, typer.Option(metavar="FILE", help="public_suffix_list.dat, to tell providers apart.")
    ] = SUFFIX_LIST,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Connect to private and loopback addresses too.")
    ] = False,
    https_port: Annotated[int, typer.Option(metavar="N", min=1, max=65535, help="In laboratories.")] = 443,
    smtp_port: Annotated[int, typer.Option(metavar="N", min=1, max=65535, help="In laboratories.")] = 25,
) -> None:
    """Look at every domain of a list: MX, MTA-STS with its policy, TLSRPT, DANE; with --smtp, STARTTLS too.

    Results go to DIR: results.csv, results.parquet, summary.html. The same command goes on where a survey was
    stopped or killed. Exit status: 0 all was asked; 2 something must be mended first; 130 stopped by ^C.
    """
    # one process speaks to MX hosts: it knows which of them were spoken to, and keeps the rate
    count = 1 if smtp else workers or min((os.cpu_count() or 1) + 1, _MAX_WORKERS)
    ways = SurveyWays(
        resolvers=tuple(resolvers or ()),
        concurrency=-(-concurrency // count),
        retries=retries,
        per_address=max(1, per_address // count),
        has_smtp=smtp,
        smtp_rate=smtp_rate,
        sessions_file=out / SESSIONS if smtp else None,
        ehlo_name=ehlo,
        ca_file=ca_file,
        allow_private=allow_private,
        https_port=https_port,
        smtp_port=smtp_port,
        suffix_list=suffix_list,
    )
    prepare_processes()  # what they import takes as long as what we do
    from mailward.cli.survey_running import run

    run(ways, count, out, list_file, sample)
