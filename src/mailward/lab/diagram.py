"""Pictures of what was found, as SVG that stands in the page: no script, colours by classes of `lab.css`."""

from mailward.lab.evidence import Fate
from mailward.lab.experiment import Tried
from mailward.lab.scenarios import Lie
from mailward.lab.telling import say
from mailward.render.markup import Child, Markup, element

_WIDTH, _HEIGHT = 340, 150
_LEFT, _MIDDLE, _RIGHT = 46, 170, 294
_LINE = 62


def _text(x: int, y: int, words: str, class_: str = "lab-words") -> Markup:
    return element("text", words, class_=class_, x=x, y=y, text_anchor="middle")


def _line(x1: int, x2: int, class_: str, y: int = _LINE) -> Markup:
    return element("line", x1=x1, y1=y, x2=x2, y2=y, class_=class_)


def _box(x: int, label: str, class_: str = "lab-host") -> list[Markup]:
    return [
        element("rect", x=x - 40, y=_LINE - 16, width=80, height=32, rx=6, class_=class_),
        _text(x, _LINE + 5, label, "lab-name"),
    ]


def _lock(x: int, *, is_caught: bool) -> list[Markup]:
    caught = " lab-caught" if is_caught else ""
    arc = f"M{x - 4} {_LINE - 6} v-3 a4 4 0 0 1 8 0 v3"
    return [
        element("path", d=arc, class_=f"lab-bow{caught}"),
        element("rect", x=x - 6, y=_LINE - 6, width=12, height=10, rx=2, class_=f"lab-lock{caught}"),
    ]


def _letter(x: int) -> list[Markup]:
    flap = f"M{x - 9} {_LINE - 6} l9 7 l9 -7"
    return [
        element("rect", x=x - 9, y=_LINE - 6, width=18, height=12, rx=1, class_="lab-letter"),
        element("path", d=flap, class_="lab-flap"),
    ]


def _cross(x: int) -> Markup:
    return element("path", d=f"M{x - 6} {_LINE - 6} l12 12 m0 -12 l-12 12", class_="lab-cross")


def draw(tried: Tried) -> Markup:
    """Sender, path and receiver, with what went over each half of the path."""
    outcome, scenario = tried.outcome, tried.cell.scenario
    said = say(tried)
    went = outcome.fate in (Fate.CLEAR, Fate.ENCRYPTED)
    near, far = (_LEFT + _MIDDLE) // 2, (_MIDDLE + _RIGHT) // 2
    parts: list[Child] = [element("title", f"{tried.cell.protection.words}: {said.text}")]
    parts += _path(tried, went=went)
    if went and outcome.fate is Fate.CLEAR:
        parts += _letter(near)
    elif went:
        parts += _lock(near, is_caught=outcome.is_intercepted)
    else:
        parts.append(_cross(near))
    if went and outcome.is_intercepted:
        parts += _letter(far) if outcome.fate is Fate.CLEAR else _lock(far, is_caught=True)
    parts += _box(_LEFT, "Sender")
    if scenario.is_attack:
        parts += _box(_MIDDLE, "Attacker", "lab-host lab-thief" if outcome.is_intercepted else "lab-host")
    parts += _box(_RIGHT, "Receiver")
    parts.append(_text(_MIDDLE, 18, _knowledge(tried)))
    parts.append(_text(_MIDDLE, 112, _caption(tried), f"lab-caption lab-is-{said.tone}"))
    parts.append(_text(_MIDDLE, 134, said.reported, "lab-words"))
    return element(
        "svg",
        *parts,
        class_="lab-path",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=f"{tried.cell.protection.words}: {said.text}, {said.reported}",
    )


def _path(tried: Tried, *, went: bool) -> list[Child]:
    outcome = tried.outcome
    kind = "lab-wire lab-clear" if outcome.fate is Fate.CLEAR else "lab-wire lab-tls"
    if outcome.is_intercepted:
        kind += " lab-caught"
    if not went:
        return [_line(_LEFT, (_LEFT + _MIDDLE) // 2, "lab-wire"), _line(_MIDDLE, _RIGHT, "lab-wire lab-idle")]
    return [_line(_LEFT, _MIDDLE, kind), _line(_MIDDLE, _RIGHT, kind)]


def _knowledge(tried: Tried) -> str:
    """What the sender's decision rests on."""
    decision = next((step.text for step in tried.attack.steps if step.text.startswith("tells Postfix")), "")
    if "(" not in decision.partition(":")[0]:
        return "the sender knows of no protection"
    row = decision.partition("(")[2].partition(")")[0]
    return f"the sender's decision: {row}"


def _caption(tried: Tried) -> str:
    outcome = tried.outcome
    if outcome.fate is Fate.REFUSED:
        return "the sender keeps the mail"
    if outcome.is_intercepted:
        forged = Lie.MX in tried.cell.scenario.lies
        if outcome.fate is Fate.CLEAR:
            return "anybody on the path reads the mail"
        return "TLS, with the attacker's own host" if forged else "TLS, but with the attacker"
    return (
        "TLS from end to end" if outcome.fate is Fate.ENCRYPTED else "anybody on the path can read the mail"
    )


_NETWORK_WORDS = (
    "Sender, then attacker; behind him receiver, DNS and platform: everything passes through his host."
)
_BEHIND = (
    (62, "receiver", "10.77.16.n", "Postfix"),
    (190, "DNS", "10.77.0.53", "signed zones"),
    (318, "platform", "10.77.0.200", "mailward serve"),
)


def draw_network() -> Markup:
    """Who is where."""
    parts: list[Child] = [element("title", "The hosts of the lab"), _wire(190, 62, 190, 120)]
    parts += [_wire(190, 176, x, 236) for x, *_ in _BEHIND]
    parts += _host(190, 8, "sender", "10.78.0.2", "Postfix, mailward sender", width=190)
    parts += _host(190, 120, "attacker", "10.77.0.1", "on the path", is_thief=True)
    for x, name, where, what in _BEHIND:
        parts += _host(x, 236, name, where, what)
    return element(
        "svg", *parts, class_="lab-network", viewBox="0 0 380 300", role="img", aria_label=_NETWORK_WORDS
    )


def _wire(x1: int, y1: int, x2: int, y2: int) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_="lab-wire")


def _host(
    x: int, y: int, name: str, where: str, what: str, *, width: int = 116, is_thief: bool = False
) -> list[Markup]:
    class_ = "lab-host lab-thief" if is_thief else "lab-host"
    return [
        element("rect", x=x - width // 2, y=y, width=width, height=56, rx=6, class_=class_),
        _text(x, y + 18, name, "lab-name"),
        _text(x, y + 34, where),
        _text(x, y + 49, what),
    ]
