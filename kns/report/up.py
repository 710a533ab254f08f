"""What `kns up` did."""

from __future__ import annotations

from kns.engine.up import UpResult
from kns.report.rule_words import wrapped_lines
from kns.report.words import cluster_size, counted

#: more changes than this are summed up; `kns up --dry-run` shows all
MOST_CHANGES = 40


def changes_text(result: UpResult, width: int | None = None) -> str:
    """A line for each change to a lab that was there already, then what else is worth a word.

    What is wider than `width` goes on in the next line.
    """
    lines: list[str] = []
    if not result.created:
        lines += [f"  {change}" for change in result.changes[:MOST_CHANGES]]
        if len(result.changes) > MOST_CHANGES:
            lines.append(f"  … and {len(result.changes) - MOST_CHANGES} more")
    return wrapped_lines((*lines, *result.notes), width)


def summary(result: UpResult) -> str:
    """The one line that stays: what there is now, and how long it took."""
    if result.created:
        what = "is up"
    elif result.changes:
        what = f"is as its file says, after {counted(len(result.changes), 'change')}"
    elif result.agent_started:
        what = "has nothing to change but its agent, which runs now"
    else:
        what = "has nothing to change"
    return f"{result.lab} {what}: {cluster_size(result.cluster)}, {result.seconds:.2f} s"
