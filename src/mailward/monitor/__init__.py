"""What a customer publishes in DNS for a hosted domain, and whether it is there (RFC 8461 sections 3.1 and
8.2, RFC 8460 section 3).

    records = expected_records(facts)      # what to publish, as a CNAME to us or by hand
    states = await check_records(facts, resolver=resolver, guard=guard)  # asks the zone's own servers

Names: `_mailward-challenge.`, `mta-sts.`, `_mta-sts.` and `_smtp._tls.` under the domain. Judging is pure
(`judge`): answers in, states out. Not done here: answering DNS for delegated `_mta-sts` and `_smtp._tls`
names; such CNAMEs are accepted where they lead to the right text.
"""
