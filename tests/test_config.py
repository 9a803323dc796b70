import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from mailward.config import Settings, SettingsError, load_settings
from mailward.core.acme.settings import AcmeDirectory

DOCUMENT = Path(__file__).parents[1] / "docs" / "settings.md"


def documented() -> dict[str, str]:
    """Key -> default, as docs/settings.md has them."""
    found, table = {}, ""
    for line in DOCUMENT.read_text().splitlines():
        if heading := re.match(r"## (?:`\[(\w+)\]`)?", line):
            table = f"{heading[1]}." if heading[1] else ""
        elif row := re.match(r"\| `(\w+)` \| (?:`(.*)`|empty) \|[^|]*\|$", line):
            found[table + row[1]] = row[2] or ""
    return found


def existing() -> Iterator[tuple[str, str]]:
    for key, value in msgspec.to_builtins(Settings()).items():
        rows = (
            {f"{key}.{name}": item for name, item in value.items()}
            if isinstance(value, dict)
            else {key: value}
        )
        for name, item in rows.items():
            yield name, shown(item)


def shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return "`, `".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_every_setting_is_described_with_its_default() -> None:
    assert documented() == dict(existing())


def test_every_key_of_an_acme_directory_is_described() -> None:
    missing = [key for key in AcmeDirectory.__struct_fields__ if f"`{key}`" not in DOCUMENT.read_text()]
    assert missing == []


def test_an_acme_directory_is_a_url_or_a_table(tmp_path: Path) -> None:
    text = '[acme]\ndirectories = ["https://one.test/dir", {url = "https://two.test/dir", profile = "short"}]'
    one, two = load(tmp_path, text).acme.authorities
    assert (one.url, two.url, two.profile) == ("https://one.test/dir", "https://two.test/dir", "short")
    by_environment = load(tmp_path, "", MAILWARD_ACME_DIRECTORIES="https://one.test/dir").acme
    assert by_environment.authorities == (one,)


def test_the_development_authority_stands_aside_where_certificates_are_ordered(tmp_path: Path) -> None:
    assert load(tmp_path, "").has_development_ca
    assert not load(tmp_path, '[acme]\ndirectories = ["https://one.test/dir"]').has_development_ca


def test_our_own_names_are_those_that_a_ca_may_issue_for(tmp_path: Path) -> None:
    assert load(tmp_path, "").own_names == ()
    text = '[policy_host]\npublic_name = "Policies.Example.net."\n[reports]\ndomain = "reports.example.net"\n'
    same = ("policies.example.net", "reports.example.net")
    assert load(tmp_path, text).own_names == load(tmp_path, text).needed_names == same
    other = load(tmp_path, text + 'https_name = "tlsrpt.example.net"')
    assert other.own_names == ("policies.example.net", "tlsrpt.example.net", "reports.example.net")
    assert other.needed_names == ("policies.example.net", "tlsrpt.example.net")
    for odd in ("host", "host.localhost"):
        assert load(tmp_path, f'[policy_host]\npublic_name = "{odd}"').own_names == ()


def test_the_example_of_the_documentation_works(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert example is not None
    settings = load(tmp_path, example[1])
    assert settings.relay.host == "relay.example.org"


def load(folder: Path, text: str, **environ: str) -> Settings:
    path = folder / "mailward.toml"
    path.write_text(text)
    return load_settings(path, environ)


def test_without_anything_the_defaults_hold() -> None:
    assert load_settings(None, {}) == Settings()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        '[relay]\nhost = "a"\nport = 26\n',
        MAILWARD_RELAY_HOST="b",
        MAILWARD_DATA="/data",
        MAILWARD_CERTIFICATES_DEVELOPMENT_CA="false",
        MAILWARD_PROBLEMS_MIN_PERCENT="2.5",
        MAILWARD_DNS_RESOLVERS="192.0.2.1 192.0.2.2:5353",
    )
    assert (settings.relay.host, settings.relay.port, settings.data) == ("b", 26, "/data")
    assert settings.certificates.development_ca is False
    assert settings.problems.min_percent == 2.5
    assert settings.dns.resolvers == ("192.0.2.1", "192.0.2.2:5353")


def test_a_secret_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("p4ss word\n")
    settings = load(tmp_path, "", MAILWARD_RELAY_PASSWORD_FILE=str(tmp_path / "secret"))
    assert settings.relay.password == "p4ss word"


MISTAKES = [
    (
        "[console]\nprot = 1\n",
        {},
        "mailward.toml: [console] has no key 'prot'; is it 'port'?",
        "an unknown key",
    ),
    ("[console]\nxyz = 1\n", {}, "mailward.toml: [console] has no key 'xyz'", "one that is like no other"),
    ("[consol]\nport = 1\n", {}, "there is no table or key 'consol'; is it 'console'?", "an unknown table"),
    ('[console]\nport = "x"\n', {}, "console.port", "the wrong kind"),
    ("[console]\nport = 70000\n", {}, "console.port", "too large"),
    ("[problems]\nmin_percent = 101\n", {}, "problems.min_percent", "more than all"),
    ("[console\n", {}, "mailward.toml", "no TOML"),
    ("console = 1\n", {}, "console", "a value where a table belongs"),
    ("console = 1\n", {"MAILWARD_CONSOLE_PORT": "1"}, "console", "the same, with a variable"),
    ("", {"MAILWARD_CONSOLE_PORT": "x"}, "console.port", "a variable of the wrong kind"),
    ("", {"MAILWARD_CERTIFICATES_DEVELOPMENT_CA": "maybe"}, "development_ca", "neither true nor false"),
    ("", {"MAILWARD_CONSOLE_PORT": "x"}, "MAILWARD_CONSOLE_PORT", "and the variable is named"),
    (
        '[dns]\nresolvers = ["one.one.one.one"]\n',
        {},
        "resolvers: 'one.one.one.one' is no server",
        "a server by name",
    ),
    ('[dns]\nresolvers = ["192.0.2.1:0"]\n', {}, "192.0.2.1:0", "a port that nothing can be asked at"),
    (
        '[policy_host]\nnodes = ["192.0.2.1", "policies.example"]\n',
        {},
        "nodes: 'policies.example' is no server: it must be an IP address, or address:port - at `$.policy_host`",
        "a policy host by name",
    ),
    ('[sender]\nmetrics_listen = "8462"\n', {}, "metrics_listen: '8462' is no server", "half a place"),
    ('[sender]\nnotice_webhook = "ftp://x"\n', {}, "notice_webhook", "no URL that can be posted to"),
    ('[watch]\nsource_v4 = "mail.example"\n', {}, "source_v4 is 'mail.example', which is no IPv4", "a name"),
    (
        '[watch]\nsource_v4 = "2001:db8::1"\n',
        {},
        "source_v4 is '2001:db8::1', which is no IPv4",
        "the other kind",
    ),
    ("", {"MAILWARD_WATCH_SOURCE_V6": "::g"}, "MAILWARD_WATCH_SOURCE_V6", "no IPv6 address"),
    (
        '[dns]\nown_addresses = ["10.0.0.0/8"]\n',
        {},
        "own_addresses is '10.0.0.0/8', which is no IP",
        "a network",
    ),
    (
        '[console]\nlisten = ["127.0.0.1", "web.example"]\n',
        {},
        "listen: 'web.example' is nowhere to listen: it must be an IP address, or address:port - at `$.console`",
        "a name to listen on",
    ),
    (
        '[backup]\nrecipients = ["age1x"]\n',
        {"MAILWARD_BACKUP_PASSPHRASE_FILE": "/etc/phrase"},
        "MAILWARD_BACKUP_PASSPHRASE_FILE: passphrase_file and recipients are both set",
        "sealed twice",
    ),
    (
        "",
        {"MAILWARD_CONSOLE_LISTEN": "web.example"},
        "MAILWARD_CONSOLE_LISTEN: listen: 'web.example'",
        "a variable of a table that we check",
    ),
    (
        '[nameserver]\nzone = "sts.example"\nservers = ["ns1.sts.example=abc"]\n',
        {},
        "servers: 'abc' does not appear to be an IPv4 or IPv6 address - at `$.nameserver`",
        "a name server without an address",
    ),
    (
        '[nameserver]\nzone = "sts.example"\nservers = ["ns1.other.example=192.0.2.1"]\n',
        {},
        "servers: ns1.other.example is not in the zone sts.example",
        "an address that another zone tells",
    ),
    ('[nameserver]\nservers = ["no name"]\n', {}, "servers: 'no name' is no label", "no name server"),
    ('[nameserver]\ncontact = "hostmaster"\n', {}, "contact: 'hostmaster' is no mail address", "no address"),
    (
        '[nameserver]\nsecondaries = ["ns2.example.org"]\n',
        {},
        "secondaries: 'ns2.example.org' is no server",
        "a secondary by name",
    ),
    (
        '[nameserver]\nsecondaries = ["192.0.2.3=b"]\ntransfer_keys = ["a:hmac-sha256:MDEyMzQ1Njc4OWFiY2RlZg=="]\n',
        {},
        "secondaries: no key of transfer_keys is called b",
        "a secondary with a key that is not there",
    ),
    ('[nameserver]\ntransfer_keys = ["a:b:c"]\n', {}, "transfer_keys: the key a needs one of", "no key"),
    ('[nameserver]\ntransfer_keys = ["c2VjcmV0"]\n', {}, "transfer_keys: a key is name:", "a secret alone"),
    (
        '[nameserver]\ntransfer_keys = ["a:hmac-sha256:c2VjcmV0"]\n',
        {},
        "transfer_keys: the key a is too short",
        "a secret that is none",
    ),
    ('[nameserver]\npolicy_addresses = ["foo"]\n', {}, "policy_addresses is 'foo', which", "no address"),
    ('[nameserver]\ntransfer_networks = ["foo"]\n', {}, "transfer_networks: 'foo'", "no network"),
    ('[reports]\nrelays = ["foo"]\n', {}, "relays: 'foo' does not appear", "a relay by name"),
    ('[policy_host]\npublic_name = "https://foo"\n', {}, "public_name: 'https://foo' is no label", "a URL"),
    ('[policy_host]\npublic_name = "192.0.2.1"\n', {}, "public_name: 192.0.2.1 is an address", "an address"),
    ('[policy_host]\npublic_name = ""\n', {}, "public_name is empty", "nothing that a CNAME can lead to"),
    ('[reports]\ndomain = "a@b"\n', {}, "domain: 'a@b' is no label", "an address of mail"),
    ('[reports]\nhttps_name = "a b"\n', {}, "https_name: 'a b' is no label", "no name"),
    ('[nameserver]\nzone = "bad zone"\n', {}, "zone: 'bad zone' is no label", "no zone"),
    ('[console]\npublic_url = "mailward.example.org"\n', {}, "public_url: 'mailward.example", "no scheme"),
    (
        '[console]\npublic_url = "https://[::1"\n',
        {},
        "public_url: 'https://[::1' is no URL",
        "half an address",
    ),
    ('[console]\npublic_url = "https://m.test/?a"\n', {}, "public_url: 'https://m.test/?a'", "a query"),
    (
        '[acme]\ndirectories = ["http://x/y"]\n',
        {},
        "directories: 'http://x/y' is no URL",
        "a CA in the clear",
    ),
    ('[[acme.directories]]\nurl = "https://"\n', {}, "'https://' is no URL", "a CA without a host"),
    (
        '[[acme.directories]]\nurl = "https://ca.test"\neab_kid = "a"\n',
        {},
        "eab_kid and eab_hmac_key go together",
        "half an account",
    ),
    ('[watch]\ncontact_url = "example.org"\n', {}, "contact_url: 'example.org' is no URL", "no page"),
    ('[watch]\nclock_domains = ["a", "b"]\n', {}, "clock_domains: a has one label only", "no domains"),
    ('[watch]\nehlo_name = "my host"\n', {}, "ehlo_name: 'my host' is no label", "no name in EHLO"),
    ('[tlsrpt]\nehlo_name = "[192.0.2]"\n', {}, "ehlo_name: '192.0.2' does not appear", "no literal"),
    ('[relay]\nhost = "relay.example:587"\n', {}, "host: 'relay.example:587' is no host", "host and port"),
    ('[relay]\nsender = "Mailward"\n', {}, "sender: 'Mailward' is no mail address", "no address"),
    ('[database]\nname = "a"\nhost = "postgres://b"\n', {}, "host: 'postgres://b' is no host", "a URL"),
    ('[tracing]\nendpoint = "http:///v1"\n', {}, "endpoint: 'http:///v1' is no URL", "no host"),
    ('[sender]\nlisten = ["8461"]\n', {}, "listen: '8461' is neither address:port", "half a socket"),
    ('[sender]\nshadow_table = "hash:/x"\n', {}, "shadow_table: 'hash:/x' begins", "a table of another kind"),
    (
        '[sender]\nnotice_mail = ["root", "a b@c.test"]\n',
        {},
        "notice_mail: 'a b@c.test' is no mail address",
        "no address",
    ),
    ("[sender]\nnotice_mail_command = []\n", {}, "sender.notice_mail_command", "no program"),
    ('[sender]\ndnssec_bogus_name = "a b"\n', {}, "dnssec_bogus_name: 'a b' is no label", "no name"),
    ('[tlsrpt]\ncontact = "tls"\n', {}, "contact: 'tls' is no mail address", "nobody's address"),
    ('[tlsrpt]\nenvelope_sender = "*"\n', {}, "envelope_sender: '*' is no mail address", "a token alone"),
    ('[tlsrpt]\ndkim_selectors = ["../a"]\n', {}, "dkim_selectors: '../a' is no selector", "a path"),
    ("[watch]\nkeep_days = 1000000\n", {}, "watch.keep_days", "longer than there are dates"),
    (
        '[database]\nname = "a"\nstatement_seconds = 3000000\n',
        {},
        "statement_seconds",
        "more than PostgreSQL",
    ),
    (
        '[backup]\nrecipients = ["age1xyz"]\n',
        {},
        "recipients: this is not a recipient (age1...): it is cut",
        "cut",
    ),
    ('[backup]\nrecipients = ["ssh-rsa AAAA"]\n', {}, "recipients: this is not a recipient", "another's key"),
    ("[reports]\nsmtp_listen = []\n", {}, "reports.smtp_listen", "nowhere to listen"),
    ('[reports]\nsmtp_proxies = ["proxy"]\n', {}, "smtp_proxies: 'proxy'", "a proxy by name"),
    ('[relay]\nsecurity = "ssl"\n', {}, "relay.security` (one of starttls, tls, none)", "no way"),
    ('[relay]\nsecurity = "opportunistic"\n', {}, "relay.security", "none for a relay of one's own"),
    (
        "",
        {"MAILWARD_RELAY_PASSWORD_FILE": "/nowhere"},
        "MAILWARD_RELAY_PASSWORD_FILE",
        "a secret that is not there",
    ),
]


@pytest.mark.parametrize("text, environ, named, reason", MISTAKES, ids=[row[3] for row in MISTAKES])
def test_mistakes_refuse_to_start_and_are_named(
    tmp_path: Path, text: str, environ: dict[str, str], named: str, reason: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(named)):
        load(tmp_path, text, **environ)


def test_names_have_their_canonical_form_whoever_wrote_them(tmp_path: Path) -> None:
    text = (
        '[policy_host]\npublic_name = "Policies.Example.net."\n[reports]\ndomain = "Bücher.example"\n'
        '[nameserver]\nzone = "STS.example.net."\nservers = ["NS1.sts.Example.net.=192.0.2.1,2001:db8::1"]\n'
    )
    settings = load(tmp_path, text)
    assert settings.policy_host.public_name == "policies.example.net"
    assert settings.reports.domain == "xn--bcher-kva.example"
    assert settings.nameserver.zone == "sts.example.net"
    [server] = settings.nameserver.ns_records
    assert (server.name, server.addresses) == ("ns1.sts.example.net", ("192.0.2.1", "2001:db8::1"))


def test_addresses_and_names_that_go_out_are_ascii_whoever_wrote_them(tmp_path: Path) -> None:
    text = (
        '[relay]\nsender = "Bücher <mail@Bücher.example>"\n[nameserver]\ncontact = "dns@bücher.example"\n'
        '[watch]\nehlo_name = "mta.bücher.example"\n[sender]\nnotice_mail = ["root", "ops@bücher.example"]\n'
        '[tlsrpt]\nehlo_name = "MTA.example.org."\ncontact = "tls@bücher.example"\n'
        'envelope_sender = "tls+*@bücher.example"\n'
    )
    settings = load(tmp_path, text)
    assert settings.relay.sender == "Bücher <mail@xn--bcher-kva.example>"
    assert settings.nameserver.contact == "dns@xn--bcher-kva.example"
    assert settings.watch.ehlo_name == "mta.xn--bcher-kva.example"
    assert settings.sender.notice_mail == ("root", "ops@xn--bcher-kva.example")
    assert settings.tlsrpt.ehlo_name == "mta.example.org"
    assert settings.tlsrpt.contact == "tls@xn--bcher-kva.example"
    assert settings.tlsrpt.envelope_sender == "tls+*@xn--bcher-kva.example"


@pytest.mark.parametrize(
    "written, kept",
    [
        ("HTTPS://Console.Example.org.:443/Mail/", "https://console.example.org/Mail/"),
        ("https://console.bücher.example", "https://console.xn--bcher-kva.example"),
        ("http://[2001:DB8::1]:8000", "http://[2001:db8::1]:8000"),
        ("http://mailward_web:80", "http://mailward_web"),
    ],
)
def test_the_url_of_the_console_is_as_browsers_write_it(tmp_path: Path, written: str, kept: str) -> None:
    assert load(tmp_path, f'[console]\npublic_url = "{written}"').console.public_url == kept


def test_a_webhook_that_is_no_url_is_not_quoted(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="notice_webhook: it is no URL") as caught:
        load(tmp_path, '[sender]\nnotice_webhook = "https://hooks.test/T0/SECRET here"')
    assert "SECRET" not in str(caught.value)


def test_what_is_usual_elsewhere_is_taken(tmp_path: Path) -> None:
    text = (
        '[database]\nname = "a"\nhost = "/run/postgresql"\n[relay]\nhost = "mail_relay"\n'
        'sender = "Mailward <mailward@example.org>"\n[watch]\nehlo_name = "[IPv6:2001:db8::1]"\n'
        '[sender]\nlisten = ["unix:/run/x", "[::1]:8461"]\nshadow_table = "socketmap:unix:/x:y"\n'
        '[tlsrpt]\nenvelope_sender = "tls+*@example.org"\nsmtp_host = "::1"\n[console]\n'
        'public_url = "http://localhost:8000/"\n'
    )
    assert load(tmp_path, text).relay.host == "mail_relay"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml"):
        load_settings(tmp_path / "nowhere.toml", {})


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mailward.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"mailward\.toml"):
        load_settings(tmp_path / "mailward.toml", {})


def test_derived_values_follow_the_settings() -> None:
    settings = load_settings(None, {"MAILWARD_CONSOLE_PORT": "81", "MAILWARD_REPORTS_DOMAIN": "r.test"})
    assert settings.console_url == "http://127.0.0.1:81"
    assert settings.https_name == "r.test"
    settings = load_settings(
        None, {"MAILWARD_CONSOLE_PUBLIC_URL": "https://m.test/", "MAILWARD_POLICY_HOST_PORT": "1"}
    )
    assert settings.console_url == "https://m.test"
    assert settings.policy_port == 1


def test_one_address_to_listen_on_may_stand_alone_and_several_have_ports_of_their_own(tmp_path: Path) -> None:
    text = (
        '[console]\nlisten = "localhost"\nport = 81\n'
        '[policy_host]\nlisten = ["192.0.2.1", "[2001:db8::1]:8443"]\nport = 444'
    )
    settings = load(
        tmp_path, text, MAILWARD_REPORTS_SMTP_LISTEN="0.0.0.0 ::", MAILWARD_REPORTS_SMTP_PORT="26"
    )
    assert settings.console_places == (("127.0.0.1", 81),)
    assert settings.policy_places == (("192.0.2.1", 444), ("2001:db8::1", 8443))
    assert settings.smtp_places == (("0.0.0.0", 26), ("::", 26))
    assert settings.policy_nodes == (("192.0.2.1", 444),)
    assert [port for _, port in settings.acme_places] == [settings.acme_places[0][1]] * 2
    assert [host for host, _ in settings.acme_places] == ["192.0.2.1", "2001:db8::1"]


def test_the_url_of_a_console_on_ipv6_can_be_followed(tmp_path: Path) -> None:
    assert load(tmp_path, '[console]\nlisten = "::1"').console_url == "http://[::1]:8000"
