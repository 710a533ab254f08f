"""Cluster → HostState: everything that a lab is in the kernel, in the order it is built."""

from __future__ import annotations

from dataclasses import replace

from kns.cluster.model import Cluster
from kns.compile import load_balancer
from kns.compile.cables import gateway
from kns.compile.fabric import compile_fabric, compile_internet_host
from kns.compile.node import compile_node
from kns.compile.pod_network import compile_pod
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.state.model import HostState


def compile_lab(cluster: Cluster) -> HostState:
    """The desired state: fabric, nodes, internet hosts, pods."""
    on_node: dict[str, list[Pod]] = {node.name: [] for node in cluster.nodes}
    for pod in cluster.pods:
        on_node[pod.node].append(pod)
    proxied = load_balancer.has_cloud_lb(cluster)
    nodes = {node.name: with_host_addresses(node) for node in cluster.nodes}
    return HostState(
        (
            compile_fabric(cluster),
            *(compile_node(cluster, nodes[name], tuple(pods)) for name, pods in on_node.items()),
            *(compile_internet_host(cluster, host) for host in cluster.internet),
            *([load_balancer.compile_cloud_lb(cluster)] if proxied else []),
            *(compile_pod(cluster, pod, nodes[pod.node]) for pod in cluster.pods),
        )
    )


def with_host_addresses(node: Node) -> Node:
    """The node with cni0's addresses among its own: node ports answer on them too."""
    bridges = tuple(gateway(cidr) for cidr in node.pod_cidrs)
    return replace(node, host_addresses=(*node.host_addresses, *bridges))
