"""`kns compare` for people: one column a variant, then what they promise differently."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kns.experiment.compare import CompareReport, ModeResult
from kns.report.bench import latency_text, seconds_text
from kns.report.rule_words import wrapped_lines
from kns.report.table import Table, render_table

#: what stands where a variant has no such check or no service could be called
NOTHING = "–"


def compare_text(report: CompareReport, width: int | None = None) -> str:
    """The table, the differences, and the variants that this machine lacks.

    What is wider than `width` goes on in the next line.
    """
    parts = []
    if report.results:
        heads = (report.lab, *(str(result.variant) for result in report.results))
        parts.append(render_table(Table(heads, tuple(_rows(report))), width))
        parts.append(wrapped_lines(_difference_lines(report), width))
    parts += [
        f"{item.variant}: not compared: {item.reason}\n"
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


def _difference_lines(report: CompareReport) -> Iterator[str]:
    names_releases = any(result.variant.release for result in report.results)
    compared = "settings" if names_releases else "modes"
    found = report.differences
    if not found:
        yield f"The {compared} promise the same for this lab."
        return
    yield f"Where the {compared} differ, as promised and as seen:"
    for item in found:
        yield f"  {item.check}"
        width = max(len(variant) for variant in item.expected)
        for variant, expected in item.expected.items():
            seen = f" — {item.actual[variant]}" if item.actual[variant] else ""
            yield f"    {variant:<{width}}  {expected or NOTHING}{seen}"
