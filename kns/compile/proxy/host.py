"""A Node object of a real cluster as a host: with the addresses on its links."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from kns.addresses import IPAddress
from kns.kinds.networking import KubeProxyOptions
from kns.kinds.node import Node


def as_host(node: Node, options: KubeProxyOptions, extra: Iterable[IPAddress] = ()) -> Node:
    """`node` with the addresses on its links that a Node object does not tell: `extra`, and more.

    Where `--nodeport-addresses` asks which of them lie in a network, the first address of each pod
    CIDR counts: the plugins bridge and ptp (so flannel, kubenet, kindnet) give it to the node.
    """
    gateways: list[IPAddress] = []
    if options.nodeport_addresses:
        gateways = [cidr[1] for cidr in node.pod_cidrs if cidr.num_addresses > 1]
    known = dict.fromkeys((*node.host_addresses, *extra, *gateways))
    return replace(node, host_addresses=tuple(a for a in known if a not in node.addresses))
