"""The attack lab: real mail servers in network namespaces, and somebody on the path between them.

Parts that `tests/e2e/postfix` is built from too:

    network     hosts, each a namespace with addresses of its own; diversions to whoever is on the path
    zones       a signed DNS root and zones below it; NSD serves, unbound validates
    mta         Postfix from a Debian tree (`postfix-tree` makes it), with its own configuration, queue and log
    receivers   the receiving Postfix: a host name, an address and a certificate for each way to be right or wrong
    web         policy hosts
    certs       a certificate authority

The lab itself, from what is tried to what is told:

    scenarios -> world (site, platform, attacker, capture) -> experiment -> wire, evidence -> telling, screen, page
    expected    what should come out, compared with what does

Nothing of the machine's own network, resolver or mail server is touched.
"""
