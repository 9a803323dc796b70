"""The client's side of SMTP as far as STARTTLS, to look at a mail server (RFC 5321, RFC 3207). Port 25.

Whoever looks at a server comes unasked: it says its name, asks for TLS, and leaves. No mail is begun. Replies are
hostile: their size and number have limits, and what comes in the clear after the answer to STARTTLS is refused (RFC
3207 section 4.2; it is how commands are smuggled into a session that seems protected).

    session = Opening("probe.example")
    session.receive(b"220 mx.example ESMTP\\r\\n")
    session.outgoing()                             # b"EHLO probe.example\\r\\n"
    ...
    session.step is Step.HANDSHAKE                 # the caller does TLS now, then says session.leave()

Not done here: sockets, TLS and its certificates (`net.smtpprobe`), mail.
"""
