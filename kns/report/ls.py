"""`kns ls` as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from kns.engine.summaries import LabSummary
from kns.report.table import Table, render_table

UNKNOWN = "-"


def ls_text(labs: Iterable[LabSummary]) -> str:
    """A line for each lab."""
    rows = tuple(
        (
            lab.name,
            *(UNKNOWN if n is None else str(n) for n in (lab.nodes, lab.pods, lab.services)),
            lab.proxy_mode or UNKNOWN,
            str(lab.netns),
            "running" if lab.agent else "stopped",
        )
        for lab in labs
    )
    heads = ("NAME", "NODES", "PODS", "SERVICES", "PROXY-MODE", "NETNS", "AGENT")
    return render_table(Table(heads, rows))


def ls_json(labs: Iterable[LabSummary]) -> list[dict[str, object]]:
    """`[{"name", "netns", "agent", "nodes", "pods", "services", "proxy_mode"}]`."""
    return [asdict(lab) for lab in labs]
