"""`mailward certificates`: how the certificates of domains and of our own names stand, for whoever runs it all."""

from datetime import datetime

import typer

from mailward.cli.installation import ConfigOption, DataOption, open_installation
from mailward.cli.problem import Problem
from mailward.config import load_settings
from mailward.core.acme.state import CareState
from mailward.render.visible import make_visible

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_OWN_WORDS = {
    CareState.GOOD: "has a certificate",
    CareState.ORDERED: "is being ordered",
    CareState.QUEUED: "waits for a place at a CA",
    CareState.AWAY: "waits for a CA that answers",
    CareState.REACH: "does not lead to us yet",
    CareState.FAILING: "is refused, and tried again",
    CareState.FORBIDDEN: "is forbidden by CAA records",
    CareState.GONE: "led to us and does so no more",
}
_WORDS = {
    CareState.GOOD: "have a certificate",
    CareState.ORDERED: "are being ordered",
    CareState.QUEUED: "wait for a place at a CA",
    CareState.AWAY: "wait for a CA that answers",
    CareState.CLAIM: "are not proved yet",
    CareState.REACH: "do not lead to us yet",
    CareState.FAILING: "are refused, and tried again",
    CareState.FORBIDDEN: "are forbidden by CAA records",
    CareState.GONE: "led to us and do so no more",
}


@app.command()
def certificates(config: ConfigOption = None, data: DataOption = None) -> None:
    """Tell how the certificates of our own names and of all domains stand: CAs, queue, and what does not go well."""
    open_installation(config, data)
    from mailward.store.queries.certificates import overview

    settings = load_settings(config)
    authorities = settings.acme.authorities
    if not authorities:
        raise Problem("No certificates are ordered: the settings name no CA (acme.directories).")
    seen = overview([(each.url, each.orders_per_3_hours) for each in authorities])
    for authority in seen.authorities:
        state = f"{authority.orders} of {authority.limit} orders in the last 3 hours"
        typer.echo(f"{authority.directory}: {authority.certificates} certificates in use, {state}")
        if authority.blocked_until is not None:
            typer.echo(
                f"  left alone until {_time(authority.blocked_until)}: {make_visible(authority.last_error)}"
            )
    for own in seen.own:
        reason = f": {make_visible(own.detail)}" if own.detail else ""
        until = f", until {_time(own.not_after)}" if own.not_after is not None else ""
        typer.echo(f"{own.host} (our own) {_OWN_WORDS.get(own.state, own.state)}{until}{reason}")
    for kind, words in _WORDS.items():
        if seen.states.get(kind):
            typer.echo(f"{seen.states[kind]:>8} domains {words}")
    if seen.last_order_at is not None:
        typer.echo(f"The last of those that wait is ordered about {_time(seen.last_order_at)}.")
    for name, kind, detail in seen.troubled:
        typer.echo(f"  {name}: {_WORDS[kind]}: {make_visible(detail)}")


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
