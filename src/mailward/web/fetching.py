"""How somebody sees with their own eyes what is served."""

import shlex

from mailward.config import Settings


def fetch_command(settings: Settings, domain: str) -> str:
    """A curl command that asks this installation, whatever DNS says, and trusts its development authority.

    The first of `policy_host.nodes`: what is in front of us has the certificates, or knows how to speak to us.
    """
    host, port = settings.policy_nodes[0]
    address = f"[{host}]" if ":" in host else host
    at_port = "" if port == 443 else f":{port}"
    words = ["curl"]
    if settings.has_development_ca:
        words += ["--cacert", str(settings.data_path / "ca" / "ca.pem")]
    words += ["--resolve", f"mta-sts.{domain}:{port}:{address}"]
    return shlex.join([*words, f"https://mta-sts.{domain}{at_port}/.well-known/mta-sts.txt"])
