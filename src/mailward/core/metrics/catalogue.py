"""Every metric of the platform. docs/metrics.md is written from here (scripts/write-metrics-page)."""

from collections.abc import Iterator

from mailward.core.metrics.family import Definition, Kind

PREFIX = "mailward_"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
WORK_BOUNDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)
BYTES = (1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0)


SECTIONS: dict[str, list[Definition]] = {}
"""By the title that they have in the documentation."""


def _section(title: str) -> None:
    SECTIONS[title] = []


def _add(definition: Definition) -> Definition:
    SECTIONS[next(reversed(SECTIONS))].append(definition)
    return definition


def _counter(name: str, text: str, *labels: str) -> Definition:
    return _add(Definition(PREFIX + name, Kind.COUNTER, text, labels))


def _gauge(name: str, text: str, *labels: str) -> Definition:
    return _add(Definition(PREFIX + name, Kind.GAUGE, text, labels))


def _histogram(name: str, text: str, *labels: str, bounds: tuple[float, ...] = SECONDS) -> Definition:
    return _add(Definition(PREFIX + name, Kind.HISTOGRAM, text, labels, bounds=bounds))


_section("The installation, as its supervisor sees it")
BUILD_INFO = _gauge("build_info", "Always 1.", "version", "python")
UP = _gauge("up", "1 where the process answered when it was asked for its numbers.", "process")
STARTS = _counter(
    "process_starts_total", "Starts of the process since the installation was started.", "process"
)
BACKUP = _gauge(
    "backup_timestamp_seconds", "When the newest backup in the node's folder was made, seconds since 1970."
)

_section("Each process")
PROCESS_CPU = _counter("process_cpu_seconds_total", "Processor time, user and system.", "process")
PROCESS_MEMORY = _gauge("process_resident_memory_bytes", "Resident memory.", "process")
PROCESS_FILES = _gauge("process_open_fds", "Open files, connections among them.", "process")
PROCESS_MAX_FILES = _gauge("process_max_fds", "The most files it may open.", "process")
PROCESS_START = _gauge("process_start_time_seconds", "When it started, seconds since 1970.", "process")
EVENT_LOOP_LAG = _histogram(
    "event_loop_lag_seconds", "How late its event loop was, asked once a second.", "process"
)
LOG_MESSAGES = _counter("log_messages_total", "Lines of the log, warnings and worse.", "process", "level")

DATABASE_UP = _gauge(
    "database_up",
    "1 where the database did what the process last asked; all processes but the console.",
    "process",
)

_section("HTTP servers: policy host, fronts, ACME challenges, report door, console")
HTTP_REQUESTS = _counter(
    "http_requests_total",
    "Answers, by status. The servers: policy-host, fronts, acme, report-post, console.",
    "server",
    "status",
)
HTTP_SECONDS = _histogram("http_request_duration_seconds", "From a whole request to its answer.", "server")
HTTP_CONNECTIONS = _gauge("http_connections", "Connections, open now.", "server")
HTTP_TURNED_AWAY = _counter("http_connections_refused_total", "Connections that had no room.", "server")
TLS_HANDSHAKES = _counter("tls_handshakes_total", "Handshakes that succeeded.", "server")
TLS_FAILURES = _counter(
    "tls_handshake_failures_total",
    "Handshakes that failed. certificate-refused: the client did; no-certificate: we have none for its name.",
    "server",
    "reason",
)
TLS_CONTEXTS = _gauge("tls_contexts", "Certificates that are ready in memory.", "process")
TLS_CONTEXTS_MADE = _counter("tls_contexts_made_total", "Certificates that were made ready.", "process")

_section("What policy host and nameserver serve from")
SNAPSHOT_GENERATION = _gauge("snapshot_generation", "Generation of what is served.", "process")
SNAPSHOT_ENTRIES = _gauge("snapshot_domains", "Domains that are served.", "process")
SNAPSHOT_CHECKED = _gauge(
    "snapshot_checked_timestamp_seconds", "When the database was last found to have nothing newer.", "process"
)
SNAPSHOT_REFRESHES = _counter(
    "snapshot_refreshes_total", "Looks at the database: same, replaced, failed.", "process", "outcome"
)
CERTIFICATES_HELD = _gauge("certificates_held", "Issued certificates that the policy host may show.")
FETCHES_WAITING = _gauge(
    "fetch_counts_waiting", "Counts of who fetched which policy that are not written yet."
)

_section("Nameserver")
DNS_ANSWERS = _counter("dns_answers_total", "Answers, by transport and RCODE.", "transport", "rcode")
DNS_LIMITED = _counter(
    "dns_limited_total",
    "What limits of rate kept back by UDP: refused (no answer made), dropped, truncated.",
    "action",
)
DNS_CONNECTIONS = _gauge("dns_tcp_connections", "TCP connections, open now.")
DNS_TURNED_AWAY = _counter("dns_tcp_connections_refused_total", "TCP connections that had no room.")
DNS_TRANSFERS = _counter("dns_transfers_total", "Transfers of a zone: sent, refused, cut.", "outcome")
DNS_NOTIFIED = _counter(
    "dns_notifies_total", "Secondaries that were told of a change: answered, refused, silent.", "outcome"
)
DNS_SERIAL = _gauge("dns_zone_serial", "Serial of the zone.")

_section("Report doors")
ARRIVALS = _counter(
    "report_arrivals_total",
    "Report mails and POSTs for addresses of ours: new, known (all in it was there), quarantined "
    "(all or a part of it), busy (451 or 503), too-much (452 or 429), failed.",
    "door",
    "outcome",
)
REPORTS = _counter("reports_total", "Reports that were new, by who vouches for them.", "door", "trust")
ARRIVAL_BYTES = _histogram(
    "report_arrival_size_bytes", "Sizes of report mails and POSTs.", "door", bounds=BYTES
)
ARRIVAL_SECONDS = _histogram(
    "report_arrival_duration_seconds", "From a whole report mail or POST to its commit.", "door"
)
WRITER_WAITING = _gauge("report_writer_waiting", "Arrivals that wait to be committed.")
WRITER_BYTES = _gauge("report_writer_waiting_bytes", "Their bytes.")
COMMITS = _counter("report_commits_total", "Commits of arrivals, many at once: done, failed.", "outcome")
COMMIT_SECONDS = _histogram("report_commit_duration_seconds", "How long a commit of arrivals takes.")
SMTP_CONNECTIONS = _gauge("smtp_connections", "Connections of the mail door, open now.")
SMTP_ACCEPTED = _counter("smtp_connections_total", "Connections of the mail door.")
SMTP_TURNED_AWAY = _counter("smtp_connections_refused_total", "Connections that had no room (421).")
SMTP_ENCRYPTED = _counter("smtp_starttls_total", "Connections that STARTTLS encrypted.")
SMTP_REPLIES = _counter("smtp_replies_total", "Replies of the mail door, by code.", "code")

_section("Worker")
WORK_ITEMS = _counter(
    "work_items_total", "Items of work: done, failed (tried again, but for some).", "kind", "outcome"
)
WORK_SECONDS = _histogram(
    "work_batch_duration_seconds", "How long a batch of work takes.", "kind", bounds=WORK_BOUNDS
)
WORK_TROUBLES = _counter(
    "work_troubles_total", "Rounds of work that failed as a whole, as where the database is away."
)
WORK_TURNED = _gauge(
    "worker_turned_timestamp_seconds", "When a round of work last ended well, seconds since 1970."
)
TIMED_DONE = _gauge(
    "timed_work_timestamp_seconds", "When this node last did the regular work, seconds since 1970.", "work"
)
TIMED_FAILURES = _counter("timed_work_failures_total", "Regular work that failed.", "work")

ORDERS = _counter(
    "certificate_orders_total", "Orders that ended: issued, failed; `ca` as below.", "ca", "outcome"
)

_section("What the database says, twice a minute: of the whole installation, the same at each node")
CENSUS_TAKEN = _gauge("census_timestamp_seconds", "When the numbers below were taken, seconds since 1970.")
QUEUE_ITEMS = _gauge("queue_items", "Work that waits or is being done.", "kind")
QUEUE_DUE = _gauge("queue_due_items", "Of it, what is due and nobody is at.", "kind")
QUEUE_AGE = _gauge("queue_oldest_due_seconds", "How long the oldest of that has been due.", "kind")
QUEUE_FAILING = _gauge(
    "queue_failing_items", "Work that failed three times and more, and is tried again.", "kind"
)
DOMAINS = _gauge("domains", "Domains, by the mode of the policy that is published for them.", "mode")
UNANNOUNCED = _gauge("policies_unannounced", "Published policies whose id our nameserver does not tell yet.")
MX_CHANGES = _gauge("mx_changes_open", "Differences between MX records and policies that nobody settled yet.")
PROFILE_CHANGES = _gauge("profile_changes_open", "Changes of policy profiles that have not ended.", "state")
LEAVING = _gauge("domains_leaving", "Domains on their way out of MTA-STS.")
PROBLEMS = _gauge("problems_open", "Open problems, by cause: a finding, a result type, or other.", "cause")
WATCHED = _gauge("watched_domains", "Domains that are looked at again and again.")
WATCH_OVERDUE = _gauge(
    "watch_overdue_domains", "Of them, those that should have been looked at ten minutes ago."
)
IMPORTS = _gauge("imports", "Lists of domains that are being imported: looking, running.", "state")
MAILS_WAITING = _gauge("mails_waiting", "Mails to people that the relay has not taken yet.")
RELAY_UP = _gauge("relay_up", "1 where the mail relay works, as far as was seen.")
QUARANTINED = _gauge("quarantined_messages", "What came in and could not be read.")
CERTIFICATES = _gauge("certificates", "Names that get certificates by ACME, by how theirs stands.", "state")
CERTIFICATE_END = _gauge(
    "certificate_first_end_timestamp_seconds",
    "When the first of those that are renewed ends, seconds since 1970; not of domains that are gone.",
)
CERTIFICATES_ENDING = _gauge(
    "certificates_ending", "Those that end within seven days: renewal should have come."
)
ORDER_ROOM = _gauge(
    "certificate_order_room",
    "Orders that the CA still takes in these three hours; where two CAs of the settings share a host, `ca` has the "
    "path of the directory too.",
    "ca",
)
MIGRATIONS_MISSING = _gauge("database_migrations_missing", "Steps of the schema that the database lacks.")
DATABASE_BYTES = _gauge("database_size_bytes", "Size of the database.")


def definitions() -> Iterator[Definition]:
    """All of them, in the order in which they stand here."""
    for section in SECTIONS.values():
        yield from section
