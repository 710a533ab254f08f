"""`kns kill`."""

from __future__ import annotations

from signal import SIGKILL, Signals

import click

from kns.cli.fault_options import PODS
from kns.cli.lab_options import container_option, lab_option, object_argument
from kns.cli.output import output_option, print_json
from kns.engine.kill import kill
from kns.engine.labs import running
from kns.errors import UsageError
from kns.kinds.pod import Pod
from kns.probe.names import find
from kns.promise.location import label


def _signal(_context: click.Context, _parameter: click.Parameter, text: str | None) -> Signals:
    """KILL, SIGKILL or 9."""
    if text is None:
        return SIGKILL
    name = text.upper().removeprefix("SIG")
    found = next((s for s in Signals if name in {s.name.removeprefix("SIG"), str(s.value)}), None)
    if found is None:
        raise UsageError(f"there is no signal {text!r}", hint="TERM, KILL, STOP, … or a number")
    return found


@click.command()
@object_argument("target", "POD", *PODS)
@container_option("all of them")
@click.option("--signal", "number", callback=_signal, metavar="SIGNAL", help="KILL by default.")
@output_option("json")
@lab_option
def command(
    *, target: str, container: str | None, number: Signals, output: str | None, lab: str | None
) -> None:
    """Send a signal to a pod's containers, or to one of them: a crash, by default.

    What ends by it is started again as its restartPolicy says, after a back-off as kubelet's. A
    built-in server ends like a program: its port is closed until then.

    \b
      kns kill web-1
      kns kill job -c main --signal TERM
    """
    found = running(lab)
    pod = find(found.cluster, target, PODS).item
    assert isinstance(pod, Pod)  # noqa: S101 - nothing else is asked for
    kill(found.name, pod, container or "", number)
    where = f"{label(pod)}, container {container}" if container else label(pod)
    if output == "json":
        print_json({"lab": found.name, "pod": pod.full_name, "signal": number.name})
    else:
        click.echo(f"{number.name} to {where}")
