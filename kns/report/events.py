"""`kns events`: a lab's events in kubectl's columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kns.kinds.column_words import age_text
from kns.kinds.common import Object
from kns.kinds.objects import number, seconds, text
from kns.report.table import Table, render_table

_HEADS = ("LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE")


def events_table(events: Sequence[Object], now: float, *, namespaces: bool = False) -> Table:
    """A row for each event, the oldest first."""
    heads = (("NAMESPACE",) if namespaces else ()) + _HEADS
    rows = tuple(_row(event, now, namespaces=namespaces) for event in oldest_first(events))
    return Table(heads, rows)


def oldest_first(events: Iterable[Object]) -> list[Object]:
    """Events by when they happened at last; those of one second as they were written."""
    return sorted(events, key=lambda event: (_last(event), int(_version(event))))


def event_line(event: Object, before: Table, now: float) -> str:
    """A further row under a table that was printed before."""
    row = _row(event, now, namespaces=len(before.heads) > len(_HEADS))
    return render_table(Table(before.heads, (*before.rows, row))).splitlines()[-1] + "\n"


def _row(event: Object, now: float, *, namespaces: bool) -> tuple[str, ...]:
    last, count = _last(event), number(event, "count")
    first = seconds(text(event, "firstTimestamp")) or last
    seen = age_text(now - last)
    if count > 1:
        seen = f"{seen} (x{count} over {age_text(now - first)})"
    about = f"{text(event, 'involvedObject', 'kind')}/{text(event, 'involvedObject', 'name')}"
    cells = (seen, text(event, "type"), text(event, "reason"), about, text(event, "message"))
    return ((text(event, "metadata", "namespace"),) if namespaces else ()) + cells


def _last(event: Object) -> float:
    """When it happened at last (kubectl's events: series, lastTimestamp, eventTime)."""
    times = (
        text(event, "series", "lastObservedTime"),
        text(event, "lastTimestamp"),
        text(event, "eventTime"),
        text(event, "metadata", "creationTimestamp"),
    )
    return next((found for each in times if (found := seconds(each))), 0.0)


def _version(event: Object) -> str:
    return text(event, "metadata", "resourceVersion") or "0"
