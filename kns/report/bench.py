"""The benchmark of services as a table and as a plot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from kns.experiment.bench.model import PLACES, BenchPoint, BenchReport, Latency
from kns.kinds.networking import ProxyMode
from kns.report.plot import Line, Panel, plot_svg
from kns.report.rule_words import wrapped_lines
from kns.report.table import Table, render_table

HEADS = (
    "MODE",
    "SERVICES",
    "RULES",
    "ELEMENTS",
    "KIB",
    "FULL SYNC",
    "ONE ENDPOINT",
    *(f"{place.upper()} p50/p99" for place in PLACES),
    "CPU",
)


#: columns of the two tables that it is where there is no room for one: each begins with the point
_SYNCS, _CALLS = range(2, 7), range(7, len(HEADS))
_NOTE = (
    "sync: compute and load; p50/p99: connect() to that service in µs;"
    " CPU: µs of the caller for one connection"
)


def bench_table(report: BenchReport, width: int | None = None) -> str:
    """A row for each mode and size, then what was not measured and why.

    Two tables where one is wider than `width`: what a sync costs, and what a connection costs.
    """
    rows = tuple(_row(point) for point in report.points)
    text = render_table(Table(HEADS, rows))
    if width is not None and max(map(len, text.splitlines())) > width:
        halves = (_part(rows, columns) for columns in (_SYNCS, _CALLS))
        text = "\n".join(render_table(half, width) for half in halves)
    return text + wrapped_lines((_NOTE, *_unmeasured(report)), width)


def _part(rows: Iterable[tuple[str, ...]], columns: range) -> Table:
    chosen = (0, 1, *columns)
    heads, *body = (tuple(row[column] for column in chosen) for row in (HEADS, *rows))
    return Table(heads, tuple(body))


def _row(point: BenchPoint) -> tuple[str, ...]:
    return (
        str(point.mode),
        f"{point.services}",
        f"{point.ruleset.rules}",
        f"{point.ruleset.elements}",
        f"{point.ruleset.size / 1024:.0f}",
        seconds_text(point.full.total),
        seconds_text(point.change.total),
        *(latency_text(point.latency[place]) for place in PLACES),
        f"{point.cpu:.0f}",
    )


def _unmeasured(report: BenchReport) -> Iterator[str]:
    for item in report.unmeasured:
        what = f" from {item.services} services on" if item.services else ""
        yield f"not measured: {item.mode}{what}: {item.reason}"


def seconds_text(seconds: float) -> str:
    """`0.012 s`, `1.23 s`, `123 s`."""
    if seconds < 1:
        return f"{seconds:.3f} s"
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:.0f} s"


def latency_text(latency: Latency) -> str:
    """`120/340`."""
    return f"{latency.p50:.0f}/{latency.p99:.0f}"


def bench_svg(report: BenchReport) -> str:
    """Latency of the last service, full sync and the sync of one endpoint against services."""
    panels = (
        Panel(
            "New connection to the last service",
            "services",
            "µs (line: median, dashed: p99)",
            (
                *_lines(report, lambda point: point.latency["last"].p50),
                *_lines(report, lambda point: point.latency["last"].p99, dashed=True),
            ),
        ),
        Panel("Full sync", "services", "seconds", tuple(_lines(report, lambda p: p.full.total))),
        Panel(
            "Sync of one endpoint",
            "services",
            "seconds",
            tuple(_lines(report, lambda p: p.change.total)),
        ),
    )
    options = report.options
    endpoints = "one endpoint" if options.endpoints == 1 else f"{options.endpoints} endpoints"
    caption = (
        f"kns bench services: {endpoints} a service,"
        f" {options.connections} connections, seed {options.seed};"
        f" Linux {report.kernel}, {report.cpus} CPUs"
    )
    return plot_svg(panels, caption)


def _lines(
    report: BenchReport, value: Callable[[BenchPoint], float], *, dashed: bool = False
) -> Iterator[Line]:
    for mode in ProxyMode:
        points = tuple(
            (float(point.services), value(point)) for point in report.points if point.mode is mode
        )
        if points:
            yield Line(str(mode), points, dashed)
