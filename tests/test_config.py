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
    for odd in ("192.0.2.1", "host", "host.localhost", "*.example.net", "no name"):
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
    ("[console]\nprot = 1\n", {}, "prot", "an unknown key"),
    ("[consol]\nport = 1\n", {}, "consol", "an unknown table"),
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
    ('[sender]\nnotice_webhook = "ftp://x"\n', {}, "sender.notice_webhook", "no URL that can be posted to"),
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
