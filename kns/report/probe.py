"""`kns probe` for people: the path, who answered and how often, and why it failed."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from kns.probe.addresses import in_url
from kns.probe.model import Attempt, PingResult, ProbeResult
from kns.promise.flow import Outcome
from kns.report.paint import BAD_MARK, GOOD_MARK, Painter, Part, Style, packed
from kns.report.printable import shown

#: columns of a bar, and how few they may become where a line has no room
BAR_WIDTH, BAR_LEAST = 28, 6
_NEVER = "never answered"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LABEL = 10
_TOOLS = {"tcp": "curl", "udp": "udp", "sctp": "sctp", "icmp": "ping"}


def probe_text(result: ProbeResult, *, colour: bool = False, width: int = 100) -> str:
    """The whole answer, lines with a newline each."""
    paint = Painter(colour)
    return "".join(f"{line}\n" for line in _lines(shown(result), paint, width))


def _lines(result: ProbeResult, paint: Painter, width: int) -> Iterator[str]:
    title = f"{result.source} → {result.target}"
    yield f"{paint(title, Style.TITLE)}   {paint(result.path, Style.NAME)}"
    room = width - _LABEL - 2
    if result.ping is not None and result.protocol != "icmp":
        yield from _fields("ping", packed(_ping(result.ping), room, paint))
    yield from _fields("resolver", packed(_name(result), room, paint))
    yield from _fields(_TOOLS[result.protocol], packed(_outcome(result), room, paint))
    yield from _who(result, paint, width)
    yield from folded("seen", "; ".join(result.notes), width)
    yield from folded("look at", result.reason, width)
    if result.trace:
        yield _field("trace", result.trace)


def _field(label: str, text: str) -> str:
    return f"  {label:<{_LABEL}}{text}"


def folded(label: str, text: str, width: int) -> Iterator[str]:
    """The text under its label, broken between words; nothing if there is none."""
    if not text:
        return
    room = max(width - _LABEL - 2, 40)
    # a name in two lines can't be copied
    lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(lines):
        yield _field("" if number else label, line)


def _fields(label: str, lines: Sequence[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield _field("" if number else label, line)


def _name(result: ProbeResult) -> Iterator[Part]:
    """The name's resolution, as the first thing that a connection by name needs."""
    if not result.hostname or not result.attempts:
        return
    first = result.attempts[0]
    ok = first.outcome is not Outcome.DNS and result.address is not None
    by = ", by /etc/hosts" if result.by_hosts_file else ""
    yield _mark(ok)
    yield f"{result.hostname} {f'is {result.address}{by}' if ok else 'has no address'}", None
    if ok and first.lookup_ms:
        yield f"{first.lookup_ms:.2f} ms", Style.QUIET


def _mark(ok: bool) -> Part:  # noqa: FBT001 - the mark is the flag
    return (GOOD_MARK, Style.GOOD) if ok else (BAD_MARK, Style.BAD)


def _ping(ping: PingResult) -> Iterator[Part]:
    ok = ping.outcome is Outcome.CONNECTED
    yield _mark(ok)
    if ok:
        took = "" if ping.average_ms is None else f" in {ping.average_ms:.3f} ms"
        yield f"{ping.address} answers{took}", None
        return
    yield f"{ping.address}: {ping.outcome}{f' ({ping.detail})' if ping.detail else ''}", None


def _outcome(result: ProbeResult) -> Iterator[Part]:
    counts = Counter(attempt.outcome for attempt in result.attempts)
    refusals = ", ".join(f"HTTP {status}" for status in result.refusals)
    if result.ok and refusals:  # the network is fine, and the server says no
        yield "!", Style.CHANGED
        yield f"{result.outcome}, but {refusals}", Style.CHANGED
    else:
        yield _mark(result.ok)
        yield str(result.outcome), Style.GOOD if result.ok else Style.BAD
    total = len(result.attempts)
    if total > 1:
        parts = [f"{count} {outcome}" for outcome, count in counts.most_common()]
        yield f"{', '.join(parts) if len(counts) > 1 else total} of {total}", None
    if result.address is not None:
        host = f"{in_url(result.address)}:{result.port}" if result.port else str(result.address)
        yield host, None
    if latency := _latency(result):
        yield latency, Style.QUIET


def _latency(result: ProbeResult) -> str:
    found = [attempt.latency_ms for attempt in result.attempts if attempt.latency_ms is not None]
    if not found:
        return ""
    if len(found) == 1:
        return f"{found[0]:.2f} ms"
    spread = f"{min(found):.2f} to {max(found):.2f}"
    return f"median {sorted(found)[len(found) // 2]:.2f} ms ({spread})"


def _who(result: ProbeResult, paint: Painter, width: int) -> Iterator[str]:
    """One line a backend; with several attempts or candidates a bar for its share."""
    counts = result.backends
    names = [*counts, *(name for name in result.candidates if name not in counts)]
    is_nameless = not counts and any(a.outcome is Outcome.CONNECTED for a in result.attempts)
    if len(result.attempts) < 2 or not names or is_nameless:
        for attempt in result.attempts[:1]:
            if attempt.outcome is Outcome.CONNECTED:
                yield from folded("answered", _answered(attempt, result.server), width)
        return
    longest = max(len(name) for name in names)
    total = sum(counts.values())
    by_name = {attempt.backend: attempt for attempt in result.attempts}
    places = [
        str(by_name[name].server_address or "") if name in by_name else _NEVER for name in names
    ]
    # label, name, count and share with the blanks between them, and who has the address
    others = 2 + _LABEL + longest + 2 + 1 + 5 + 2 + 4 + 2 + max(map(len, places))
    size = min(max(width - others, BAR_LEAST), BAR_WIDTH)
    for number, (name, where) in enumerate(zip(names, places, strict=True)):
        count = counts.get(name, 0)
        share = count / total if total else 0.0
        bar = paint(f"{_bar(share, size):<{size}}", Style.GOOD)
        text = f"{name:<{longest}}  {bar} {count:>5}  {share:>4.0%}"
        line = _field("" if number else "answered", f"{text}  {paint(where, Style.QUIET)}")
        yield line.rstrip()


def _bar(share: float, size: int) -> str:
    eighths = round(share * size * 8)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def _answered(attempt: Attempt, server: str) -> str:
    who = attempt.backend or server or "a server that doesn't say who it is"
    container = f", container {attempt.container}" if attempt.container else ""
    at = f" at {attempt.server_address}" if attempt.server_address else ""
    status = f" with HTTP {attempt.status}" if attempt.status else ""
    return f"{who}{container}{at}{status}"
