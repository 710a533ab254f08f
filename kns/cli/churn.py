"""`kns churn`: what a change costs the traffic."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from kns.cli.exits import EXIT_FAILED
from kns.cli.lab_options import destination_argument, lab_option, source_argument
from kns.cli.options import duration
from kns.cli.output import coloured, output_option, print_json, print_text, width
from kns.engine.labs import running
from kns.errors import UsageError
from kns.experiment.churn.drive import scenario_change
from kns.experiment.churn.run import Wanted, churn, command_change, waiting
from kns.experiment.churn.scenarios import ChurnScenario, Manner
from kns.probe.load.model import DEFAULT_TIMEOUT
from kns.report.churn import churn_text
from kns.report.churn_svg import churn_svg


@click.command()
@source_argument
@destination_argument
@click.option(
    "--while",
    "line",
    metavar="'CMD'",
    help="The change: a shell command, in which `kns` means this lab.",
)
@click.option(
    "--scenario",
    type=click.Choice([str(scenario) for scenario in ChurnScenario]),
    help="The change: this happens to the pods of the service DST.",
)
@click.option(
    "--abrupt",
    is_flag=True,
    help="With --scenario: pods come and go at once, without readiness, preStop and grace.",
)
@click.option(
    "--without-conntrack-cleanup",
    is_flag=True,
    help="With --scenario: kube-proxy leaves UDP entries of endpoints that are gone.",
)
@click.option(
    "--for",
    "seconds",
    metavar="TIME",
    callback=duration,
    help="No change of its own: send for so long, while you make one elsewhere: 10s, 2m.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 2000),
    default=50.0,
    show_default=True,
    help="So many new connections a second, and as many UDP queries.",
)
@click.option(
    "--held",
    type=click.IntRange(0, 500),
    default=10,
    show_default=True,
    help="So many connections that stay open, with ten heartbeats a second each.",
)
@click.option(
    "--flows",
    type=click.IntRange(0, 500),
    default=10,
    show_default=True,
    help="So many UDP flows of a source port each, with ten datagrams a second each.",
)
@click.option("--port", default="", metavar="PORT", help="A number, or the name of a port.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 60),
    default=DEFAULT_TIMEOUT,
    show_default=True,
    help="Seconds after which an answer is lost.",
)
@click.option(
    "--before",
    default="1s",
    show_default=True,
    callback=duration,
    metavar="TIME",
    help="Send for so long before the change.",
)
@click.option(
    "--after",
    default="2s",
    show_default=True,
    callback=duration,
    metavar="TIME",
    help="Send for so long after it.",
)
@click.option("--svg", metavar="FILE", type=click.Path(), help="Draw the timeline into this file.")
@output_option("json")
@lab_option
def command(  # noqa: PLR0913 - one parameter an option
    *,
    source: str,
    target: str,
    line: str | None,
    scenario: str | None,
    abrupt: bool,
    without_conntrack_cleanup: bool,
    seconds: float | None,
    rate: float,
    held: int,
    flows: int,
    port: str,
    timeout: float,
    before: float,
    after: float,
    svg: str | None,
    output: str | None,
    lab: str | None,
) -> int:
    """Send from SRC to DST while something changes: what is lost, when, and why.

    New connections at a fixed rate, connections that stay open, and where DST has a UDP port
    UDP flows and queries, side by side. Exits with 1 if anything was lost or the change failed.

    \b
      kns churn pod1 svc-a --while 'kns up changed.yaml'
      kns churn pod1 svc-a --scenario rolling-update --abrupt
      kns churn pod1 svc-a --for 30s --rate 1000 --svg churn.svg
    """
    running_lab, ends = running(lab), (source, target)
    if sum(item is not None for item in (line, scenario, seconds)) != 1:
        hint = "--while 'CMD', --scenario NAME or --for TIME"
        raise UsageError("kns churn needs one change to measure", hint=hint)
    if abrupt and scenario is None:
        raise UsageError("--abrupt is how a scenario goes", hint="name one: --scenario NAME")
    if without_conntrack_cleanup and scenario is None:
        raise UsageError(
            "--without-conntrack-cleanup is how a scenario goes",
            hint="name one: --scenario NAME; for other changes there is faults in the lab file",
        )
    wanted = Wanted(rate, held, flows, port, timeout, before, after)
    with contextlib.ExitStack() as stack:
        if scenario is not None:
            style = Manner.ABRUPT if abrupt else Manner.GRACEFUL
            driven = scenario_change(
                running_lab,
                ends,
                ChurnScenario(scenario),
                style,
                cleans_up=not without_conntrack_cleanup,
            )
            change = stack.enter_context(driven)
        else:
            change = waiting(seconds) if seconds else command_change(line or "", running_lab.name)
        result = churn(running_lab, ends, wanted, change)
    if svg is not None:
        Path(svg).write_text(churn_svg(result), encoding="utf-8")
    if output == "json":
        print_json(result.to_json())
    else:
        print_text(churn_text(result, colour=coloured(), width=width(80)))
    return 0 if result.ok else EXIT_FAILED
