"""The ends of faults on the command line, found in the running lab."""

from __future__ import annotations

from collections.abc import Iterable

from kns.cli.lab_options import object_argument
from kns.cli.output import print_json, print_text
from kns.cluster.model import Cluster
from kns.engine.faults import LabFaults
from kns.errors import UsageError
from kns.kinds.faults import FaultEnd, FaultEndKind
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.probe.names import find
from kns.promise.location import LocationKind
from kns.report.faults import faults_json, faults_text

PODS = (LocationKind.POD,)
LINKS = (LocationKind.POD, LocationKind.NODE)
pods_argument = object_argument("names", "POD…", *PODS, several=True)
links_argument = object_argument("names", "NODE|POD…", *LINKS, several=True)


def ends(
    cluster: Cluster, names: Iterable[str], kinds: tuple[LocationKind, ...]
) -> tuple[FaultEnd, ...]:
    """The pods and nodes that are named. UsageError if one of them is not there."""
    return tuple(_end(cluster, name, kinds) for name in names)


def _end(cluster: Cluster, text: str, kinds: tuple[LocationKind, ...]) -> FaultEnd:
    item = find(cluster, text, kinds).item
    match item:
        case Node():
            return FaultEnd(item.name, FaultEndKind.NODE)
        case Pod():
            return FaultEnd(item.name, FaultEndKind.POD, item.namespace)
        case _:
            raise UsageError(f"{text!r} is no pod and no node")


def linked(cluster: Cluster, names: Iterable[str]) -> tuple[FaultEnd, ...]:
    """The same of what has a link of its own: no pod in the host network."""
    for name in names:
        item = find(cluster, name, LINKS).item
        if isinstance(item, Pod) and item.host_network:
            raise UsageError(
                f"{name} is in its node's network: it has no link of its own",
                hint=f"name its node: {item.node}",
            )
    return ends(cluster, names, LINKS)


def print_faults(found: LabFaults, output: str | None) -> None:
    """What has changed and what is broken now, for people or as JSON."""
    if output == "json":
        print_json(faults_json(found))
    else:
        print_text(faults_text(found))
