"""What listens where: one list of the platform's services, for whoever opens their sockets.

A service's name is also what systemd calls its sockets (`FileDescriptorName=`).
"""

from dataclasses import dataclass

from mailward.config.settings import Settings
from mailward.core.places import Place


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    child: str
    """The process that serves it."""
    table: str
    prefix: str
    """Its keys in that table are `<prefix>listen` and `<prefix>port`."""
    places: tuple[Place, ...]
    takes_datagrams: bool = False
    """By UDP too."""

    @property
    def variable(self) -> str:
        """The environment variable of its addresses."""
        return f"MAILWARD_{self.table}_{self.prefix}listen".upper()


def services(settings: Settings) -> tuple[Service, ...]:
    """Those that are switched on."""
    listed = [
        Service("console", "console", "console", "", settings.console_places),
        Service("policy-host", "policy-host", "policy_host", "", settings.policy_places),
        Service("smtp", "doors", "reports", "smtp_", settings.smtp_places),
        Service("reports-https", "doors", "reports", "https_", settings.https_places),
    ]
    if settings.nameserver.zone:
        listed.append(
            Service(
                "nameserver", "nameserver", "nameserver", "", settings.nameserver_places, takes_datagrams=True
            )
        )
    if settings.acme.directories:
        listed.append(Service("acme", "policy-host", "acme", "http_", settings.acme_places))
    if settings.policy_host.fronts:
        listed.append(Service("front", "policy-host", "policy_host", "front_", settings.front_places))
    return tuple(listed)


NAMES = ("console", "policy-host", "front", "acme", "smtp", "reports-https", "nameserver")
"""Of all services, also of those that are off."""
