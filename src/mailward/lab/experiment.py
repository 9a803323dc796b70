"""The experiment: mail before the attack, under it, and after it; then the next day's reports.

result = run_experiment(cells(), "3.10", print)
for tried in result.tried:
    tried.cell.label, tried.outcome
"""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path

import msgspec

from mailward.lab.attacker import Event
from mailward.lab.evidence import Act, Fate, Outcome, Window, judge, make_window, problems_of, read_act
from mailward.lab.faults import LabFault
from mailward.lab.mta import HOME
from mailward.lab.owner import Known, Told
from mailward.lab.scenarios import Cell, Grip, Lie, Protection
from mailward.lab.site import Sent
from mailward.lab.wire import read_capture
from mailward.lab.world import ATTACKER, ORDINARY, Tell, World, running_world
from mailward.net import clock
from mailward.sender.reportrows import State

_LEARN_SECONDS = 60
_REPORT_SECONDS = 180
_LOOK_SECONDS = 120
_COUNT_SECONDS = 30
_UNDER_WAY = (State.WAITING, State.SENDING)
_SETTLE_SECONDS = 1.0  # for what comes just after the log line: the receiver's queue, datagrams
_BACKOFF_SECONDS = 2.5  # Postfix counts in whole seconds


@dataclass(frozen=True, slots=True)
class Tried:
    """One cell of the table, with everything that was seen."""

    cell: Cell
    before: Act | None
    """A mail from before the attack, where the domain was to be known."""
    attack: Act
    afterwards: Act | None
    """The same message, if it had to wait, when the attack is over."""
    told: tuple[Told, ...]
    """What the owner's platform was told the next day."""
    problems: tuple[str, ...]
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class OwnersPage:
    """What the platform shows the owner of a domain the next day."""

    domain: str
    html: str


@dataclass(frozen=True, slots=True)
class Result:
    version: str
    """Of the sending Postfix, in full."""
    tried: tuple[Tried, ...]
    seconds: float
    page: OwnersPage | None = None
    """Of one domain that there is something to say of, if there is one."""


def run_experiment(cells: Sequence[Cell], version: str, tell: Tell, keep: Path | None = None) -> Result:
    """`version`: 3.7 or 3.10. `tell` hears each step. Raises LabFault."""
    begins = clock.monotonic()
    with running_world(cells, version, tell, keep) as world:
        letters = {cell.label: (_secret(), _secret()) for cell in cells}
        known = [cell for cell in cells if not cell.scenario.is_new]
        first = [cell for cell in known if cell.scenario.has_history]
        tell("Mail before the attack")
        for cell in known:  # else a busy machine is late with a first answer now and then: a first-use gap
            world.site.ask(cell.domain)
        before = _send_before(world, first, {cell.label: letters[cell.label][0] for cell in first})
        _wait_for_policies(world, sum(1 for cell in known if cell.protection.has_policy))
        tell("The attack begins; mail to every domain")
        world.attack(cells)
        secret = {cell.label: letters[cell.label][1] for cell in cells}
        attack = _send_under_attack(world, cells, secret)
        tell("The attack ends; what waits is tried again")
        world.end_attack()
        waiting = [cell for cell in cells if attack.deliveries[cell.recipient].status == "deferred"]
        afterwards = _flush(world, waiting)
        told = _next_day(world, tell)
        full = world.site.postfix.version()
        tried = tuple(
            _put_together(cell, letters[cell.label], (before, attack, afterwards), told) for cell in cells
        )
        page = _owners_page(world, tried)
    return Result(full, tried, clock.monotonic() - begins, page)


def _owners_page(world: World, tried: Sequence[Tried]) -> OwnersPage | None:
    """Of a domain whose mail was kept back, sooner than of another."""
    told = sorted(
        (each for each in tried if each.problems), key=lambda each: each.outcome.fate != Fate.REFUSED
    )
    return OwnersPage(told[0].cell.domain, world.platform.page(told[0].cell.domain)) if told else None


@dataclass(frozen=True, slots=True)
class _Begin:
    at: float
    log_length: int


def _secret() -> str:
    return secrets.token_hex(8)


def _put_together(
    cell: Cell, letters: tuple[str, str], windows: tuple[Window, Window, Window], known: Known
) -> Tried:
    before, attack, afterwards = windows
    act = read_act(cell, letters[1], attack)
    if act is None:
        raise LabFault(f"no mail to {cell.domain} was seen")
    told = tuple(each for each in known.reports if each.domain == cell.domain)
    return Tried(
        cell,
        read_act(cell, letters[0], before),
        act,
        read_act(cell, letters[1], afterwards),
        told,
        problems_of(cell, known.problems),
        judge(act, told),
    )


def _send_before(world: World, cells: Sequence[Cell], secrets: dict[str, str]) -> Window:
    begin = _begin(world)
    # A log in which nobody has had TLS yet is not believed when it shows mail without
    ordinary = f"carol@{ORDINARY}"
    world.site.postfix.send(ordinary)
    world.site.postfix.wait_for([ordinary])
    _post(world, cells, secrets)
    _wait_for_looks(world, cells)
    return _end(world, begin, cells)


def _send_under_attack(world: World, cells: Sequence[Cell], secrets: dict[str, str]) -> Window:
    begin = _begin(world)
    _post(world, cells, secrets)
    broken = [cell.recipient for cell in cells if cell.scenario.grip is Grip.BREAK]
    if broken:
        time.sleep(_BACKOFF_SECONDS)
        world.site.postfix.try_again(broken)
    _wait_for_refreshes(world, cells)
    _wait_for_looks(world, cells)
    _wait_for_counts(world, cells)
    return _end(world, begin, cells)


def _post(world: World, cells: Sequence[Cell], secrets: dict[str, str]) -> None:
    for cell in cells:
        world.site.postfix.send(cell.recipient, f"The account number is {secrets[cell.label]}.")
    world.site.postfix.wait_for([cell.recipient for cell in cells])


def _wait_until(holds: Callable[[], bool], seconds: float, complaint: Callable[[], str]) -> None:
    ends = clock.monotonic() + seconds
    while not holds():
        if clock.monotonic() > ends:
            raise LabFault(complaint())
        time.sleep(0.2)


def _flush(world: World, cells: Sequence[Cell]) -> Window:
    begin = _begin(world)
    if cells:
        world.site.postfix.command("postqueue", "-c", HOME, "-f")
        world.site.postfix.wait_for([cell.recipient for cell in cells])
    return _end(world, begin, cells)


def _begin(world: World) -> _Begin:
    world.site.postfix.leave_log()
    return _Begin(clock.now().timestamp(), len(world.site.log()))


def _end(world: World, begin: _Begin, cells: Sequence[Cell]) -> Window:
    _wait_for_arrivals(world, cells)
    ends = clock.now().timestamp()
    folder = world.folder / ATTACKER
    events = (folder / "events").read_bytes().splitlines()
    site = world.site
    return make_window(
        Window(
            begins=begin.at,
            ends=ends,
            packets=read_capture(world.folder / "wire" / "sender.pcap"),
            events=[msgspec.json.decode(line, type=Event) for line in events],
            log=site.postfix.log(),
            deliveries=site.postfix.deliveries(),
            policy_log=site.log()[begin.log_length :],
            decisions=site.decisions(),
            letters=world.mailboxes.letters(),
            stolen=[path.read_bytes() for path in (folder / "mail").glob("*")],
        )
    )


def _next_day(world: World, tell: Tell) -> Known:
    """Six in the morning: the reports about the day have gone out, and the platform has taken them in."""
    tell("The next day: the sender reports")
    now = clock.now()
    morning = datetime.combine(now.date() + timedelta(days=1), time_of_day(6), UTC)
    world.site.stop()
    days = world.site.counted_days()
    world.platform.go_on(morning - now)
    world.site.go_on(morning - now)
    ends = clock.monotonic() + _REPORT_SECONDS
    while _is_under_way(world.site.days_made(), sent := world.site.reports(), days):
        if clock.monotonic() > ends:
            raise LabFault(f"the reports do not go out: {sent}\n{world.site.log()[-3000:]}")
        time.sleep(0.2)
    tell("The owner's platform takes the reports in")
    delivered = {each.domain for each in sent if each.state == State.DELIVERED}
    while (
        not (known := world.platform.read()).is_settled or {each.domain for each in known.reports} < delivered
    ):
        if clock.monotonic() > ends:
            raise LabFault(f"{len(known.reports)} of {len(delivered)} reports have come")
        time.sleep(1)
    return known


def _is_under_way(made: int, sent: Sequence[Sent], days: int) -> bool:
    return made < days or any(each.state in _UNDER_WAY for each in sent)


def _wait_for_arrivals(world: World, cells: Sequence[Cell]) -> None:
    """The receiver has a queue of its own: until what was sent is in the mailboxes."""
    deliveries = world.site.postfix.deliveries()
    for cell in cells:
        if deliveries[cell.recipient].status == "sent":
            world.mailboxes.wait_for(cell.recipient, 1)
    time.sleep(_SETTLE_SECONDS)


def _wait_for_refreshes(world: World, cells: Sequence[Cell]) -> None:
    """`mailward sender` looks at the records of domains again that had mail lately: until it has tried to fetch every
    policy that the attacker announces.
    """
    announced = [cell for cell in cells if Lie.NEW_ID in cell.scenario.lies and cell.protection.has_policy]
    wanted = {cell.domain for cell in announced}
    _wait_until(
        lambda: wanted <= world.site.not_refreshed(),
        _LEARN_SECONDS,
        lambda: f"not tried to fetch: {sorted(wanted - world.site.not_refreshed())}",
    )


def _wait_for_looks(world: World, cells: Sequence[Cell]) -> None:
    """`mailward sender` looks by itself at the hosts that mail under a testing policy went to over TLS, if Postfix has
    nothing to say against them: two a second.
    """
    testing = {(cell.domain, cell.policy_mx) for cell in cells if cell.protection is Protection.TESTING}
    wanted = {host for _, host in testing & world.site.successes()}
    _wait_until(
        lambda: wanted <= world.site.looked_at(),
        _LOOK_SECONDS,
        lambda: f"not looked at: {sorted(wanted - world.site.looked_at())}",
    )


def _wait_for_counts(world: World, cells: Sequence[Cell]) -> None:
    """What Postfix signals is counted at once; what only its log tells some seconds later. Where it is not counted at
    all, the comparison will say so.
    """
    log, successes = world.site.postfix.log(), dict(world.site.successes())
    deliveries = world.site.postfix.deliveries()
    wanted = set()
    for cell in cells:
        in_clear = deliveries[cell.recipient].status == "sent" and f"established to {cell.mx}[" not in log
        went_to = successes.get(cell.domain)
        outside = cell.protection is Protection.TESTING and went_to not in (None, cell.policy_mx)
        passed_over = f"STS MX pattern for '{cell.domain}'" in log
        if outside or passed_over or (in_clear and went_to is None):
            wanted.add(cell.domain)
    ends = clock.monotonic() + _COUNT_SECONDS
    while wanted - world.site.with_failures() and clock.monotonic() < ends:
        time.sleep(0.5)


def _wait_for_policies(world: World, count: int) -> None:
    """On a busy machine they are learned after the answer."""
    _wait_until(
        lambda: world.site.learned() >= count,
        _LEARN_SECONDS,
        lambda: f"{world.site.learned()} of {count} policies learned:\n{world.site.log()[-3000:]}",
    )
