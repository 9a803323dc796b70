"""Reports come in: by mail, by HTTPS, from files; one path for all.

A channel bounds what it takes and says whose it is, as an `Arrival`. `accept` reads it (core.tlsrpt), asks
who vouches for it (core.dkim), works out whose it is (core.tlsrpt.routing), and hands the result to the one
`writer`, which commits many at once. Only then does the channel answer 250 or 201: what was answered so is
never lost.

RFC 8460 sections 3 (DKIM), 5.3 (mail), 5.4 (HTTPS). Ports: SMTP 25, HTTPS 443, unprivileged ones by default.

The threat: anybody can reach both doors, knows the address (it stands in DNS) and can guess a report-id. So
all work is bounded, what cannot be read is kept but apart, and only what somebody vouches for is counted.

Deliberately not here: mail for people (postmaster included), bounces, outgoing report mail of senders.
"""
