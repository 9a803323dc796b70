"""What does not fit is found, with the exact change. The instance is a real Postfix 3.10's, as postconf told of it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from mailward.core.doctor.finding import Finding, Grade
from mailward.core.postfix.checkup import Ours, examine
from mailward.core.postfix.maincf import (
    Instance,
    parse_socketmap,
    read_overrides,
    read_parameters,
    read_services,
    split_tables,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "postconf"
SOCKET = "socketmap:unix:mailward/sender.sock:QUERYwithTLSRPT"
OURS = Ours(("unix:/var/spool/postfix/mailward/sender.sock", "127.0.0.1:8461"), "may", looks_for_dane=True)
GOOD = {
    "smtp_tls_security_level": "may",
    "smtp_tls_policy_maps": SOCKET,
    "smtp_tls_CAfile": "/etc/ssl/certs/ca-certificates.crt",
    "smtp_dns_support_level": "dnssec",
    "smtp_tls_loglevel": "1",
}


def read(name: str) -> str:
    return (FIXTURES / f"3.10-{name}").read_text()


def instance(overrides: str = "", services: str = "", **changes: str) -> Instance:
    parameters = read_parameters(read("main")) | GOOD | {"config_directory": "/etc/postfix"} | changes
    own = read_overrides(read("overrides") + overrides)
    return Instance(parameters, read_services(read("services") + services, own))


def wrong(found: list[Finding]) -> dict[str, Finding]:
    return {finding.code: finding for finding in found if finding.grade is not Grade.GOOD}


def test_postconf_is_read() -> None:
    found = instance()
    assert found.version == (3, 10)
    assert [str(client) for client in found.clients] == ["smtp/unix", "relay/unix"]
    assert all(client.is_chrooted for client in found.clients)
    assert set(found.clients[1].overrides) == {"syslog_name"}


def test_a_good_instance_has_nothing_to_change() -> None:
    assert wrong(examine(instance(), OURS)) == {}


WRONG = [
    (
        {"mail_version": "3.3.1", "smtp_tls_policy_maps": SOCKET.removesuffix("withTLSRPT")},
        "version",
        "upgrade",
    ),
    ({"mail_version": "3.7.11"}, "dialect", "write socketmap:unix:mailward/sender.sock:QUERY"),
    (
        {"smtp_tls_policy_maps": "socketmap:inet:127.0.0.1:8461:QUERY"},
        "dialect",
        "write socketmap:inet:127.0.0.1:8461:QUERYwithTLSRPT",
    ),
    (
        {"smtp_tls_policy_maps": "hash:/etc/postfix/tls socketmap:inet:127.0.0.1:8642:QUERY"},
        "not-asked",
        f"postconf -c /etc/postfix -e 'smtp_tls_policy_maps = hash:/etc/postfix/tls, {SOCKET}'",
    ),
    ({"smtp_tls_policy_maps": ""}, "not-asked", f"-e 'smtp_tls_policy_maps = {SOCKET}'"),
    ({"smtp_tls_policy_maps": f"static:may, {SOCKET}"}, "hidden", f"-e 'smtp_tls_policy_maps = {SOCKET}'"),
    ({"smtp_tls_policy_maps": f"hash:/x, {SOCKET}"}, "order", ""),
    ({"smtp_tls_policy_maps": f"{SOCKET} {SOCKET}"}, "asked-twice", ""),
    ({"smtp_tls_security_level": "encrypt"}, "level-differs", '[sender] default_level = "encrypt"'),
    ({"smtp_tls_security_level": ""}, "level-none", "-e 'smtp_tls_security_level = may'"),
    ({"smtp_tls_CAfile": ""}, "no-authorities", "-e 'smtp_tls_CAfile = /etc/ssl/certs/ca-certificates.crt'"),
    (
        {"smtp_tls_CAfile": "", "smtp_tls_CApath": "/etc/ssl/certs"},
        "authorities-in-chroot",
        "smtp_tls_CAfile",
    ),
    ({"smtp_dns_support_level": ""}, "no-dnssec", "-e 'smtp_dns_support_level = dnssec'"),
    ({"smtp_tls_loglevel": "0"}, "log-level", "-e 'smtp_tls_loglevel = 1'"),
    ({"relayhost": "[relay.example.net]:587"}, "relayhost", ""),
    ({"transport_maps": "hash:/etc/postfix/transport"}, "other-next-hops", ""),
    ({"default_transport": "error:no"}, "other-transport", ""),
]


@pytest.mark.parametrize("changes, code, fix", WRONG)
def test_what_is_wrong_is_found_with_its_change(changes: Mapping[str, str], code: str, fix: str) -> None:
    found = wrong(examine(instance(**changes), OURS))
    assert code in found
    assert fix in found[code].fix


def test_an_absolute_path_is_somewhere_else_in_a_chroot() -> None:
    absolute = "socketmap:unix:/var/spool/postfix/mailward/sender.sock:QUERYwithTLSRPT"
    mixed = "plain unix - - n - - smtp\n"
    found = wrong(examine(instance(smtp_tls_policy_maps=absolute, services=mixed), OURS))
    assert found["chroot"].fix == f"postconf -c /etc/postfix -e 'smtp_tls_policy_maps = {SOCKET}'"
    assert "from relay/unix, which is chrooted" in found["chroot"].text
    outside = Ours(("unix:/run/mailward/sender.sock",), "may", looks_for_dane=False)
    found = wrong(
        examine(instance(smtp_tls_policy_maps="socketmap:unix:/run/mailward/sender.sock:QUERY"), outside)
    )
    assert "not-asked" in found


def test_what_a_service_has_for_itself_alone() -> None:
    service = "out unix - - y - - smtp\n"
    own = "out/unix/smtp_tls_policy_maps = hash:/x\nout/unix/relayhost = [x.test]\n"
    found = examine(instance(own, service), OURS)
    problem = next(item for item in found if item.code == "override" and item.grade is Grade.PROBLEM)
    assert problem.fix == "postconf -c /etc/postfix -PX out/unix/smtp_tls_policy_maps"
    assert any("-o relayhost=[x.test]" in item.text for item in found)


def test_without_an_smtp_client_nothing_is_asked() -> None:
    assert [item.code for item in examine(Instance({}, ()), OURS)] == ["no-client"]


@pytest.mark.parametrize("looks_for_dane", [True, False])
def test_a_level_that_is_not_told(looks_for_dane: bool) -> None:
    found = wrong(examine(instance(), Ours(OURS.places, "", looks_for_dane)))
    assert found["level-not-told"].fix == '[sender] default_level = "may"'
    assert ("mail waits" in found["level-not-told"].text) is looks_for_dane


def test_lists_of_tables_are_split_as_postfix_splits_them() -> None:
    assert split_tables("hash:/a, inline:{ a=b, c=d } socketmap:inet:h:1:N") == [
        "hash:/a",
        "inline:",
        "{ a=b, c=d }",
        "socketmap:inet:h:1:N",
    ]
    assert parse_socketmap("hash:/a") is None
    table = parse_socketmap("socketmap:inet:[::1]:8461:QUERY")
    assert table is not None
    assert (table.address, table.map_name) == ("[::1]:8461", "QUERY")
