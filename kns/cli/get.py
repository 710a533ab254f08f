"""`kns get`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from kns.cli.options import lab_option, output_option
from kns.errors import UsageError
from kns.report.get import ALIASES, Kind, Presence, Selection, get_table
from kns.report.table import render_table

if TYPE_CHECKING:
    from kns.engine.labs import RunningLab


def _kind_named(_context: click.Context, _parameter: click.Parameter, value: str) -> Kind:
    """`pods`, or one of kubectl's other names for it."""
    if value.lower() not in ALIASES:
        kinds = ", ".join(Kind)
        raise UsageError(f"there is no kind {value!r}", hint=f"kinds: {kinds}")
    return ALIASES[value.lower()]


def _complete_kind(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    return [CompletionItem(str(kind)) for kind in Kind if kind.startswith(incomplete)]


@click.command()
@click.argument(
    "kind",
    callback=_kind_named,
    shell_complete=_complete_kind,
    metavar="nodes|pods|services|endpoints|ingresses",
)
@click.argument("names", nargs=-1)
@click.option("-n", "--namespace", default="default", show_default=True, help="The namespace.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Objects of every namespace.")
@output_option("wide", "json", "yaml")
@lab_option
def get(
    kind: Kind,
    names: tuple[str, ...],
    namespace: str,
    all_namespaces: bool,  # noqa: FBT001
    output: str | None,
    lab: str | None,
) -> None:
    """List the lab's objects in kubectl's columns, or as Kubernetes objects.

    \b
      kns get pods -o wide
      kns get services -A
      kns get pods pod1 -o json
    """
    from kns.engine.labs import running

    running_lab = running(lab)
    presence = presence_of(running_lab)
    in_namespaces = kind is not Kind.NODES and not all_namespaces
    selection = Selection(namespace if in_namespaces else "", names)
    if output in {"json", "yaml"}:
        _print_objects(kind, running_lab, selection, presence, output)
        return
    wide = output == "wide"
    if kind is Kind.NODES:
        selection = Selection("", names)
    table = get_table(kind, running_lab.cluster, selection, presence, wide=wide)
    if names and len(table.rows) < len(set(names)):
        found = {cell for row in table.rows for cell in row[:2]}
        missing = [name for name in names if name not in found]
        raise UsageError(f"{kind} not found: {', '.join(missing)}", hint=f"kns get {kind} -A")
    if not table.rows:
        where = f" in namespace {namespace}" if in_namespaces else ""
        click.echo(f"no {kind}{where}", err=True)
        return
    click.echo(render_table(table), nl=False)


def _print_objects(
    kind: Kind, lab: RunningLab, selection: Selection, presence: Presence, output: str
) -> None:
    from kns.report.objects import get_objects

    objects = get_objects(kind, lab.cluster, selection, presence)
    if output == "json":
        click.echo(json.dumps(objects, indent=2))
        return
    from kns.labfile.dump import dump_yaml

    click.echo(dump_yaml(objects), nl=False)


def presence_of(lab: RunningLab) -> Presence:
    """Which of the lab's nodes and pods have their netns, and how old the pods are."""
    from kns.compile.names import lab_prefix, netns_of_node, netns_of_pod
    from kns.engine.labs import agent_pid
    from kns.kernel.netns import list_netns

    there = set(list_netns(lab_prefix(lab.name)))
    now = time.time()
    ages: dict[str, float] = {}
    pods: set[str] = set()
    for pod in lab.cluster.pods:
        netns = netns_of_pod(lab.name, pod.namespace, pod.name)
        if netns in there:
            pods.add(pod.full_name)
            file = lab.paths.pod_etc(netns) / "env"
            if file.exists():
                ages[pod.full_name] = now - file.stat().st_mtime
    nodes = {node.name for node in lab.cluster.nodes if netns_of_node(lab.name, node.name) in there}
    serving = agent_pid(lab.name) is not None
    return Presence(frozenset(nodes), frozenset(pods), serving, ages)
