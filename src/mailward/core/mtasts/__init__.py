"""MTA-STS, RFC 8461, without I/O: the record, the policy, and which hosts a policy covers.

The threat: mail between servers is encrypted only if nobody on the path minds. An attacker strips STARTTLS,
or answers the MX query with a host of his own, and the sender delivers in clear text or to him. With MTA-STS
the domain says, over HTTPS where the web's certificates speak for it, which MX hosts take its mail, and that
they have TLS with certificates of those names.

    _mta-sts.example.com.  TXT  "v=STSv1; id=20160831085700Z;"      record: there is a policy, and which
    https://mta-sts.example.com/.well-known/mta-sts.txt (port 443)  policy: mode, mx patterns, max_age

    policy = parse_policy(body)                    # PolicyInvalid says all that is wrong
    any(matches_mx(pattern, host) for pattern in policy.mx)      # core.names
    policy, problems = lint_policy(body)           # each with line, field, section and level

Not done here: asking DNS and HTTPS (mailward.net), serving (mailward.hosting), and the sending side: its
cache and decisions (RFC 8461 sections 3.3, 5, 5.1) belong to `mailward sender`. docs/rfc/rfc8461.md lists
all requirements.
"""
