"""`kns up`, `kns down`, `kns ls`, `kns status`."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Self

import click

from kns.cli.files import existing_file, show_problems
from kns.cli.options import (
    lab_argument,
    lab_file_argument,
    lab_option,
    one_lab,
    output_option,
    proxy_mode_option,
)
from kns.cli.streams import say
from kns.errors import KnsError, UsageError

if TYPE_CHECKING:
    from kns.engine.up import UpResult
    from kns.report.status import LabLine

#: `kns status` found a difference: a check failed
EXIT_DRIFT = 1
#: more changes than this are summed up; `kns up --dry-run` shows all
MOST_CHANGES = 40


# -- up --------------------------------------------------------------------------------------------


@click.command()
@lab_file_argument
@proxy_mode_option
@click.option("--dry-run", is_flag=True, help="Print the plan as a shell script, change nothing.")
def up(file: str, proxy_mode: str | None, dry_run: bool) -> None:  # noqa: FBT001
    """Create the lab that LAB.yaml describes, or converge it to the file.

    What is there already is left alone: running it again changes nothing, and running it after
    the file was changed, or after something was broken by hand, touches only what differs.
    """
    from kns.cluster.model import ProxyMode
    from kns.engine import up as engine

    path = existing_file(file)
    mode = ProxyMode(proxy_mode) if proxy_mode else None
    if dry_run:
        from kns.plan.shell import script

        click.echo(script(engine.dry_run(path, mode)), nl=False)
        return
    with Checklist() as checklist:
        result = engine.up(path, proxy_mode=mode, report=checklist.step)
    if result.ops:
        show_problems(result.warnings)
    for problem in result.problems:
        say(f"warning: {problem}")
    if not result.created:
        _show_changes(result.changes)
    for note in result.notes:
        click.echo(note)
    click.echo(summary(result))


def _show_changes(changes: tuple[str, ...]) -> None:
    for change in changes[:MOST_CHANGES]:
        click.echo(f"  {change}")
    if len(changes) > MOST_CHANGES:
        click.echo(f"  … and {len(changes) - MOST_CHANGES} more")


def summary(result: UpResult) -> str:
    """The one line that stays: what there is now, and how long it took."""
    from kns.report.words import cluster_size, counted

    if result.created:
        what = "is up"
    elif result.ops:
        what = f"is as its file says, after {counted(len(result.ops), 'change')}"
    elif result.agent_started:
        what = "has nothing to change but its agent, which runs now"
    else:
        what = "has nothing to change"
    return f"{result.lab} {what}: {cluster_size(result.cluster)}, {result.seconds:.2f} s"


class Checklist:
    """What `up` is doing: ticked off line by line on a terminal, else plain lines.

    Never fails: that nobody reads it any more (`kns up LAB.yaml | head -1`) or that a disk is full
    is no reason to take the lab back. The summary after it tells.
    """

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._current = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end(click.style("✓", fg="green") if kind is None else click.style("✗", fg="red"))

    def step(self, text: str) -> None:
        """A step begins; the one before it is done."""
        with contextlib.suppress(OSError):
            if not self._terminal:
                click.echo(text)
                return
            self._end(click.style("✓", fg="green"))
            self._current = text
            click.echo(f"… {text}", nl=False)

    def _end(self, mark: str) -> None:
        if self._current:
            with contextlib.suppress(OSError):
                click.echo(f"\r{mark} {self._current}")
            self._current = ""


# -- down ------------------------------------------------------------------------------------------


@click.command()
@lab_argument
@lab_option
@click.option("--all", "all_labs", is_flag=True, help="Every lab of this machine.")
def down(lab_name: str | None, lab: str | None, all_labs: bool) -> None:  # noqa: FBT001
    """Remove a lab, or all of them; also half-built ones, also with the YAML gone.

    Does nothing, successfully, if no lab is running.
    """
    from kns.engine import down as engine
    from kns.report.words import counted

    chosen = one_lab(lab_name, lab)
    if all_labs and lab_name:
        raise UsageError("--all and a lab's name exclude each other", hint="leave one out")
    labs = engine.known_labs()
    if not all_labs:
        labs = _one_to_remove(chosen, labs)
    if not labs:
        click.echo("no lab is running" if chosen is None else f"no lab {chosen} is running")
    errors: list[KnsError] = []
    for name in labs:
        try:
            result = engine.down(name)
        except KnsError as error:
            errors.append(error)
        else:
            ended = f"{result.netns} netns, {counted(result.processes, 'process')}"
            click.echo(f"{name} is gone: {ended}, {result.seconds:.2f} s")
    if errors:
        raise errors[0] if len(errors) == 1 else ExceptionGroup("down", errors)


def _one_to_remove(chosen: str | None, labs: tuple[str, ...]) -> tuple[str, ...]:
    if chosen is not None:
        from kns.engine.labs import agent_pid

        # an agent may be all that is left, when somebody has removed netns and files by hand
        return (chosen,) if chosen in labs or agent_pid(chosen) is not None else ()
    if len(labs) > 1:
        raise UsageError(
            f"{len(labs)} labs are running: {', '.join(labs)}", hint="kns down LAB, or --all"
        )
    return labs


# -- ls, status ------------------------------------------------------------------------------------


@click.command()
@output_option("json")
def list_(output: str | None) -> None:
    """List the labs of this machine."""
    from kns.engine.down import known_labs
    from kns.report.status import ls_json, ls_text

    labs = [_lab_line(name) for name in known_labs()]
    if output == "json":
        click.echo(json.dumps(ls_json(labs), indent=2))
    elif labs:
        click.echo(ls_text(labs), nl=False)
    else:
        click.echo("no lab is running", err=True)


def _lab_line(name: str) -> LabLine:
    from kns.engine.labs import agent_pid, lab_netns, running
    from kns.report.status import LabLine

    netns = len(lab_netns(name))
    agent = agent_pid(name) is not None
    try:
        cluster = running(name).cluster
    except KnsError:
        return LabLine(name, netns, agent)
    return LabLine(
        name=name,
        netns=netns,
        agent=agent,
        nodes=len(cluster.nodes),
        pods=len(cluster.pods),
        services=len(cluster.services),
        proxy_mode=str(cluster.network.kube_proxy.mode),
    )


@click.command()
@lab_argument
@lab_option
@output_option("json")
def status(lab_name: str | None, lab: str | None, output: str | None) -> int:
    """Say how a lab is, and what in the kernel is not as its file says.

    Exit code 0 if it is healthy, 1 if it is not.
    """
    from kns.engine.status import status as look
    from kns.report.printable import printable
    from kns.report.status import status_json, status_text

    found = look(one_lab(lab_name, lab))
    if output == "json":
        click.echo(json.dumps(status_json(found), indent=2))
    else:
        click.echo(printable(status_text(found)), nl=False)
    return 0 if found.healthy else EXIT_DRIFT
