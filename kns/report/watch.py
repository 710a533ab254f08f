"""`kns probe --for` for people: how many were answered, when some were lost, and by whom."""

from __future__ import annotations

from collections.abc import Iterator

from kns.probe.watch_model import Sample, WatchResult
from kns.report.paint import Painter, Style
from kns.report.printable import shown

#: columns of the timeline
COLUMNS = 60
_ALL, _SOME, _NONE = "█", "▒", "·"


def watch_text(result: WatchResult, *, colour: bool = False) -> str:
    """The whole answer, lines with a newline each."""
    return "".join(f"{line}\n" for line in _lines(shown(result), Painter(colour)))


def _lines(result: WatchResult, paint: Painter) -> Iterator[str]:
    host = f"[{result.address}]" if ":" in result.address else result.address
    title = paint(f"{result.source} → {result.target}", Style.TITLE)
    yield (
        f"{title}   {paint(result.path, Style.NAME)}   {host}:{result.port},"
        f" {result.rate:g} a second for {result.seconds:.1f} s"
    )
    style = Style.GOOD if result.ok else Style.BAD
    median, p99, slowest = result.latencies()
    share = result.answered / len(result.samples) if result.samples else 0.0
    words = paint(f"{result.answered:,} of {len(result.samples):,}", style)
    times = f"median {median:.2f} ms, 99% {p99:.2f} ms, slowest {slowest:.1f} ms"
    yield f"  answered  {words} ({share:.1%})  {paint(times, Style.QUIET)}"
    yield f"  timeline  {_timeline(result, paint)}  {result.seconds / COLUMNS:.2f} s a column"
    for window in result.windows:
        yield (
            f"  lost      {window.lost} of {window.sent} between {window.start:.2f} s and"
            f" {window.end:.2f} s: {paint(f'{window.seconds:.2f} s', Style.BAD)}"
        )
    for number, (name, count) in enumerate(result.backends.items()):
        label = "" if number else "backends"
        yield f"  {label:<10}{name}  {count}  {_span(result.samples, name)}"
    for name, count in result.wrong.items():
        yield f"  wrong     {paint(f'{name} answered {count} times and is no backend', Style.BAD)}"


def _timeline(result: WatchResult, paint: Painter) -> str:
    columns: list[list[bool]] = [[] for _ in range(COLUMNS)]
    for sample in result.samples:
        # a request on the border of two columns is the later one's, whatever floats make of it
        column = int(sample.at / (result.seconds or 1.0) * COLUMNS + 1e-9)
        columns[min(column, COLUMNS - 1)].append(sample.answered)
    return "".join(_column(column, paint) for column in columns)


def _column(column: list[bool], paint: Painter) -> str:
    if not column:
        return " "
    if all(column):
        return paint(_ALL, Style.GOOD)
    return paint(_SOME if any(column) else _NONE, Style.BAD)


def _span(samples: tuple[Sample, ...], name: str) -> str:
    times = [sample.at for sample in samples if sample.answered and sample.backend == name]
    return f"from {times[0]:.2f} s to {times[-1]:.2f} s"
