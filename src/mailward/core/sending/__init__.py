"""The decision of the sending side, without I/O: how mail to a next hop must be protected.

DANE (RFC 7672) first where it is real, then MTA-STS (RFC 8461), then what the site does anyway; overrides of the
operator stand above all. One pure function holds it:

    decide(Facts(nexthop, dane, sts, site, override))  ->  Decision(row, level, ..., reason)

The threat: an attacker who can make one lookup fail must not get weaker protection by it, and one broken
server of a stranger must not stop the mail to everybody else at that domain. docs/sender-decisions.md has the
table, a test per row.
"""
