"""Problems of a file as JSON."""

from __future__ import annotations

from kns.errors import Problem


def problem_json(problem: Problem) -> dict[str, object]:
    """`{"file", "line", "column", "path", "severity", "message", "hint"}`."""
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "severity": str(problem.severity),
        "message": problem.message,
        "hint": problem.hint,
    }
