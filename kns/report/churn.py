"""`kns churn` for people: what was lost when and why, who answered, and how connections ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kns.experiment.churn.model import STREAMS, BackendSpan, ChurnResult, Event, Loss
from kns.probe.load.model import Break, Cause, Kind
from kns.report.paint import Painter, Style, packed
from kns.report.printable import printable
from kns.report.probe import folded
from kns.report.watch import column_of, timeline
from kns.report.words import counted

#: a line's label, and the columns of the timelines beside it
LABEL, COLUMNS = 18, 60
#: the events that are all told; of more only those that cost something
ALL_EVENTS = 20
#: lines of backends, and of broken connections
MOST_LINES = 24
KIND_WORDS = {
    Kind.CONNECTION: "new connections",
    Kind.HELD: "held connections",
    Kind.FLOW: "UDP flows",
    Kind.QUERY: "UDP queries",
}
_HOW = {"reset": "reset", "closed": "closed by the server", "silence": "silent"}


def churn_text(result: ChurnResult, *, colour: bool = False, width: int = 80) -> str:
    """The whole answer, lines with a newline each."""
    paint = Painter(colour)
    parts = (_head, _counts, _timelines, _events, _breaks, _backends, _tail)
    return "".join(f"{line}\n" for part in parts for line in part(result, paint, width))


def title(result: ChurnResult) -> tuple[str, str, str]:
    """From where to where, which path, and what was sent there."""
    host = _in_url(result.address)
    ports = [f"{host}:{result.tcp_port} (TCP)"] if result.tcp_port else []
    ports += [f"{host}:{result.udp_port} (UDP)"] if result.udp_port else []
    ends = printable(f"{result.source} → {result.target}")
    sent = f"{', '.join(ports)}, {result.rate:g} a second for {result.seconds:.1f} s"
    return ends, result.path, sent


def _in_url(address: str) -> str:
    """The address as a URL has it."""
    return f"[{address}]" if ":" in address else address


def causes_text(causes: dict[Cause, int]) -> str:
    """`3 refused, 1 timeout`."""
    return ", ".join(f"{count:,} {cause}" for cause, count in causes.items())


def _head(result: ChurnResult, paint: Painter, width: int) -> Iterator[str]:
    ends, path, sent = title(result)
    parts = ((ends, Style.TITLE), (path, Style.NAME), (sent, None))
    yield from packed(parts, width, paint, gap=3)


def _counts(result: ChurnResult, paint: Painter, width: int) -> Iterator[str]:
    for item in result.kinds:
        style = Style.BAD if item.lost else Style.GOOD
        parts = [(f"{item.answered:,} of {len(item.exchanges):,} answered", style)]
        if item.kind in STREAMS:
            noun = "connection" if item.kind is Kind.HELD else "flow"
            parts = [(f"{counted(item.streams, noun)}, {parts[0][0]}", style)]
        if item.lost:
            parts.append((f"lost: {causes_text(item.causes)}", style))
        median, p99, slowest = item.latencies()
        times = f"median {median:.2f} ms, 99% {p99:.2f} ms, slowest {slowest:.1f} ms"
        more: list[tuple[str, Style | None]] = [*parts, (times, Style.QUIET)]
        for number, line in enumerate(packed(more, width - LABEL - 2, paint)):
            yield _labelled("" if number else KIND_WORDS[item.kind], line)


def _labelled(label: str, line: str) -> str:
    return f"  {label:<{LABEL}}{line}"


# -- timelines -------------------------------------------------------------------------------------


def _timelines(result: ChurnResult, paint: Painter, width: int) -> Iterator[str]:
    size = max(min(COLUMNS, width - LABEL - 2), 10)
    yield ""
    if result.events:
        yield _labelled("events", _marks(result.events, result.seconds, size))
    for item in result.kinds:
        line = timeline(item.exchanges, result.seconds, size, paint)
        yield _labelled(KIND_WORDS[item.kind], line)
    for backend in result.backends[:MOST_LINES]:
        yield _labelled(_short(backend.name), _lane(result, backend, size, paint))
    yield _labelled("", paint(f"{result.seconds / size:.2f} s a column", Style.QUIET))


def _short(name: str) -> str:
    text = printable(name)
    return text if len(text) < LABEL else f"{text[: LABEL - 2]}…"


def _marks(events: Sequence[Event], seconds: float, size: int) -> str:
    """The number of each event where it happened, or as near after it as there is room."""
    line = [" "] * size
    for number, event in enumerate(events, start=1):
        text = str(number)
        place = column_of(event.at, seconds, size)
        while place + len(text) <= size and set(line[place : place + len(text) + 1]) != {" "}:
            place += 1
        if place + len(text) <= size:
            line[place : place + len(text)] = text
    return "".join(line).rstrip()


def _lane(result: ChurnResult, backend: BackendSpan, size: int, paint: Painter) -> str:
    """When the backend answered."""
    who = (backend.name, backend.address)
    columns = {
        column_of(item.ended, result.seconds, size)
        for item in result.exchanges
        if (item.backend, item.server) == who
    }
    line = "".join("▬" if number in columns else " " for number in range(size)).rstrip()
    return paint(line, Style.NAME)


# -- what was lost ---------------------------------------------------------------------------------


def _events(result: ChurnResult, paint: Painter, width: int) -> Iterator[str]:
    before, *losses = result.losses
    yield ""
    for item in before:
        yield from _loss("before", item, paint, width)
    hidden = 0
    for number, (event, lost) in enumerate(zip(result.events, losses, strict=True), start=1):
        if not lost and len(result.events) > ALL_EVENTS and number not in (1, len(losses)):
            hidden += 1
            continue
        text = printable(event.text)
        room = width - 15
        text = text if len(text) <= room else f"{text[: room - 1]}…"
        yield f"  {number:>3}  {event.at:6.2f} s  {text}"
        for item in lost:
            yield from _loss("", item, paint, width)
    if hidden:
        yield f"       {counted(hidden, 'more event')} cost nothing"


def _loss(label: str, item: Loss, paint: Painter, width: int) -> Iterator[str]:
    window = f"{item.start:.2f} s to {item.end:.2f} s: {item.end - item.start:.2f} s"
    parts = (
        (f"{KIND_WORDS[item.kind]}:", None),
        (f"lost {causes_text(item.causes)};", Style.BAD),
        (window, None),
    )
    for number, line in enumerate(packed(parts, width - 15, paint, gap=1)):
        yield f"  {'' if number else label:<13}{'  ' if number else ''}{line}"


def _breaks(result: ChurnResult, paint: Painter, width: int) -> Iterator[str]:
    if not result.breaks:
        return
    yield ""
    for number, item in enumerate(result.breaks[:MOST_LINES]):
        label = "" if number else "broken"
        for row, line in enumerate(packed(_break(result, item), width - 10, paint, gap=1)):
            yield f"  {'' if row else label:<8}{'  ' if row else ''}{line}"
    if len(result.breaks) > MOST_LINES:
        yield f"          and {len(result.breaks) - MOST_LINES} more"


def _break(result: ChurnResult, item: Break) -> tuple[tuple[str, Style | None], ...]:
    backend = printable(item.backend) or "nobody who says who it is"
    where = f" ({item.server})" if item.server else ""
    again = result.again(item)
    back = "not connected again" if again is None else f"again after {again:.2f} s"
    return (
        (f"connection {item.stream + 1} {_HOW[item.how]}", Style.BAD),
        (f"at {item.ended:.2f} s, {backend}{where};", None),
        (f"last heard {item.heard:.2f} s, {back}", None),
    )


# -- who answered ----------------------------------------------------------------------------------


def _backends(result: ChurnResult, paint: Painter, _width: int) -> Iterator[str]:
    found = result.backends
    if not found:
        return
    name = max(7, *(len(printable(b.name)) for b in found))
    address = max(7, *(len(b.address) for b in found))
    yield ""
    head = f"{'backend':<{name}}  {'address':<{address}}  {'before':>7} {'during':>7} {'after':>7}"
    yield f"  {paint(f'{head}  first seen  last seen', Style.QUIET)}"
    for item in found[:MOST_LINES]:
        counts = f"{item.before:>7,} {item.during:>7,} {item.after:>7,}"
        times = f"{item.first:>8.2f} s  {item.last:>7.2f} s"
        yield f"  {printable(item.name):<{name}}  {item.address:<{address}}  {counts}  {times}"
    if len(found) > MOST_LINES:
        yield f"  and {len(found) - MOST_LINES} more"


def _tail(result: ChurnResult, paint: Painter, width: int) -> Iterator[str]:
    median, p99, most = result.lateness
    yield ""
    late = f"the client itself was late by {median:.2f} ms (median), {p99:.2f} ms (99%)"
    yield f"  {paint(f'{late}, {most:.1f} ms at most', Style.QUIET)}"
    for note in result.notes:
        yield from folded("look at", printable(note), width)
    if result.failure:
        yield from folded("failed", printable(result.failure), width)
