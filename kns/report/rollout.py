"""`kns rollout history`: the revisions of a workload."""

from __future__ import annotations

from collections.abc import Sequence

from kns.engine.workload_verbs import WorkloadRevision
from kns.kinds.column_words import NONE
from kns.report.table import Table


def history_table(revisions: Sequence[WorkloadRevision]) -> Table:
    """A row for each revision, in kubectl's columns."""
    rows = ((str(each.number), each.cause or NONE) for each in revisions)
    return Table(("REVISION", "CHANGE-CAUSE"), tuple(rows))


def history_json(revisions: Sequence[WorkloadRevision]) -> dict[str, object]:
    """`{"revisions": [{"revision", "changeCause", "template"}]}`."""
    return {
        "revisions": [
            {"revision": each.number, "changeCause": each.cause, "template": each.template}
            for each in revisions
        ]
    }
