"""`kns probe --for`: apart from `kns probe`, which needs no event loop."""

from __future__ import annotations

import sys

import click

from kns.cli.exits import EXIT_FAILED
from kns.cli.output import coloured, print_json, print_text, width
from kns.engine.labs import RunningLab
from kns.probe.ask.places import places_of
from kns.probe.load.model import DEFAULT_TIMEOUT
from kns.probe.watch import Watch, watch
from kns.report.watch import watch_text

__all__ = ["DEFAULT_TIMEOUT", "Watch", "watch_lab"]


def watch_lab(lab: RunningLab, ends: tuple[str, str], wanted: Watch, output: str | None) -> int:
    """Watch, show what came of it, and return the exit code."""

    def progress(second: int, answered: int, sent: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"  {second} s: {answered} of {sent} answered", err=True)

    result = watch(lab.cluster, places_of(lab.name, lab.paths), ends, wanted, progress)
    if output == "json":
        print_json(result.to_json())
    else:
        print_text(watch_text(result, colour=coloured(), width=width()))
    return 0 if result.ok else EXIT_FAILED
