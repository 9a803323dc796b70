"""How somebody sees with their own eyes what is served."""

import shlex

from mailward.config import Settings
from mailward.core.places import reach


def policy_url(settings: Settings, domain: str) -> str:
    """As senders fetch it, but for the port of an installation that may not use 443."""
    port = "" if settings.policy_port == 443 else f":{settings.policy_port}"
    return f"https://mta-sts.{domain}{port}/.well-known/mta-sts.txt"


def fetch_command(settings: Settings, domain: str) -> str:
    """A curl command that asks this installation, whatever DNS says, and trusts its development authority."""
    host = reach(settings.policy_places[0][0])
    address = f"[{host}]" if ":" in host else host
    words = ["curl"]
    if settings.has_development_ca:
        words += ["--cacert", str(settings.data_path / "ca" / "ca.pem")]
    words += ["--resolve", f"mta-sts.{domain}:{settings.policy_port}:{address}"]
    return shlex.join([*words, policy_url(settings, domain)])
