"""What Postfix and a policy server say to each other, without I/O.

Postfix asks over the socketmap protocol (socketmap_table(5)) which TLS policy holds for a next hop, one netstring
a question and one an answer, and takes the answer as it takes a line of smtp_tls_policy_maps (TLS_README):

    16:QUERY example.com,
    74:OK secure match=mx.example.com:.example.net servername=hostname policy...,

    query = parse_query(payload)              map name and key
    nexthop = parse_nexthop(query.key)        example.com, [relay.example.com]:587, ... or why there is no policy
    render(decision, dialect_of(query.map_name))

The threat is on both sides. A policy is text of a stranger: whatever of it reaches Postfix was matched against
the grammar of names, and is never quoted or escaped, since an attribute that slips in (`tafile=`, `ciphers=`) would
turn protection off. And any reply that Postfix does not understand defers the mail: Postfix before 3.10 refuses the
attributes for TLSRPT, so the map name chooses the dialect.

Not done here: the sendmail socketmap's other uses; parent domains (RFC 8461 section 3.4 forbids to ask them).
"""
