"""`kns up`."""

from __future__ import annotations

import contextlib
from typing import Self

import click

from kns.cli.lab_files import existing_files, lab_files_argument
from kns.cli.options import proxy_mode_option, release_option
from kns.cli.output import coloured, on_terminal, print_text, terminal_width
from kns.cli.streams import say, say_problems
from kns.engine import up
from kns.kinds.networking import ProxyMode
from kns.kinds.release import Release
from kns.report.paint import BAD_MARK, GOOD_MARK, Painter, Style
from kns.report.up import changes_text, summary

_GOOD = (GOOD_MARK, Style.GOOD)
_BAD = (BAD_MARK, Style.BAD)


@click.command()
@lab_files_argument
@proxy_mode_option
@release_option
@click.option("--dry-run", is_flag=True, help="Print the plan as a shell script, change nothing.")
def command(
    *,
    files: tuple[str, ...],
    proxy_mode: ProxyMode | None,
    release: Release | None,
    dry_run: bool,
) -> None:
    """Create the lab that LAB.yaml describes, or converge it to the file.

    What is there already is left alone: running it again changes nothing, and running it after
    the file was changed, or after something was broken by hand, touches only what differs.
    """
    path, *more = existing_files(files)
    if dry_run:
        planned = up.dry_run(path, proxy_mode, release, more)
        print_text(planned.script)
        if planned.is_empty:
            say("nothing differs: the lab is as its file says")
        return
    with _Checklist() as checklist:
        result = up.up(
            path, more=more, proxy_mode=proxy_mode, release=release, report=checklist.step
        )
    if result.changes:
        say_problems(result.warnings)
    for problem in result.problems:
        say(f"warning: {problem}")
    print_text(changes_text(result, terminal_width()))
    click.echo(summary(result))


class _Checklist:
    """What `up` is doing: ticked off line by line on a terminal, else plain lines.

    Never fails: that nobody reads it any more (`kns up LAB.yaml | head -1`) or that a disk is full
    is no reason to take the lab back. The summary after it tells.
    """

    def __init__(self) -> None:
        self._terminal = on_terminal()
        self._current = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end(_GOOD if kind is None else _BAD)

    def step(self, text: str) -> None:
        """A step begins; the one before it is done."""
        with contextlib.suppress(OSError):
            if not self._terminal:
                click.echo(text)
                return
            self._end(_GOOD)
            self._current = text
            click.echo(f"… {text}", nl=False)

    def _end(self, mark: tuple[str, Style]) -> None:
        if self._current:
            with contextlib.suppress(OSError):
                click.echo(f"\r{Painter(coloured())(*mark)} {self._current}")
            self._current = ""
