"""`kns down`."""

from __future__ import annotations

import click

from kns.cli.lab_options import lab_argument, lab_option, one_lab
from kns.engine import down
from kns.engine.labs import agent_pid
from kns.errors import KnsError, UsageError
from kns.report.words import counted


@click.command()
@lab_argument
@lab_option
@click.option("--all", "all_labs", is_flag=True, help="Every lab of this machine.")
def command(*, lab_name: str | None, lab: str | None, all_labs: bool) -> None:
    """Remove a lab, or all of them; also half-built ones, also with the YAML gone.

    Does nothing, successfully, if no lab is running.
    """
    chosen = one_lab(lab_name, lab)
    if all_labs and lab_name:
        raise UsageError("--all and a lab's name exclude each other", hint="leave one out")
    labs = down.removable_labs()
    if not all_labs:
        labs = _one_to_remove(chosen, labs)
    if not labs:
        click.echo("no lab is running" if chosen is None else f"no lab {chosen} is running")
        if chosen is not None and (others := down.removable_labs()):
            click.echo(f"hint: running: {', '.join(others)}", err=True)
    errors: list[KnsError] = []
    for name in labs:
        try:
            result = down.down(name)
        except KnsError as error:
            errors.append(error)
        else:
            ended = f"{result.netns} netns, {counted(result.processes, 'process')}"
            click.echo(f"{name} is gone: {ended}, {result.seconds:.2f} s")
    if errors:
        raise errors[0] if len(errors) == 1 else ExceptionGroup("down", errors)


def _one_to_remove(chosen: str | None, labs: tuple[str, ...]) -> tuple[str, ...]:
    if chosen is not None:
        # an agent may be all that is left, when somebody has removed netns and files by hand
        return (chosen,) if chosen in labs or agent_pid(chosen) is not None else ()
    if len(labs) > 1:
        raise UsageError(
            f"{len(labs)} labs are running: {', '.join(labs)}", hint="kns down LAB, or --all"
        )
    return labs
