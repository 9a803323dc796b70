"""The shape of an entry, and how its placeholders become the names concerned."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from mailward.core.names import is_address

MX_HOST = "MX_HOST"
"""Stands for the receiving MX in texts and commands, until `filled`."""
DOMAIN = "DOMAIN"
"""Stands for the policy domain."""
ADDRESS = "ADDRESS"
"""Stands in commands for an IP address of the receiving MX."""

# only what can stand in a shell command as it is: names in reports come from strangers
_SAFE_NAME = re.compile(
    r"(?!-)(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*", re.ASCII
)
_SAFE_ADDRESS = re.compile(r"[0-9a-f.:]{2,45}", re.ASCII)
_FOR_ADDRESS = re.compile(rf"`[^`]*\b{ADDRESS}\b[^`]*`")
_MAX_ADDRESSES = 8


def _repeat(command: str, addresses: Sequence[str]) -> str:
    return ", ".join(command.replace(ADDRESS, each) for each in addresses)


class Severity(StrEnum):
    CRITICAL = "critical"
    """Mail is refused, or will be by every sender that follows the policy."""
    WARNING = "warning"
    """Mail flows, but its protection is lost or at risk."""
    NOTICE = "notice"
    """Worth knowing; nothing is lost."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One entry. Texts may hold MX_HOST and DOMAIN; `filled` puts names in their place."""

    code: str
    """Stable; a result type or a finer cause."""
    title: str
    clause: str
    """The failure as the second half of a sentence: "mx1.example.com's certificate has expired"."""
    meaning: str
    severity: Severity
    steps: tuple[str, ...]
    """What to do, in this order. Commands stand between backticks."""
    section: str
    """Where the standard says so, for instance "RFC 8460 section 4.3.1"."""
    attack: str = ""
    """How to tell an attack from a fault; empty where no attack looks like this."""

    def filled(
        self, *, mx: str | None = None, domain: str | None = None, addresses: Sequence[str] = ()
    ) -> "Explanation":
        """The same with the names concerned. What is no plain host name (a stranger wrote it) is not put in. A command
        for an address of the MX host is there for each of `addresses`, or once for its name.
        """
        known = [each for each in addresses if _SAFE_ADDRESS.fullmatch(each) and is_address(each)]
        targets = known[:_MAX_ADDRESSES] or ([MX_HOST] if mx else [])
        mx = mx if mx and _SAFE_NAME.fullmatch(mx) else None
        domain = domain if domain and _SAFE_NAME.fullmatch(domain) else None

        def fill(text: str) -> str:
            if targets:
                text = _FOR_ADDRESS.sub(lambda found: _repeat(found[0], targets), text)
            text = text.replace(MX_HOST, mx) if mx else text
            return text.replace(DOMAIN, domain) if domain else text

        def fill_prose(text: str) -> str:
            text = fill(text).replace(f"mta-sts.{DOMAIN}", "the policy host").replace(DOMAIN, "the domain")
            text = text.replace(MX_HOST, "an MX host")
            return "An" + text[2:] if text.startswith("an MX host") and text.endswith(".") else text

        return replace(
            self,
            clause=fill_prose(self.clause),
            meaning=fill_prose(self.meaning),
            attack=fill_prose(self.attack),
            steps=tuple(fill(step) for step in self.steps),
        )
