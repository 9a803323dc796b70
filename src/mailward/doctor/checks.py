"""The checks, in the order in which they are told. core.doctor.catalogue has an entry for each."""

from collections.abc import Callable
from dataclasses import dataclass

from mailward.doctor.certificates import look_at_certificates
from mailward.doctor.clock import look_at_clock
from mailward.doctor.database import look_at_database
from mailward.doctor.delegation import look_at_delegation
from mailward.doctor.disk import look_at_disk
from mailward.doctor.host import look_at_host
from mailward.doctor.inbound import look_at_inbound
from mailward.doctor.names import look_at_names
from mailward.doctor.outbound import look_at_outbound
from mailward.doctor.queues import look_at_queues
from mailward.doctor.relay import look_at_relay
from mailward.doctor.resolver import look_at_resolver
from mailward.doctor.running import look_at_running
from mailward.doctor.settings import look_at_settings
from mailward.doctor.subject import Findings, Subject


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    """How `--only` calls it; its topic in the catalogue."""
    run: Callable[[Subject], Findings]
    seconds: float = 15.0
    """After so long it is not waited for."""


CHECKS = (
    Check("running", look_at_running),
    Check("settings", look_at_settings),
    Check("host", look_at_host),
    Check("disk", look_at_disk),
    Check("database", look_at_database, 30.0),
    Check("queues", look_at_queues),
    Check("clock", look_at_clock),
    Check("resolver", look_at_resolver),
    Check("names", look_at_names, 30.0),
    Check("inbound", look_at_inbound, 30.0),
    Check("outbound", look_at_outbound, 30.0),
    Check("delegation", look_at_delegation, 30.0),
    Check("certificates", look_at_certificates),
    Check("relay", look_at_relay, 60.0),
)
