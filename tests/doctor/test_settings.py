"""Settings that contradict each other, one at a time."""

from pathlib import Path
from typing import Any

import pytest
from tests.doctor.looking import look, make_subject, told

from mailward.config import Console, Dns, Nameserver, PolicyHost, Relay, Reports
from mailward.core.acme.settings import Acme
from mailward.core.doctor.finding import Grade
from mailward.doctor.settings import look_at_settings

SOUND: dict[str, Any] = {
    "policy_host": PolicyHost(public_name="policies.example.org"),
    "reports": Reports(domain="reports.example.org"),
    "acme": Acme(directories=("https://ca.example/directory",)),
    "console": Console(public_url="https://mailward.example.org"),
    "relay": Relay(host="relay.example.org", sender="Mailward <mailward@example.org>"),
    "nameserver": Nameserver(zone="sts.example.org", servers=("ns1.example.org", "ns2.example.net")),
}


async def test_a_fresh_clone_is_called_one_for_trying(tmp_path: Path) -> None:
    found = await look(look_at_settings, make_subject(tmp_path))
    assert [(each.grade, "for trying" in each.text) for each in found] == [(Grade.GOOD, True)]


async def test_sound_settings_contradict_nothing(tmp_path: Path) -> None:
    found = await look(look_at_settings, make_subject(tmp_path, **SOUND))
    assert [each.grade for each in found] == [Grade.GOOD]


@pytest.mark.parametrize(
    "table, code",
    [
        ({"console": Console(listen=("0.0.0.0",))}, "console-in-clear"),
        # behind a front, and open past it
        ({"console": Console(listen=("::",), public_url="https://m.example.org")}, "console-open"),
        ({"console": Console()}, "links-lead-nowhere"),
        ({"relay": Relay(host="relay.example.org")}, "sender-local"),
        ({"reports": Reports()}, "reports-nowhere"),
        ({"policy_host": PolicyHost()}, "policies-nowhere"),
        ({"nameserver": Nameserver(zone="sts.example.org")}, "one-name-server"),
        ({"dns": Dns(allow_private_addresses=True)}, "private-addresses"),
        ({"acme": Acme()}, "development-ca"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_each_contradiction_is_told_alone(tmp_path: Path, table: dict[str, Any], code: str) -> None:
    assert code in await told(look_at_settings, make_subject(tmp_path, **SOUND | table))


async def test_a_console_on_a_private_network_behind_its_front_is_no_matter(tmp_path: Path) -> None:
    console = Console(listen=("172.17.0.2",), public_url="https://mailward.example.org")
    assert await told(look_at_settings, make_subject(tmp_path, **SOUND | {"console": console})) == {}


async def test_a_variable_that_stands_for_no_setting_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what is ours, a secret's file, and what others put there for a service of this name
    for name in ("METRICS_SOCKET", "RELAY_PASSWORD_FILE", "PORT_8000_TCP", "RELAY_HSOT"):
        monkeypatch.setenv(f"MAILWARD_{name}", "1")
    [found] = await look(look_at_settings, make_subject(tmp_path, **SOUND))
    assert (found.code, found.fix) == ("variable-unknown", "MAILWARD_RELAY_HOST=..., if that is meant")
    assert "MAILWARD_RELAY_HSOT" in found.text
