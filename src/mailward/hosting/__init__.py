"""The policy host: `https://mta-sts.<domain>/.well-known/mta-sts.txt` for every hosted domain (RFC 8461).

A sending server that finds `_mta-sts.<domain> TXT "v=STSv1; id=..."` fetches the policy from here, over TLS
with a certificate that names `mta-sts.<domain>`, and then refuses to deliver to MX hosts that the policy does
not list, or without TLS. The threat is the network between the two: whoever can forge an answer, redirect a
request or stop it weakens mail for the policy's whole `max_age`. So nothing here redirects, a name that is
not ours is refused within the TLS handshake, and answers come from memory (`snapshot`): a database that is
busy or gone changes nothing.

    from mailward.hosting import policyweb
    uvloop.run(policyweb.run(load_settings()))

Not done here on purpose: anything but this one file (a web page on `mta-sts.` would be another way in), HTTP
on port 80 (RFC 8461 section 3.3: senders never ask it), issuance of certificates (`net.certificates`).
"""
