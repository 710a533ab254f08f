"""`kns migrate`: what another mode or release of kube-proxy changes for a cluster's Services. Pure.

    objects ──world()──▶ Cluster ──┬─ promise under the one setting ──┐
                                   └─ promise under the other ────────┴─▶ differences
                                   └─ compiled under both ──▶ sizes of the rules

What is told of a Service is what `kns.promise` promises of flows to it, which labs prove with real
traffic; the compiled rules are only counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kns.cluster.model import Cluster
from kns.compile.proxy.by_mode import proxy
from kns.errors import UsageError
from kns.experiment.migrate.differences import BehaviourChange, Sides, differences
from kns.experiment.migrate.growth import NodeRules, node_rules
from kns.experiment.setting import ProxySetting
from kns.kinds.node import Node
from kns.kinds.service import SessionAffinity


@dataclass(frozen=True, slots=True)
class Growth:
    """The rules of one node under both settings."""

    node: str
    before: NodeRules
    after: NodeRules


@dataclass(frozen=True, slots=True)
class Migration:
    """What differs. `moments`: what happens while one gives way to the other."""

    before: ProxySetting
    after: ProxySetting
    services: int
    nodes: int
    differences: tuple[BehaviourChange, ...]
    growth: Growth
    moments: tuple[str, ...]


def migrate(
    cluster: Cluster, before: ProxySetting, after: ProxySetting, node: str | None = None
) -> Migration:
    """What changes for the cluster's Services, at one node or at all that tell something.

    Raises UsageError if there is no such node.
    """
    chosen = (_node(cluster, node),) if node else ()
    sides = Sides.of(cluster, before, after)
    first = (chosen or cluster.nodes)[0]
    return Migration(
        before,
        after,
        len(cluster.services),
        len(cluster.nodes),
        differences(sides, chosen),
        Growth(first.name, node_rules(cluster, before, first), node_rules(cluster, after, first)),
        tuple(_moments(cluster, before, after)),
    )


def _node(cluster: Cluster, name: str) -> Node:
    found = cluster.node(name)
    if found is None:
        known: Sequence[str] = [item.name for item in cluster.nodes]
        raise UsageError(f"there is no node {name!r}", hint=f"nodes: {', '.join(known)}")
    return found


def _moments(cluster: Cluster, before: ProxySetting, after: ProxySetting) -> Iterator[str]:
    if before.mode is after.mode:
        return
    if not (proxy(before.mode).CONNECTIONS_OUTLIVE and proxy(after.mode).CONNECTIONS_OUTLIVE):
        yield f"open connections to Services end: {before.mode} and {after.mode} keep them apart"
    else:
        yield "open connections to Services go on: conntrack keeps their translation"
    if any(s.session_affinity is SessionAffinity.CLIENT_IP for s in cluster.services):
        yield "session affinity is forgotten: every client is given a backend anew"
