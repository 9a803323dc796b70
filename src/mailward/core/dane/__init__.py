"""DANE for SMTP (RFC 7672, RFC 6698, RFC 7671) as a sender sees it before it connects, without I/O.

The threat: whoever can answer the MX query, or has any of a hundred certificate authorities sign for him, takes
the mail. With DANE the domain's owner says in DNSSEC-signed zones which keys its MX hosts have.

    example.com.                 MX    10 mx.example.com.     signed, or DANE does not hold for the domain
    mx.example.com.              A     192.0.2.1              signed, or no TLSA record is even asked for
    _25._tcp.mx.example.com.     TLSA  3 1 1 <SHA-256>        signed, and of a kind that SMTP clients use

    finding = judge(mx, hosts)        # full, partial, absent or unknown, and why

Not done here: checking certificates against the records: Postfix does that. It also looks up the records itself, so
nothing of them is handed to it.
"""
