"""ACME (RFC 8555, RFC 9773) as decisions: when to renew, whom to ask, how long to wait. No I/O.

A certificate authority (CA) is known by the URL of its directory. We ask it for one name, `mta-sts.<domain>`, in
an *order*; it wants that proved by a *challenge* (HTTP-01: a file on port 80 of that name; DNS-01: a TXT record),
then takes the key's signing request (*finalization*) and gives the certificate. ARI is the CA's word about when it
would like to renew.
"""
