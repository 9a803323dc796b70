"""What `mailward serve` prints once it serves: where everything is."""

import mailward
from mailward.config import Settings
from mailward.config.listening import services
from mailward.core.places import Place, show_place


def greet(settings: Settings, start_token: str | None, missing: list[str]) -> str:
    """`missing`: the children that do not serve yet."""
    state = "has started, but not all of it" if missing else "is ready"
    lines = [f"Mailward {mailward.__version__} {state}.", "", describe(settings, start_token)]
    served = {service.child: service for service in services(settings)}
    for name in missing:
        where = served.get(name)
        at = f" at {_list(where.places)}" if where else ""
        lines.append(f"  Nothing answers{at}: {name} does not run yet; see the log.")
    return "\n".join(lines)


def describe(settings: Settings, start_token: str | None) -> str:
    """What a person who started Mailward needs to know."""
    reports = settings.reports
    lines = [
        f"  Console       {_console(settings)}",
        f"  Policy host   {_urls('https', settings.policy_places)} (as mta-sts.DOMAIN)",
    ]
    if settings.policy_host.fronts:
        lines.append(f"  For fronts    {_urls('http', settings.front_places)}")
    if settings.acme.directories:
        lines.append(f"  CAs ask at    {_urls('http', settings.acme_places)}")
    lines += [
        f"  Report mail   {_list(settings.smtp_places)} (addresses at {reports.domain})",
        f"  Report POST   {_urls('https', settings.https_places)} (as {settings.https_name})",
    ]
    if settings.nameserver.zone:
        where = _list(settings.nameserver_places)
        lines.append(f"  Nameserver    {where} (zone {settings.nameserver.zone})")
    lines.append(f"  Data          {settings.data_path}")
    if settings.has_development_ca:
        ca, port = settings.data_path / "ca" / "ca.pem", settings.policy_port
        lines += [
            f"  Test CA       {ca}",
            "",
            "  A policy, fetched as a sender does:",
            f"    curl --cacert {ca} --resolve mta-sts.DOMAIN:{port}:127.0.0.1 \\",
            f"      https://mta-sts.DOMAIN:{port}/.well-known/mta-sts.txt",
        ]
    if start_token:
        lines += [
            "",
            "  Nobody has an account yet. This link makes the first administrator, once, within 24 hours:",
            f"    {settings.console_url}/start/{start_token}/",
        ]
    return "\n".join([*lines, ""])


def _console(settings: Settings) -> str:
    """How people reach it, and where it listens where that is not the same."""
    url = f"{settings.console_url}/"
    where = _urls("http", settings.console_places)
    return url if url == where else f"{url} ({_list(settings.console_places)})"


def _urls(scheme: str, places: tuple[Place, ...]) -> str:
    return ", ".join(f"{scheme}://{show_place(place)}/" for place in places)


def _list(places: tuple[Place, ...]) -> str:
    return ", ".join(show_place(place) for place in places)
