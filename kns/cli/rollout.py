"""`kns rollout`."""

from __future__ import annotations

import click

from kns.cli.exits import EXIT_FAILED
from kns.cli.lab_options import lab_option, namespace_option
from kns.cli.live_change import change_lab, complete_workload, timeout_option
from kns.cli.options import waiting_option
from kns.cli.output import output_option, print_json, print_text
from kns.cli.streams import say
from kns.engine import workload_verbs
from kns.engine.api_client import connect
from kns.engine.labs import running
from kns.errors import UsageError
from kns.labfile.dump import dump_yaml
from kns.report.rollout import history_json, history_table
from kns.report.table import render_table


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Roll a Deployment, StatefulSet or DaemonSet over to new pods, or back.

    \b
      kns rollout restart web
      kns rollout undo deployment/web --to-revision 2
    """


_name_argument = click.argument("name", metavar="NAME", shell_complete=complete_workload)


@command.command()
@_name_argument
@namespace_option
@timeout_option
@output_option("json")
@lab_option
def restart(
    *, name: str, namespace: str, timeout: float, output: str | None, lab: str | None
) -> int:
    """Have new pods in the place of those that there are, by the workload's own strategy.

    Exit code 1 if they are not ready in time.
    """
    return change_lab(
        lab,
        lambda client: iter([workload_verbs.restart(client, name, namespace)]),
        timeout,
        output,
    )


@command.command()
@_name_argument
@click.option("--to-revision", default=0, type=click.IntRange(min=0), help="Not the one before.")
@namespace_option
@timeout_option
@output_option("json")
@lab_option
def undo(
    *,
    name: str,
    to_revision: int,
    namespace: str,
    timeout: float,
    output: str | None,
    lab: str | None,
) -> int:
    """Bring an earlier template of the pods back: the one before, or that of a revision.

    Exit code 1 if the pods are not ready in time.
    """
    return change_lab(
        lab,
        lambda client: iter([workload_verbs.undo(client, name, namespace, to_revision)]),
        timeout,
        output,
    )


@command.command()
@_name_argument
@waiting_option(300.0, "How long to wait for the end; 0: only say how it is.")
@namespace_option
@output_option("json")
@lab_option
def status(
    *, name: str, timeout: float, namespace: str, output: str | None, lab: str | None
) -> int:
    """Tell what a rollout waits for, until it is complete. Exit code 1 if it is not in time."""
    client = connect(running(lab))
    is_complete, told = False, []
    for progress in workload_verbs.rollout_progress(client, name, namespace, timeout):
        told.append(progress.text)
        if output is None:
            click.echo(progress.text)
        is_complete = progress.is_complete
    if output == "json":
        print_json({"complete": is_complete, "progress": told})
    elif not is_complete:
        say(f"hint: kns events -n {namespace} tells why")
    return 0 if is_complete else EXIT_FAILED


@command.command()
@_name_argument
@click.option("--revision", default=0, type=click.IntRange(min=0), help="The template of one.")
@namespace_option
@output_option("json")
@lab_option
def history(
    *, name: str, revision: int, namespace: str, output: str | None, lab: str | None
) -> None:
    """List the revisions that a workload had, the one of now last."""
    found = workload_verbs.history(connect(running(lab)), name, namespace)
    if revision:
        found = tuple(each for each in found if each.number == revision)
        if not found:
            raise UsageError(
                f"{name} has no revision {revision}", hint=f"kns rollout history {name}"
            )
    if output == "json":
        print_json(history_json(found))
    elif revision:
        print_text(dump_yaml(found[0].template))
    else:
        print_text(render_table(history_table(found)))
