"""Cluster → LabState: what a lab is in the kernel, where it listens, and what runs in it.

The kernel's part, in the order in which it is built:

the network itself   fabric, nodes, internet hosts             fabric.py, node.py
pods                 cni0, its ports, the pods                 pods.py
pod network          between the nodes                         podnetwork/
kube-proxy           the rules of its mode                     proxy/
host ports           the CNI plugin portmap's rules            portmap.py
egress               gateways, masquerade                      egress_gateway.py, egress.py
load balancer        what the world knows of its addresses     load_balancer.py
network policies     who may speak with whom                   networkpolicy/
faults               what links do to packets on purpose       faults.py
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from kns.cluster.model import Cluster
from kns.compile import egress, egress_gateway, load_balancer, names, portmap
from kns.compile.fabric import compile_fabric, compile_internet_host
from kns.compile.faults import with_faults
from kns.compile.fragments import joined
from kns.compile.listeners import Listener, listeners
from kns.compile.networkpolicy import table as networkpolicy
from kns.compile.node import bare_node
from kns.compile.podnetwork.by_mode import pod_network
from kns.compile.pods import bridge_on_node, compile_pod, has_fixed_neighbors
from kns.compile.programs.program import Program
from kns.compile.programs.programs import programs
from kns.compile.proxy.base import ProxyRules
from kns.compile.proxy.by_mode import proxy
from kns.compile.proxy.release import deletes_udp_of_deleted
from kns.compile.proxy.udp_flows import udp_flows
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.state.model import HostState, Netns


@dataclass(frozen=True, slots=True)
class LabState:
    """Everything that a lab should be: in the kernel, and in the processes of its netns."""

    host: HostState
    listeners: tuple[Listener, ...]
    programs: tuple[Program, ...]


@dataclass(frozen=True, slots=True)
class CompiledHost:
    """A cluster's state in the kernel, and what the next one can be made from.

    `rules`: kube-proxy's, by node.
    """

    cluster: Cluster
    host: HostState
    rules: Mapping[str, ProxyRules]


def compile_lab(cluster: Cluster) -> LabState:
    """The desired state of a lab."""
    return LabState(compile_host(cluster), listeners(cluster), programs(cluster))


def compile_host(cluster: Cluster) -> HostState:
    """The kernel's part of it: fabric, nodes, internet hosts, pods."""
    return recompile_host(cluster, None).host


def recompile_host(cluster: Cluster, before: CompiledHost | None) -> CompiledHost:
    """The same; pods that are as they were `before`, and rules of Services, are taken over."""
    nodes = {node.name: node for node in cluster.nodes}
    same = _same_pods(cluster, before)
    earlier: Mapping[str, ProxyRules] = {} if before is None else before.rules
    still_hold = before is not None and _has_same_rules(cluster, before.cluster)
    made = {
        name: _compile_node(
            cluster, node, cluster.pods_on(name), earlier.get(name), still_hold=still_hold
        )
        for name, node in nodes.items()
    }
    state = HostState(
        (
            compile_fabric(cluster),
            *(space for space, _rules in made.values()),
            *(compile_internet_host(cluster, host) for host in cluster.internet),
            *load_balancer.hosts(cluster),
            *(
                same.get(pod.full_name) or compile_pod(cluster, pod, nodes[pod.node])
                for pod in cluster.pods
                if not pod.host_network
            ),
        )
    )
    rules = {name: rules for name, (_space, rules) in made.items()}
    return CompiledHost(cluster, with_faults(cluster, state), rules)


def _has_same_rules(cluster: Cluster, before: Cluster) -> bool:
    """Whether nothing has changed of what kube-proxy looks at."""
    return (
        before.nodes == cluster.nodes
        and before.network == cluster.network
        and before.services == cluster.services
        and before.endpoint_slices == cluster.endpoint_slices
        and before.faults.written == cluster.faults.written
    )


def _same_pods(cluster: Cluster, before: CompiledHost | None) -> dict[str, Netns]:
    """The netns of the pods, by full name, that are where they were, with the same addresses."""
    if before is None:
        return {}
    old, host = before.cluster, before.host
    if (old.network, old.nodes, has_fixed_neighbors(old)) != (
        cluster.network, cluster.nodes, has_fixed_neighbors(cluster)
    ):  # fmt: skip
        return {}
    spaces = {space.name: space for space in host.netns}
    known = {pod.full_name: pod for pod in old.pods if not pod.host_network}
    return {
        name: spaces[names.netns_of_pod(cluster.name, pod.namespace, pod.name)]
        for pod in cluster.pods
        if (found := known.get(name := pod.full_name)) is not None
        and not pod.host_network
        and (found.node, found.addresses) == (pod.node, pod.addresses)
    }


def compile_node(cluster: Cluster, node: Node, pods: tuple[Pod, ...]) -> Netns:
    """Everything in a node's netns; `pods` are those on this node."""
    return _compile_node(cluster, node, pods)[0]


def _compile_node(
    cluster: Cluster,
    node: Node,
    pods: tuple[Pod, ...],
    earlier: ProxyRules | None = None,
    *,
    still_hold: bool = False,
) -> tuple[Netns, ProxyRules]:
    """What each concern adds to a node, in the order in which it is built; of it kube-proxy's.

    `earlier`: kube-proxy's rules that were there. They are taken over if they `still_hold`, else
    new ones are made from them.
    """
    network = (
        bare_node(cluster, node),
        bridge_on_node(cluster, node, pods),
        pod_network(cluster.network.pod_network).on_node(cluster, node),
    )
    if earlier is None or not still_hold:
        rules = _kube_proxy(cluster, _with_addresses(node, network), earlier)
    else:
        rules = earlier
    fragments = (
        *network,
        portmap.masquerade(cluster, node, pods),
        rules.netns,
        egress.built_in_chains(cluster, node),
        portmap.on_node(cluster, node, pods),
        egress_gateway.on_node(cluster, node),
        egress.on_node(cluster, node),
        networkpolicy.on_node(cluster, node, pods),
    )
    (netns,) = joined(fragments)
    return netns, rules


def _with_addresses(node: Node, network: Iterable[Netns]) -> Node:
    """The node with all addresses of its links: node ports may answer on them too."""
    own = (address.interface.ip for fragment in network for address in fragment.addresses)
    found = dict.fromkeys((*node.host_addresses, *own))
    return replace(node, host_addresses=tuple(ip for ip in found if ip not in node.addresses))


def _kube_proxy(cluster: Cluster, node: Node, before: ProxyRules | None) -> ProxyRules:
    name = names.netns_of_node(cluster.name, node.name)
    options = cluster.network.kube_proxy
    rules = proxy(options.mode).on_node(name, cluster, node, options, before)
    if cluster.faults.written.no_conntrack_cleanup:
        return replace(rules, netns=replace(rules.netns, udp_flows=()))
    deleted_too = deletes_udp_of_deleted(options.version)
    space = replace(
        rules.netns,
        udp_flows=tuple(udp_flows(cluster, node)),
        virtual_networks=cluster.network.service_cidrs if deleted_too else (),
    )
    return replace(rules, netns=space)
