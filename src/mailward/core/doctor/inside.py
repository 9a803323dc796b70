"""The machine and the installation on it."""

from mailward.core.doctor.topic import Topic, advice, problem

_RUNNING = Topic(
    "running",
    "Running",
    "Whether Mailward runs on the data folder, since when, all its services, in the version of this "
    "command, and whether "
    "the tables of the database are those of this version.",
    (
        problem(
            "not-running",
            "Nobody holds the data folder. Senders that know a policy go on with the copy that they "
            "have until its max_age "
            "is over; reports by mail wait at their senders for some days.",
        ),
        advice("other-version", "The package was upgraded and the service not restarted since."),
        problem(
            "service-missing",
            "The supervisor starts it again and again, and it ends each time: the log says why.",
        ),
        problem(
            "service-hangs",
            "Its process is there and its loop does not turn: what it is for is not done. Its port takes connections "
            "all the same, since the supervisor keeps it.",
        ),
        advice("service-restarted", "It ended and was started again in the last quarter of an hour."),
        problem(
            "schema-newer",
            "A newer Mailward has changed the tables; this one does not start on them, so that it breaks nothing.",
        ),
        problem("schema-older", "The tables are brought up to date when Mailward starts."),
    ),
)

_SETTINGS = Topic(
    "settings",
    "Settings",
    "Settings that contradict each other, or that do not do what somebody who wrote them must want.",
    (
        problem("console-in-clear", "Whoever is on the path reads passwords and sessions."),
        advice(
            "console-open", "Whoever reaches the port comes past the web server in front, and in the clear."
        ),
        advice(
            "variable-unknown",
            "It is passed over: what it was meant to say has its default, or is as the file says.",
        ),
        advice("links-lead-nowhere", "Mails about problems have links to the console that open nothing."),
        advice(
            "sender-local", "The From of mails that Mailward sends is of no domain that can be answered to."
        ),
        advice(
            "reports-nowhere", "Policies are hosted, and the address for reports is of this machine alone."
        ),
        advice(
            "policies-nowhere",
            "Names of the Internet are set, and customers are told to lead theirs to this machine alone.",
        ),
        advice(
            "one-name-server", "RFC 2182 wants two servers at least, on networks that do not fail together."
        ),
        advice(
            "private-addresses",
            "Meant for laboratories and split DNS; where strangers add domains it opens your network.",
        ),
        advice(
            "development-ca",
            "Policies that are served with its certificates are not accepted by any sender, and the "
            "pages here cannot tell.",
        ),
    ),
)

_HOST = Topic(
    "host",
    "Machine and files",
    "Who may read the data folder and the keys in it, to whom they belong, whether `certificates.directory` can be "
    "read, how many files a process may "
    "open, and memory.",
    (
        advice("folder-open", "Mailward makes it with mode 0700. What is in it has modes of its own."),
        problem(
            "secret-readable",
            "Whoever reads it can sign in as anybody, or open the private keys of certificates.",
        ),
        problem(
            "other-owner",
            "A command that was run as another user made it; the service can no longer write it.",
        ),
        problem(
            "certificates-unread",
            "The certificates in it are not served; names that have no other one are refused at the handshake.",
        ),
        advice("few-files", "Each connection is a file. Under many fetches at once some are turned away."),
        advice("little-memory", "The kernel ends the largest process when there is none left."),
    ),
)

_DISK = Topic(
    "disk",
    "Disk and backups",
    "Space and inodes where the data folder is, when the space ends at the growth of the last days (there, and on the "
    "disk of the backups), the size of the database, and the age of the newest backup.",
    (
        problem(
            "disk-full",
            "On a full disk reports are answered with 451 and wait at their senders, and certificates are not renewed.",
        ),
        problem(
            "disk-fills",
            "Free space went down in the last days (two at least; the worker notes it once an hour), and so fast that "
            "it ends within `doctor.disk_days`. Mends itself where what grows comes to its end, as old reports do.",
        ),
        problem("inodes-full", "No file can be made any more, whatever space there is."),
        advice("log-large", "A reader that never ends keeps SQLite's write-ahead log from being cut back."),
        problem("backup-folder", "No backup is made there, nor can an old one be brought back."),
        advice("no-backup", "What is on this disk alone is lost with it."),
        problem("backup-old", "The timer that makes backups does not run, or fails."),
    ),
)

_DATABASE = Topic(
    "database",
    "Database",
    "Whether it answers. SQLite: the write-ahead log, and a check of the whole file. PostgreSQL: version, connections "
    "for all nodes, TLS, whether commits are durable, standbys, and the programs by which backups are made.",
    (
        problem(
            "database-away",
            "Policies and DNS are served on from memory; reports wait at their senders, the console says 503.",
        ),
        problem(
            "not-copied",
            "PostgreSQL was named in the settings of an installation on SQLite, and nothing copied there: no policy is "
            "served, and report mail is refused. `mailward serve` does not start so.",
        ),
        problem(
            "damaged",
            "Pages of the file contradict each other, after a broken disk or a copy made while it was written; or it "
            "is no database, empty or gone.",
        ),
        problem(
            "not-wal", "Mailward switches the log on; a file system that cannot share memory prevents it."
        ),
        advice("old-postgresql", "It may work; nobody tries it."),
        problem(
            "no-postgresql-client",
            "Each night's backup fails; a release that changes the tables does not start, since it makes one first.",
        ),
        problem(
            "old-postgresql-client",
            "The server was upgraded and its client on this machine was not: the same as without one.",
        ),
        problem("standby", "Every write fails."),
        advice(
            "few-connections",
            "When all nodes are busy, some processes get no connection and try again later.",
        ),
        advice(
            "nodes-unnamed",
            "A sender that sees a new id and fetches from a node that was not asked may keep the policy of before "
            "under it. A machine that serves no policies may be counted too.",
        ),
        problem(
            "database-in-clear",
            "Whoever is on the path reads reports and mail addresses, and can change what is written.",
        ),
        problem(
            "pooler",
            "What changes is served up to two seconds later, and two nodes that start at once may both change the "
            "tables.",
        ),
        problem("not-durable", "A report counts as taken once it is committed; the sender then forgets it."),
        advice("standby-behind", "What it lacks is lost where it has to take over."),
    ),
)

_QUEUES = Topic(
    "queues",
    "Queues",
    "How long work has been due (`doctor.queue_minutes`), what fails again and again, mails that were "
    "not sent, policies "
    "whose id is not told yet, imports that do not end.",
    (
        problem("work-late", "The worker does not run, hangs, or has more to do than it manages."),
        advice(
            "work-failing", "It is tried again, less and less often. The text is what the last attempt said."
        ),
        problem("mails-unsent", "People have not heard of problems that are open."),
        problem(
            "policies-unannounced",
            "Senders go on with the policy before: a policy host does not serve the new one yet.",
        ),
        advice("imports-late", "Domains of a list are still being looked at or made."),
    ),
)

_CLOCK = Topic(
    "clock",
    "Clock",
    "What the kernel says of its clock, the time at the policy hosts of `watch.clock_domains`, and that "
    "of the database.",
    (
        problem("clock-wrong", "Certificates look expired or not yet valid, and CAs refuse us."),
        advice(
            "clock-unwatched", "Nothing keeps the clock in step, so far as the kernel tells; it will drift."
        ),
        problem("clock-differs", "A node whose clock is off takes no work, lest two do the same."),
    ),
)

_RESOLVER = Topic(
    "resolver",
    "Resolver",
    "Each resolver by UDP and TCP, with EDNS, and whether DNSSEC is validated on this machine.",
    (
        problem("no-resolver", "Nothing can be looked up: no domain, no MX host, no relay by name."),
        problem("resolver-silent", "Every look-up waits for it; without another one nothing is found out."),
        advice(
            "resolver-no-tcp",
            "Answers that do not fit into a datagram are lost: large TXT and TLSA sets, DNSSEC.",
        ),
        advice("resolver-no-udp", "Each question waits for a deadline before it goes by TCP."),
        advice("resolver-no-edns", "It is very old, or something on the path takes EDNS out."),
        advice(
            "no-validation",
            "Checks do not see DANE, since nothing proves the TLSA records; policies do not follow the MX records of "
            "signed zones.",
        ),
    ),
)

INSIDE = (_RUNNING, _SETTINGS, _HOST, _DISK, _DATABASE, _QUEUES, _CLOCK, _RESOLVER)
