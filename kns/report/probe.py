"""`kns probe` for people: the path, who answered and how often, and why it failed."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator

from kns.probe.model import Attempt, PingResult, ProbeResult
from kns.promise.flow import Outcome
from kns.report.paint import Painter, Style
from kns.report.printable import shown

BAR_WIDTH = 28
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
    if result.ping is not None and result.protocol != "icmp":
        yield _field("ping", _ping(result.ping, paint))
    yield from _name(result, paint)
    yield _field(_TOOLS[result.protocol], _outcome(result, paint))
    yield from _who(result, paint)
    yield from _fold("seen", "; ".join(result.notes), width)
    if result.reason:
        yield from _fold("look at", result.reason, width)


def _field(label: str, text: str) -> str:
    return f"  {label:<{_LABEL}}{text}"


def _fold(label: str, text: str, width: int) -> Iterator[str]:
    if not text:
        return
    lines = textwrap.wrap(text, max(width - _LABEL - 2, 40), break_long_words=False)
    for number, line in enumerate(lines):
        yield _field("" if number else label, line)


def _name(result: ProbeResult, paint: Painter) -> Iterator[str]:
    """The name's resolution, as the first thing that a connection by name needs."""
    if not result.hostname or not result.attempts:
        return
    first = result.attempts[0]
    ok = first.outcome is not Outcome.DNS
    took = paint(f"  {first.lookup_ms:.2f} ms", Style.QUIET) if ok and first.lookup_ms else ""
    words = f"{result.hostname} is {result.address}" if ok else f"{result.hostname} has no address"
    yield _field("resolver", f"{_mark(ok, paint)} {words}{took}")


def _mark(ok: bool, paint: Painter) -> str:  # noqa: FBT001 - the mark is the flag
    return paint("✔", Style.GOOD) if ok else paint("✘", Style.BAD)


def _ping(ping: PingResult, paint: Painter) -> str:
    ok = ping.outcome is Outcome.CONNECTED
    if ok and ping.average_ms is not None:
        words = f"{ping.address} answers in {ping.average_ms:.3f} ms"
    elif ok:
        words = f"{ping.address} answers"
    else:
        words = f"{ping.address}: {ping.outcome}{f' ({ping.detail})' if ping.detail else ''}"
    return f"{_mark(ok, paint)} {words}"


def _outcome(result: ProbeResult, paint: Painter) -> str:
    counts = Counter(attempt.outcome for attempt in result.attempts)
    style = Style.GOOD if result.ok else Style.BAD
    total = len(result.attempts)
    words = paint(str(result.outcome), style)
    if total > 1:
        parts = [f"{count} {outcome}" for outcome, count in counts.most_common()]
        words += f"  {', '.join(parts)} of {total}" if len(counts) > 1 else f"  {total} of {total}"
    return f"{_mark(result.ok, paint)} {words}{_where(result)}{_latency(result, paint)}"


def _where(result: ProbeResult) -> str:
    if not result.address:
        return ""
    host = f"[{result.address}]" if ":" in result.address and result.port else result.address
    return f"  {host}:{result.port}" if result.port else f"  {host}"


def _latency(result: ProbeResult, paint: Painter) -> str:
    found = [attempt.latency_ms for attempt in result.attempts if attempt.latency_ms is not None]
    if not found:
        return ""
    if len(found) == 1:
        return paint(f"  {found[0]:.2f} ms", Style.QUIET)
    spread = f"{min(found):.2f} to {max(found):.2f}"
    return paint(f"  median {sorted(found)[len(found) // 2]:.2f} ms ({spread})", Style.QUIET)


def _who(result: ProbeResult, paint: Painter) -> Iterator[str]:
    """One line a backend; with several attempts or candidates a bar for its share."""
    counts = result.backends
    names = [*counts, *(name for name in result.candidates if name not in counts)]
    is_nameless = not counts and any(a.outcome is Outcome.CONNECTED for a in result.attempts)
    if len(result.attempts) < 2 or not names or is_nameless:
        for attempt in result.attempts[:1]:
            if attempt.outcome is Outcome.CONNECTED:
                yield _field("answered", _answered(attempt))
        return
    longest = max(len(name) for name in names)
    total = sum(counts.values())
    by_name = {attempt.backend: attempt for attempt in result.attempts}
    for number, name in enumerate(names):
        count = counts.get(name, 0)
        share = count / total if total else 0.0
        bar = paint(f"{_bar(share):<{BAR_WIDTH}}", Style.GOOD)
        text = f"{name:<{longest}}  {bar} {count:>5}  {share:>4.0%}"
        where = by_name[name].server_address if name in by_name else "never answered"
        line = _field("" if number else "answered", f"{text}  {paint(where, Style.QUIET)}")
        yield line.rstrip()


def _bar(share: float) -> str:
    eighths = round(share * BAR_WIDTH * 8)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def _answered(attempt: Attempt) -> str:
    who = attempt.backend or "a server that doesn't say who it is"
    container = f", container {attempt.container}" if attempt.container else ""
    at = f" at {attempt.server_address}" if attempt.server_address else ""
    status = f" with HTTP {attempt.status}" if attempt.status else ""
    return f"{who}{container}{at}{status}"
