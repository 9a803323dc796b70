"""What is shipped beside the package: units and the manual page."""

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import msgspec
import pytest

from mailward.cli import COMMANDS
from mailward.config import Sender, load_settings
from mailward.config.listening import NAMES

ROOT = Path(__file__).parents[2]
SERVICE = ROOT / "packaging" / "systemd" / "mailward-sender.service"
SOCKET = SERVICE.with_suffix(".socket")
PLATFORM = SERVICE.with_name("mailward.service")
SOCKETS = sorted(SERVICE.parent.glob("mailward-*.socket"))
PAGE = ROOT / "packaging" / "man" / "mailward-sender.8"


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize(
    ("service", "page"), [(SERVICE, "sender.md"), (PLATFORM, "ports.md")], ids=["sender", "serve"]
)
def test_the_service_is_as_closed_as_the_documentation_says(service: Path, page: str) -> None:
    output = run("systemd-analyze", "security", "--offline=true", "--no-pager", str(service))
    score = re.search(rf"Overall exposure level for {service.name}: ([0-9.]+)", output)
    told = re.search(r"exposure of \*\*([0-9.]+)\*\*", (ROOT / "docs" / page).read_text())
    assert score is not None
    assert told is not None
    # versions of systemd weigh a little differently
    assert float(score[1]) <= float(told[1]) + 0.3


def test_the_source_distribution_has_all_of_the_package_and_nothing_of_the_workshop(tmp_path: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path))
    [file] = tmp_path.iterdir()
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert set(run("git", "-C", str(ROOT), "ls-files", "src").splitlines()) <= names
    assert {name.partition("/")[0] for name in names} == {
        *("src", "docs", "packaging", "requirements", "pyproject.toml", "PKG-INFO", ".gitignore"),
        *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"),
    }


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    units = [tmp_path / unit.name for unit in (SERVICE, PLATFORM, *SOCKETS)]
    for unit in units:
        text = re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", (SERVICE.parent / unit.name).read_text())
        unit.write_text(re.sub(r"(?m)^Documentation=.*\n", "", text))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, units)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = [line for line in done.stderr.splitlines() if "mailward" in line]
    assert [
        line for line in said if "Unknown" in line or "Failed to parse" in line or "Invalid" in line
    ] == []


def test_every_service_reads_the_same_environment() -> None:
    units = SERVICE.parent.glob("*.service")
    read = {unit.name: re.findall(r"(?m)^EnvironmentFile=(.+)", unit.read_text()) for unit in units}
    assert set(map(tuple, read.values())) == {("-/etc/mailward/environment",)}, read


def test_the_command_reads_it_too_unless_another_settings_file_is_named(tmp_path: Path) -> None:
    text = (ROOT / "packaging/debian/command/mailward").read_text().replace("/etc/mailward", str(tmp_path))
    command = tmp_path / "mailward"
    command.write_text(text.replace('exec /opt/mailward/bin/mailward "$@"', "env"))
    settings = tmp_path / "mailward.toml"
    settings.touch()
    (tmp_path / "environment").write_text(
        "# ours\n  MAILWARD_KEY_FILE=/etc/my key \t\nMAILWARD_A='0.0.0.0 ::' \nMAILWARD_B=\"$(id)\"\nPATH=/none\n"
        "MAILWARD_C=theirs\nMAILWARD_d;id=1\nMAILWARD_E"
    )

    def told(*arguments: str, **more: str) -> dict[str, str]:
        environment = {"PATH": "/usr/bin:/bin", "MAILWARD_C": "ours"} | more
        done = subprocess.run(
            ["sh", command, *arguments], env=environment, check=True, capture_output=True, text=True
        )
        said = dict(line.split("=", 1) for line in done.stdout.splitlines())
        return {name: value for name, value in said.items() if name.startswith("MAILWARD_")}

    all_of_it = {
        "MAILWARD_CONFIG": str(settings),
        "MAILWARD_KEY_FILE": "/etc/my key",
        "MAILWARD_A": "0.0.0.0 ::",
        "MAILWARD_B": "$(id)",
        "MAILWARD_C": "ours",
    }
    assert told("backup") == all_of_it
    assert told("backup", "--config", str(settings)) == all_of_it
    assert "MAILWARD_A" not in told("backup", "--config", "other.toml")
    assert "MAILWARD_A" not in told("backup", "--config=other.toml")
    assert "MAILWARD_A" not in told("backup", MAILWARD_CONFIG="other.toml")


def test_the_command_of_an_unpacked_package_runs_what_is_beside_it(tmp_path: Path) -> None:
    for name in ("usr/bin", "opt/mailward/bin"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(ROOT / "packaging/debian/command/mailward", tmp_path / "usr/bin")
    python = tmp_path / "opt/mailward/bin/python"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    assert run("sh", str(tmp_path / "usr/bin/mailward"), "version") == "-P -m mailward version\n"


def test_each_service_has_a_socket_unit_whose_sockets_bear_its_name() -> None:
    named = {
        unit.name: re.findall(r"(?m)^FileDescriptorName=(.+)", unit.read_text())
        for unit in SOCKETS
        if "Service=mailward.service" in unit.read_text()
    }
    assert named == {f"mailward-{name}.socket": [name] for name in NAMES}
    started_after = PLATFORM.read_text()
    assert [name for name in named if name not in started_after] == []


def test_the_manual_pages_are_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "write-man-page", "--check"], check=False)
    assert done.returncode == 0, "run scripts/write-man-page"


def test_the_survey_has_a_manual_page_that_man_can_read() -> None:
    page = PAGE.with_name("mailward-survey.1")
    shown = (
        run("man", "--warnings", "-l", str(page))
        if shutil.which("man")
        else page.read_text().replace("\\-", "-")
    )
    options = ["--out", "--resolver", "--concurrency", "--smtp", "--ca-file", "--suffix-list"]
    assert [option for option in options if option not in shown] == []


def test_the_manual_page_names_every_command_and_setting() -> None:
    text = PAGE.read_text().replace("\\-", "-")
    commands = [name for name in COMMANDS if name.startswith("sender ")]
    keys = [field.name for field in msgspec.structs.fields(Sender)]
    assert [name for name in commands if f"mailward {name}" not in text] == []
    assert [key for key in keys if f".B {key}\n" not in text] == []
    assert not re.search(r"(?m)^'", text)


def test_the_settings_of_the_package_hold_with_and_without_their_examples(tmp_path: Path) -> None:
    text = (ROOT / "packaging" / "mailward.toml").read_text()
    for name, content in (("plain", text), ("examples", re.sub(r"(?m)^#(?=[\[a-z_])", "", text))):
        file = tmp_path / name
        file.write_text(content)
        assert load_settings(file, {}).data == "/var/lib/mailward"


def test_the_container_has_a_health_check_that_is_a_command_and_no_address() -> None:
    """An address would be another than that of the settings."""
    text = (ROOT / "packaging" / "container" / "Containerfile").read_text()
    [checked] = re.findall(r"(?m)^HEALTHCHECK .*\\\n +CMD (\[.*\])$", text)
    program, name = msgspec.json.decode(checked)
    assert program == "mailward"
    assert name in COMMANDS


def test_in_the_container_every_published_service_listens_beyond_the_loopback_address() -> None:
    """A published port leads to the container's own address."""
    text = (ROOT / "packaging" / "container" / "Containerfile").read_text()
    said = dict(re.findall(r'(MAILWARD_[A-Z_]+)=("[^"]*"|\S+)', text))
    settings = load_settings(None, {name: value.strip('"') for name, value in said.items()})
    [exposed] = re.findall(r"(?m)^EXPOSE (.*)$", text)
    ports = {
        "policy_places": 8443, "acme_places": 8080, "smtp_places": 2525,
        "https_places": 8444, "console_places": 8000, "nameserver_places": 5300,
    }  # fmt: skip
    assert {int(each.partition("/")[0]) for each in exposed.split()} == set(ports.values())
    for name in ports:
        assert [host for host, _ in getattr(settings, name)] == ["0.0.0.0", "::"], name
