"""`mailward sender doctor`: everything between Postfix's question and our answer, looked at piece by piece."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from mailward.config import Settings
from mailward.core.doctor.finding import Finding, Grade, Section
from mailward.core.postfix import netstring
from mailward.core.postfix.checkup import Ours, examine
from mailward.core.postfix.logcheck import examine_log
from mailward.core.postfix.maincf import Instance
from mailward.core.postfix.signalcheckup import examine_signals
from mailward.core.sending.overrides import OverridesInvalid
from mailward.net import clock
from mailward.net.dnssec import Trust, check_validation
from mailward.net.kernelclock import is_synchronised
from mailward.net.resolver import Resolver
from mailward.sender.cache import CacheError
from mailward.sender.census import take_census
from mailward.sender.postconf import PostfixError, list_directories, read_instance
from mailward.sender.postfixlog import JOURNAL
from mailward.sender.signaldoctor import closed_to_others, is_built_with_tlsrpt, look_at_signals
from mailward.sender.watch import read_overrides

ASK_SECONDS = 6.0  # an answer is promised in five
TEST_KEY = b".doctor.mailward.invalid"  # a parent: answered at once, nothing is asked


async def look(
    settings: Settings, resolver: Resolver, directories: list[str], postconf: str = "postconf"
) -> AsyncIterator[Section]:
    """Section by section. Without `directories`, all instances that postmulti knows."""
    yield Section("Settings and files", (*_files(settings), *_authorities(settings)))
    yield Section("Clock", (_clock(),))
    yield Section("DNSSEC", (await _dnssec(settings, resolver),))
    yield Section("Sockets", tuple([await _socket(place) for place in settings.sender.listen]))
    if signals := tuple(look_at_signals(settings)):
        yield Section("TLS sessions", signals)
    sender = settings.sender
    ours = Ours(sender.listen, sender.default_level, sender.dane)
    for directory in directories or await list_directories():
        try:
            instance = await read_instance(directory, postconf)
            found = (*_check_authorities(instance, examine(instance, ours)), *_signals(settings, instance))
            if log := settings.tlsrpt.log:
                found += tuple(examine_log(instance, log))
        except PostfixError as error:
            fix = "run this where Postfix is, or name its folder: --postfix DIR"
            found = (Finding(Grade.PROBLEM, "no-postfix", str(error), fix),)
        yield Section(f"Postfix, {directory}", found)


def _check_authorities(instance: Instance, findings: list[Finding]) -> list[Finding]:
    """What was found, and not that certificates are checked with a file that cannot be used."""
    file = instance.get("smtp_tls_CAfile")
    if not file or (why := _why_unusable(file)) is None:
        return findings
    text = f"smtp_tls_CAfile {file}: {why}: Postfix sends without TLS, and what must have it waits"
    fix = f"postconf -c {instance.config_directory} -e 'smtp_tls_CAfile = /etc/ssl/certs/ca-certificates.crt'"
    problem = Finding(Grade.PROBLEM, "authorities-unusable", text, fix)
    return [problem if finding.code == "authorities" else finding for finding in findings]


def _why_unusable(ca_file: str) -> str | None:
    try:
        ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        return "it holds no certificates"
    except OSError as error:
        return error.strerror or str(error)
    return None


def _signals(settings: Settings, instance: Instance) -> Iterator[Finding]:
    if place := settings.tlsrpt.socket:
        yield from examine_signals(instance, place, is_built_in=is_built_with_tlsrpt(instance))


def _files(settings: Settings) -> Iterator[Finding]:
    path = settings.sender_cache_path
    if not path.exists():
        yield Finding(Grade.ADVICE, "no-cache", f"no cache at {path} yet: it is made at the first start")
    else:
        yield _cache(path)
    if settings.tlsrpt.log:
        yield _log_file(settings.tlsrpt.log)
    if settings.sender.mode == "shadow":
        text = "shadow mode: nothing is enforced"
        yield Finding(Grade.ADVICE, "shadow", text, '[sender] mode = "enforce", when you have seen enough')
    if file := settings.sender.overrides:
        try:
            overrides = read_overrides(Path(file))
        except OverridesInvalid as error:
            yield Finding(Grade.PROBLEM, "overrides", str(error), f"mend {file}")
            return
        today = clock.today()
        ended = [override.domain for override in overrides if override.until < today]
        yield Finding(Grade.GOOD, "overrides", f"{len(overrides)} overrides in {file}")
        if ended:
            text = f"{len(ended)} overrides have ended, such as that of {ended[0]}"
            yield Finding(Grade.ADVICE, "overrides-ended", text, f"remove them from {file}")


def _log_file(log: str) -> Finding:
    if log == JOURNAL:
        return Finding(Grade.GOOD, "log", "Postfix's log is followed in the journal (group systemd-journal)")
    if not os.access(log, os.R_OK):
        text = f"this user cannot read {log}: what Postfix does not report stays unknown"
        return Finding(
            Grade.PROBLEM, "log-unreadable", text, f"run the sender in the group of {log}, on Debian adm"
        )
    return Finding(Grade.GOOD, "log", f"Postfix's log is followed in {log}")


def _cache(path: Path) -> Finding:
    try:
        census = take_census(path, int(clock.now().timestamp()))
    except CacheError as error:
        return Finding(
            Grade.PROBLEM, "cache-unreadable", str(error), f"let this user read {path}, or restore it"
        )
    text = f"{census.live} live policies in {path}"
    if census.failing_refreshes:
        text += f"; the refreshes of {census.failing_refreshes} fail"
        return Finding(Grade.ADVICE, "refresh-failing", text, "mailward sender list --failing")
    return Finding(Grade.GOOD, "cache", text)


def _authorities(settings: Settings) -> Iterator[Finding]:
    file = settings.sender.ca_file
    if file and (why := _why_unusable(file)) is not None:
        yield Finding(Grade.PROBLEM, "ca-file", f"ca_file {file}: {why}", "name a PEM file of authorities")
        return
    context = ssl.create_default_context(cafile=file or None)
    count = context.cert_store_stats()["x509_ca"]
    folder = ssl.get_default_verify_paths().capath
    if not count and not file and folder:
        count = sum(entry.suffix == ".0" for entry in Path(folder).iterdir())
    if count:
        yield Finding(Grade.GOOD, "ca-store", f"{count} authorities for policy hosts")
    else:
        text = "no certificate authorities: no policy can be fetched"
        yield Finding(Grade.PROBLEM, "ca-store", text, "apt-get install ca-certificates")


def _clock() -> Finding:
    shown = f"{clock.now():%Y-%m-%d %H:%M:%S} UTC"
    if not is_synchronised():
        text = f"{shown}; the kernel does not know the clock to be synchronised: policies end by it"
        return Finding(Grade.ADVICE, "clock", text, "timedatectl set-ntp true")
    return Finding(Grade.GOOD, "clock", f"{shown}, synchronised")


async def _dnssec(settings: Settings, resolver: Resolver) -> Finding:
    sender = settings.sender
    if not sender.dane:
        return Finding(Grade.ADVICE, "dane-off", "DANE is switched off", "[sender] dane = true")
    validation = await check_validation(resolver, sender.dnssec_secure_name, sender.dnssec_bogus_name)
    if validation.trust is Trust.VALIDATES:
        return Finding(Grade.GOOD, "dnssec", validation.reason)
    fix = 'apt-get install unbound, then [dns] resolvers = ["127.0.0.1"]; or [sender] dane = false'
    return Finding(Grade.PROBLEM, "dnssec", f"DANE is off: {validation.reason}", fix)


async def _socket(place: str) -> Finding:
    """A question through it, as Postfix asks."""
    started = clock.monotonic()
    try:
        async with asyncio.timeout(ASK_SECONDS):
            reply = await _ask(place)
    except (OSError, EOFError, ValueError, TimeoutError) as error:
        text = (
            f"{place}: {error or type(error).__name__}: Postfix defers all mail (4.7.5) while nobody answers"
        )
        return Finding(
            Grade.PROBLEM, "no-answer", text, "start mailward sender run; journalctl -u mailward-sender"
        )
    if reply != b"9:NOTFOUND ,":
        text = f"{place} answers {reply[:60]!r}: somebody else listens there"
        return Finding(Grade.PROBLEM, "other-server", text, "[sender] listen = another place")
    if place.startswith("unix:") and (why := closed_to_others(Path(place.removeprefix("unix:")))):
        return Finding(
            Grade.PROBLEM,
            "socket-closed",
            f"{place}: {why}",
            'chmod o+x the folder, or [sender] socket_mode = "666"',
        )
    return Finding(Grade.GOOD, "answers", f"{place} answers in {(clock.monotonic() - started) * 1000:.1f} ms")


async def _ask(place: str) -> bytes:
    if place.startswith("unix:"):
        reader, writer = await asyncio.open_unix_connection(place.removeprefix("unix:"))
    else:
        host, _, port = place.rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        writer.write(netstring.encode(b"QUERY " + TEST_KEY))
        return await reader.readuntil(b",")
    finally:
        writer.close()
