"""How a process of the installation is, as load balancers want to know it."""

import msgspec

Fact = str | int | float | bool | None


class Health(msgspec.Struct, frozen=True, omit_defaults=False):
    """`live`: it should not be started again. `ready`: it does now what it is for; a node whose policy host is live and
    not ready is taken out of rotation. `degraded`: it does, from what it has, while something is amiss.
    """

    live: bool = True
    ready: bool = True
    degraded: bool = False
    reasons: tuple[str, ...] = ()
    """Why it is not ready or degraded: sentences without names of domains."""
    facts: dict[str, Fact] = {}
