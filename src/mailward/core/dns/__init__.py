"""The authoritative side of DNS: what we answer for names that customers delegate to us.

RFC 1034 and 1035, RFC 2308 (negative answers), RFC 6891 (EDNS), RFC 8020 (names that only have others below
them), RFC 8482 (ANY). There are no delegations below our zones, and no wildcards. Bytes in, bytes out.

    authority = Authority([make_zone("sts.example.", soa, records)])
    reply = answer(query, authority, udp=True)

A customer publishes `_mta-sts.example.org CNAME _mta-sts.<token>.sts.example` once, and senders find here
what belongs to the policy of this minute. The threats are forged sources (answers are small, and limited in
rate) and malformed questions (they cost a header).

Deliberately not done: recursion, signing (a secondary that signs takes the zone by AXFR), compression other
than of owner names.
"""
