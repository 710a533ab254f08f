"""What a plan changes in a lab, a line each: where, and what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kns.compile.names import lab_prefix
from kns.engine.serving import ProgramOp, ServingOp
from kns.plan import shell
from kns.plan.ops import Op


def change_lines(lab: str, ops: Sequence[Op]) -> Iterator[str]:
    """The ops in words, without the lab's prefix."""
    prefix = lab_prefix(lab)
    for op in ops:
        yield f"{op.netns.removeprefix(prefix)}: {shell.describe(op)}".replace(prefix, "")


def serving_lines(lab: str, ops: Sequence[ServingOp]) -> Iterator[str]:
    """The operations in words, without the lab's prefix."""
    for op in ops:
        where = op.netns.removeprefix(lab_prefix(lab))
        if isinstance(op, ProgramOp):
            yield f"{where}: {op.verb} {op.key.removeprefix(f'{lab}/')}"
        else:
            subject = f" for {op.subject}" if op.subject else ""
            yield f"{where}: {op.verb} {op.socket.partition(' ')[2]}{subject}"
