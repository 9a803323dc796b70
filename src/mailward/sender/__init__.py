"""The sending side: the policy server that Postfix asks before it delivers (RFC 8461, RFC 7672).

    Postfix --socketmap--> server -> answers -> knowledge -> discovery -> net.resolver, net.fetch
                                        |            |
                                    core.sending   cache (SQLite)      refresh: records and policies, in the background

`server` speaks the protocol, `answers` keeps finished replies, `knowledge` what is known of each domain and for how
long, `discovery` asks DNS and HTTPS, `cache` makes policies outlive everything. What is decided is in core.sending.

The threat: an attacker between us and a domain wants its policy forgotten, or never learned. A policy is on
disk before its first answer leaves, and no failure of DNS, HTTPS, disk or process takes it away while it
lives.

Knows no Django and no store: it runs beside Postfix, on the bare install.
"""
