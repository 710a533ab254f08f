"""The ends of faults on the command line, found in the running lab."""

from __future__ import annotations

from collections.abc import Iterable

from kns.cli.lab_options import object_argument
from kns.cli.output import print_json, print_text
from kns.cluster.model import Cluster
from kns.engine.faults import LabFaults
from kns.errors import UsageError
from kns.kinds.faults import FaultEnd, FaultEndKind, Partition
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service
from kns.probe.names import find
from kns.promise.location import LocationKind
from kns.report.faults import faults_json, faults_text

PODS = (LocationKind.POD,)
LINKS = (LocationKind.POD, LocationKind.NODE)
WAYS = tuple(LocationKind)
#: an end of a way that may be anybody
ANY = "any"
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
        case Service():
            return FaultEnd(item.name, FaultEndKind.SERVICE, item.namespace)
        case _:
            return FaultEnd(item.name, FaultEndKind.INTERNET)


def linked(cluster: Cluster, names: Iterable[str]) -> tuple[FaultEnd, ...]:
    """The same of what has a link of its own: no pod in the host network."""
    names = tuple(names)
    _require_links(cluster, names, LINKS)
    return ends(cluster, names, LINKS)


def _require_links(cluster: Cluster, names: Iterable[str], kinds: tuple[LocationKind, ...]) -> None:
    for name in names:
        item = find(cluster, name, kinds).item
        if isinstance(item, Pod) and item.host_network:
            raise UsageError(
                f"{name} is in its node's network: it has no link of its own",
                hint=f"name its node: {item.node}",
            )


def partition_of(cluster: Cluster, one: str, other: str) -> Partition:
    """The partition between two sides, each a list with commas. UsageError if they make none."""
    sides = []
    for text in (one, other):
        names = tuple(filter(None, text.split(",")))
        _require_links(cluster, names, WAYS)
        sides.append(ends(cluster, names, WAYS))
    if not all(sides):
        raise UsageError("a side is empty", hint="kns partition node1,node2 node3")
    if both := next((item for item in sides[0] if item in sides[1]), None):
        raise UsageError(f"{both} is on both sides", hint="name it on one side")
    if all(item.kind is FaultEndKind.INTERNET for side in sides for item in side):
        raise UsageError("both sides are outside the cluster", hint="name a pod or node on one")
    return Partition(*sides)


def way_ends(cluster: Cluster, source: str, target: str) -> tuple[FaultEnd | None, FaultEnd | None]:
    """The two ends of a way; None for `any`. UsageError if they make none."""
    _require_links(cluster, (name for name in (source, target) if name != ANY), WAYS)
    start, goal = (None if n == ANY else _end(cluster, n, WAYS) for n in (source, target))
    if start == goal:
        raise UsageError("both ends are the same", hint="name two ends, or one and `any`")
    if start and goal and start.kind == goal.kind == FaultEndKind.INTERNET:
        raise UsageError("both ends are outside the cluster", hint="name a pod or node as one")
    return start, goal


def print_faults(found: LabFaults, output: str | None) -> None:
    """What has changed and what is broken now, for people or as JSON."""
    if output == "json":
        print_json(faults_json(found))
    else:
        print_text(faults_text(found))
