"""What the world meets: names, doors, the ways out, certificates, mail."""

from mailward.core.doctor.topic import Topic, advice, problem

_NAMES = Topic(
    "names",
    "Names in DNS",
    "The addresses of policy host and HTTPS door over IPv4 and IPv6, the MX of the domain for reports and its "
    "addresses: at our resolver, and at each server of their zones, past every cache; and our "
    "name in EHLO with its way back.",
    (
        problem("no-address", "Customers lead their names here by CNAME, and it ends nowhere."),
        problem("private-address", "The world cannot connect there."),
        problem("no-mx", "Reports by mail cannot be delivered."),
        problem("no-ipv4", "Most senders have IPv4, and many have nothing else."),
        advice("no-ipv6", "Senders that have IPv6 alone do not reach it."),
        problem(
            "zone-servers-differ",
            "Whom the world asks is chance: some senders are led elsewhere, or nowhere.",
        ),
        advice(
            "resolver-differs",
            "Mailward sees its own names otherwise than the world: what it looks at is not what senders meet.",
        ),
        advice(
            "ehlo-name",
            "Some MX hosts turn away whoever gives a name that does not lead to the address they see, and back.",
        ),
    ),
)

_INBOUND = Topic(
    "inbound",
    "Services and ports",
    "Each service at each address where it listens, and at each public address of its names, over IPv4 and IPv6: who "
    "answers, STARTTLS at port 25, and the certificate for the name. A firewall in front is not seen "
    "from this machine, and an "
    "address that this machine does not have itself is only told as not observed where it does not answer.",
    (
        problem("port-taken", "Mailward will not start, or not with this service."),
        problem("nobody-listens", "The service is down, or listens elsewhere."),
        problem("other-server", "Whoever comes for Mailward meets another program."),
        advice(
            "other-mail-server", "Right where a mail server of yours takes in report mail and hands it on."
        ),
        problem(
            "not-reached",
            "The name leads to this machine, and at that address and port nobody answers for Mailward.",
        ),
        problem(
            "node-away",
            "A host of `policy_host.nodes` does not answer: every change of a policy waits for it, and a CA that asks "
            "its address gives no certificate.",
        ),
        problem(
            "no-starttls", "Report mail comes in the clear, and senders that insist on TLS do not deliver."
        ),
        problem("certificate-missing", "Senders get no policy from this host under its own name."),
        problem("certificate-name", "Senders refuse it (RFC 8461 section 3.3)."),
        problem(
            "certificate-ended",
            "Senders refuse it; those that know a policy go on with their copy until its max_age is over.",
        ),
        problem(
            "certificate-ends", "Less than a third of its life is left: what should have renewed it has not."
        ),
        advice("development-certificate", "Good for trying things; nobody but you trusts it."),
        problem(
            "certificate-untrusted",
            "Senders refuse it: the chain is incomplete, or the authority is none that they trust.",
        ),
        advice(
            "door-certificate",
            "Reports come all the same: their senders take any certificate (RFC 8460 section 3).",
        ),
    ),
)

_OUTBOUND = Topic(
    "outbound",
    "Ways out",
    "Port 25 to `doctor.smtp_target`, or what the watch saw at MX hosts in the last day; port 443 to "
    "`doctor.https_target` or the first CA; port 53 to the servers of a zone of ours, past the resolver.",
    (
        problem(
            "no-way-out-25",
            "MX hosts cannot be looked at: checks, rollout and DANE stay without what they show.",
        ),
        problem("no-way-out-443", "No certificates are ordered, no policies of others fetched."),
        problem(
            "no-way-out-53",
            "Changes of records are seen late, and the name servers of a domain are not compared.",
        ),
    ),
)

_DELEGATION = Topic(
    "delegation",
    "Delegation",
    "The zone that Mailward serves, as the world finds it: the NS records at the zone above, addresses of the "
    "servers, and each of them over UDP and TCP, with the same SOA serial.",
    (
        problem(
            "not-delegated",
            "No record below the zone is found: customers that delegated to it have no policy and no reports.",
        ),
        problem("delegated-elsewhere", "The world asks servers that the settings do not know."),
        advice(
            "delegation-differs",
            "The world asks those at the zone above; those that only the settings name are never asked.",
        ),
        problem(
            "no-glue", "A server of a zone inside of itself is found by the address in the zone above alone."
        ),
        problem(
            "server-silent",
            "Resolvers try it, wait, and ask the next one; of the last one everything is gone.",
        ),
        problem("server-lame", "It answers, and knows nothing of the zone."),
        advice("serials-differ", "A server that stays behind tells old ids: senders keep old policies."),
    ),
)

_CERTIFICATES = Topic(
    "certificates",
    "Certificates that are ordered",
    "The CAs, the names of the installation's own and all domains: what is refused and with which "
    "words, and what ends soon.",
    (
        advice("ca-blocked", "It has refused too often or was away; orders go to the next CA, or wait."),
        problem(
            "own-name-failing",
            "Policy host or doors lose their certificate; every domain that leads here is concerned.",
        ),
        problem(
            "orders-failing", "Their policies are served with the certificate that is there until it ends."
        ),
        advice("domains-gone", "Often they have left; their certificates run out."),
        problem("certificates-ending", "They should have been renewed with a third of their life left."),
    ),
)

_RELAY = Topic(
    "relay",
    "Mail relay",
    "Whether the relay answers, with a certificate that is trusted, and lets us in; with `--send ADDRESS` a real mail.",
    (
        advice("no-relay", "Problems stand on the console alone."),
        problem("relay-fails", "Nobody hears of problems by mail; mails wait and go out once it works."),
        problem("mail-refused", "It lets us in and does not take this mail."),
    ),
)

OUTSIDE = (_NAMES, _INBOUND, _OUTBOUND, _DELEGATION, _CERTIFICATES, _RELAY)
