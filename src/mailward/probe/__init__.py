"""Looking at a domain from outside, as senders do: the network's answers become facts. Neither Django nor the store.

    facts = await Observer(resolver, guard).observe(parse_domain("example.org"))
    report = run(facts)                              # core.check

Every step is bounded in bytes and time, only vetted addresses are connected to, and an MX address that several domains
share is spoken to once.
"""
