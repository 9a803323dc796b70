"""A certificate authority for tests: the lab's."""

from mailward.lab.certs import DAY, Authority

__all__ = ["DAY", "Authority"]
