"""`kns compare` for people: one column a mode, then what the modes promise differently."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kns.experiment.compare import CompareReport, Difference, ModeResult
from kns.report.bench import latency_text, seconds_text
from kns.report.table import Table, render_table

#: what stands where a mode has no such check or no service could be called
NOTHING = "–"


def compare_text(report: CompareReport) -> str:
    """The table, the differences, and the modes that this machine lacks."""
    parts = []
    if report.results:
        heads = (report.lab, *(str(result.mode) for result in report.results))
        parts.append(render_table(Table(heads, tuple(_rows(report)))))
        parts.append("".join(_difference_lines(report.differences)))
    parts += [
        f"{item.mode}: not compared: {item.reason}\n"
        + (f"  hint: {item.hint}\n" if item.hint else "")
        for item in report.missing
    ]
    return "\n".join(part for part in parts if part)


def _rows(report: CompareReport) -> Iterator[tuple[str, ...]]:
    node, subject = report.node, report.subject
    columns: tuple[tuple[str, Callable[[ModeResult], str]], ...] = (
        ("time to build the lab", lambda r: seconds_text(r.up_seconds)),
        (f"rules of {node}", lambda r: str(r.ruleset.rules)),
        ("  elements of sets, servers", lambda r: str(r.ruleset.elements)),
        ("  size as text", lambda r: f"{r.ruleset.size / 1024:.1f} KiB"),
        ("  full sync", lambda r: seconds_text(r.full.total)),
        ("  sync of one endpoint", _change),
        (f"new connection {subject}, p50/p99", _latency),
        ("  who answered", _backends),
        ("promises kept", _verified),
    )
    for name, value in columns:
        yield (name, *(value(result) for result in report.results))


def _change(result: ModeResult) -> str:
    return seconds_text(result.change.total) if result.change else NOTHING


def _latency(result: ModeResult) -> str:
    return f"{latency_text(result.latency)} µs" if result.latency else NOTHING


def _backends(result: ModeResult) -> str:
    found = sorted(result.backends.items())
    return ", ".join(f"{name} {count}" for name, count in found) or NOTHING


def _verified(result: ModeResult) -> str:
    checks = len(result.report.checks)
    return f"{result.report.passed} of {checks}"


def _difference_lines(found: tuple[Difference, ...]) -> Iterator[str]:
    if not found:
        yield "The modes promise the same for this lab.\n"
        return
    yield "Where the modes differ, as promised and as seen:\n"
    for item in found:
        yield f"  {item.check}\n"
        width = max(len(mode) for mode in item.expected)
        for mode, expected in item.expected.items():
            seen = f" — {item.actual[mode]}" if item.actual[mode] else ""
            yield f"    {mode:<{width}}  {expected or NOTHING}{seen}\n"
