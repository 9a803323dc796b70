"""Mailward: mail between servers, encrypted for certain.

Both sides of MTA-STS (RFC 8461), DANE for SMTP (RFC 7672) and TLS reporting (RFC 8460). docs/architecture.md
is the map: what each package is for and who may import whom.
"""

__version__ = "0.2.0.dev0"
