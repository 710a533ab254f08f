"""`kns probe --for` for people: how many were answered, when some were lost, and by whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kns.probe.addresses import in_url
from kns.probe.watch_model import Sample, Timed, WatchResult
from kns.report.paint import Painter, Style, packed
from kns.report.printable import shown
from kns.report.probe import folded

#: columns of the timeline, and what stands beside it
COLUMNS, _BESIDE = 60, 12 + len("  0.00 s a column")
_ALL, _SOME, _NONE = "█", "▒", "·"


def watch_text(result: WatchResult, *, colour: bool = False, width: int = 100) -> str:
    """The whole answer, lines with a newline each."""
    return "".join(f"{line}\n" for line in _lines(shown(result), Painter(colour), width))


def _lines(result: WatchResult, paint: Painter, width: int) -> Iterator[str]:
    host = in_url(result.address)
    yield from packed(
        (
            (f"{result.source} → {result.target}", Style.TITLE),
            (result.path, Style.NAME),
            (f"{host}:{result.port}, {result.rate:g} a second for {result.seconds:.1f} s", None),
        ),
        width,
        paint,
        gap=3,
    )
    style = Style.GOOD if result.ok else Style.BAD
    median, p99, slowest = result.latencies()
    share = result.answered / len(result.samples) if result.samples else 0.0
    counts = f"{result.answered:,} of {len(result.samples):,}"
    times = f"median {median:.2f} ms, 99% {p99:.2f} ms, slowest {slowest:.1f} ms"
    parts = [(f"{counts} ({share:.1%})", style)]
    parts += [(times, Style.QUIET)] if result.answered else []
    for number, line in enumerate(packed(parts, width - 12, paint)):
        yield f"  {'' if number else 'answered':<10}{line}"
    columns = max(min(COLUMNS, width - _BESIDE), 10)
    a_column = f"{result.seconds / columns:.2f} s a column"
    line = timeline(result.samples, result.seconds, columns, paint)
    yield f"  timeline  {line}  {a_column}"
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
    yield from folded("look at", result.reason, width)


def timeline(samples: Sequence[Timed], seconds: float, size: int, paint: Painter) -> str:
    """A column for each part of the time: all answered, some, none; a blank: nothing was sent."""
    columns: list[list[bool]] = [[] for _ in range(size)]
    for sample in samples:
        columns[column_of(sample.at, seconds, size)].append(sample.answered)
    return "".join(_column(column, paint) for column in columns)


def column_of(at: float, seconds: float, size: int) -> int:
    """The column of a time."""
    # what is on the border of two columns is the later one's, whatever floats make of it
    return min(max(int(at / (seconds or 1.0) * size + 1e-9), 0), size - 1)


def _column(column: list[bool], paint: Painter) -> str:
    if not column:
        return " "
    if all(column):
        return paint(_ALL, Style.GOOD)
    return paint(_SOME if any(column) else _NONE, Style.BAD)


def _span(samples: tuple[Sample, ...], name: str) -> str:
    times = [sample.at for sample in samples if sample.answered and sample.backend == name]
    return f"from {times[0]:.2f} s to {times[-1]:.2f} s"
