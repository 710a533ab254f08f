"""The faults of a lab with their ends found: which pods, nodes and hosts they are about. Pure.

An end that is gone (a pod was scaled away) is left out: its fault waits for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.faults import FaultEnd, FaultEndKind, Faults, Impairment


@dataclass(frozen=True, slots=True)
class FaultEnds:
    """Pods (as `namespace/name`), nodes and hosts outside that are one end of a fault.

    A node is all that it carries: itself and its pods.
    """

    pods: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.pods or self.nodes or self.hosts)


@dataclass(frozen=True, slots=True)
class ImpairedWay:
    """Packets from one of `sources` to one of `targets` are impaired; None: from or to anybody."""

    sources: FaultEnds | None
    targets: FaultEnds | None
    impairment: Impairment


@dataclass(frozen=True, slots=True)
class Apart:
    """Two sides between which no packet passes."""

    one: FaultEnds
    other: FaultEnds


@dataclass(frozen=True, slots=True)
class ClusterFaults:
    """What is broken on purpose: as written, and whom it is about. Pods are `namespace/name`."""

    written: Faults = field(default_factory=Faults)
    pods_down: frozenset[str] = frozenset()
    nodes_down: frozenset[str] = frozenset()
    unready: frozenset[str] = frozenset()
    impaired: tuple[ImpairedWay, ...] = ()
    apart: tuple[Apart, ...] = ()

    def __bool__(self) -> bool:
        return self.written != Faults()


@dataclass(frozen=True, slots=True)
class Present:
    """What a fault can be about: names of pods (full), nodes, hosts, and the EndpointSlices."""

    pods: Collection[str]
    nodes: Collection[str]
    hosts: tuple[str, ...] = ()
    slices: tuple[EndpointSlice, ...] = ()


def unready_pods(faults: Faults, pods: Collection[str]) -> frozenset[str]:
    """The pods, by full name, that are not ready whatever else is."""
    return frozenset(name for item in faults.unready if (name := _pod(item, pods)))


def resolve_faults(faults: Faults, present: Present) -> ClusterFaults:
    """The faults of what there is."""
    down = ends_of(faults.links_down, present)
    return ClusterFaults(
        faults,
        frozenset(down.pods),
        frozenset(down.nodes),
        unready_pods(faults, present.pods),
        tuple(_impaired(faults, present)),
        tuple(_apart(faults, present)),
    )


def _apart(faults: Faults, present: Present) -> Iterator[Apart]:
    for item in faults.partitions:
        one, other = ends_of(item.one, present), ends_of(item.other, present)
        if one and other:
            yield Apart(one, other)


def _impaired(faults: Faults, present: Present) -> Iterator[ImpairedWay]:
    for item in faults.netem:
        sources = None if item.source is None else ends_of((item.source,), present)
        targets = None if item.target is None else ends_of((item.target,), present)
        if (sources is None or sources) and (targets is None or targets):
            yield ImpairedWay(sources, targets, item.impairment)


def ends_of(items: Iterable[FaultEnd], present: Present) -> FaultEnds:
    """Whom the ends name, of what there is."""
    pods: list[str] = []
    nodes: list[str] = []
    hosts: list[str] = []
    for item in items:
        if name := _pod(item, present.pods):
            pods.append(name)
        elif item.kind in (FaultEndKind.NODE, None) and item.name in present.nodes:
            nodes.append(item.name)
        elif item.kind in (FaultEndKind.INTERNET, None) and (host := _host(item, present.hosts)):
            hosts.append(host)
        elif item.kind in (FaultEndKind.SERVICE, None):
            pods += _behind(item, present)
    return FaultEnds(*(tuple(dict.fromkeys(names)) for names in (pods, nodes, hosts)))


def _pod(item: FaultEnd, pods: Collection[str]) -> str:
    """The pod that the end names; nothing if it is none."""
    name = f"{item.namespace}/{item.name}"
    return name if item.kind in (FaultEndKind.POD, None) and name in pods else ""


def _host(item: FaultEnd, hosts: tuple[str, ...]) -> str:
    """The host that the end names: `internet` alone is the first."""
    if item.name in hosts:
        return item.name
    return hosts[0] if hosts and item.name == FaultEndKind.INTERNET else ""


def _behind(item: FaultEnd, present: Present) -> Iterator[str]:
    """The pods behind the Service that the end names, ready or not."""
    wanted = (item.namespace, item.name)
    for piece in present.slices:
        if (piece.namespace, piece.service) == wanted:
            yield from (point.pod for point in piece.endpoints if point.pod in present.pods)
