"""The end of graceful termination: real servers whose last connection has ended are removed.

A real server that left its service keeps its TCP connections with weight 0 (kns.plan.ipvs). The
agent looks at it again every minute, as kube-proxy does.
"""

from __future__ import annotations

from kns.cluster.model import Cluster
from kns.compile.lab import compile_host
from kns.compile.names import netns_of_node
from kns.compile.proxy.by_mode import proxy
from kns.kernel import ipvs, netns
from kns.state.ipvs import Verb, draining, steps
from kns.state.model import Netns, VirtualServer


def finish(cluster: Cluster) -> int:
    """Remove what has drained on every node; how many real servers are still waited for.

    Nothing to do, and nothing compiled, while no real server has weight 0.
    """
    if not proxy(cluster.network.kube_proxy.mode).DRAINS:
        return 0
    present = [name for name in _node_netns(cluster) if netns.is_netns(name)]
    observed = {name: netns.call_in(name, ipvs.read_virtual_servers_here) for name in present}
    if not any(_has_weight_zero(items) for items in observed.values()):
        return 0
    desired = {space.name: space for space in compile_host(cluster).netns}
    return sum(_finish_node(desired[name], items) for name, items in observed.items())


def _node_netns(cluster: Cluster) -> list[str]:
    return [netns_of_node(cluster.name, node.name) for node in cluster.nodes]


def _has_weight_zero(items: tuple[VirtualServer, ...]) -> bool:
    return any(server.weight == 0 for item in items for server in item.real_servers)


def _finish_node(space: Netns, observed: tuple[VirtualServer, ...]) -> int:
    drained = tuple(
        step
        for step in steps(space.virtual_servers, observed, space.ipvs_exclude)
        if step.verb is Verb.DELETE_SERVER and step.server is not None and step.server.weight == 0
    )
    if drained:
        netns.call_in(space.name, ipvs.carry_out_here, space.name, drained)
    return len(draining(space.virtual_servers, observed))
