"""What kube-proxy would write for Kubernetes objects on one node, as text that a tool loads.

iptables   `iptables-restore` (or `ip6tables-restore`) brings an empty netns to it
nftables   `nft -f` does, for one family or both
ipvs       a part for each program, each under a comment line that names it (ipvs_render.py)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

from kns.addresses import IPAddress, IPFamily
from kns.cluster.manifests import ClusterObjects
from kns.cluster.model import KubeProxyOptions, ProxyMode
from kns.compile.iptables_save import save_text
from kns.compile.proxy.iptables import iptables_tables
from kns.compile.proxy.ipvs import ipvs_rules
from kns.compile.proxy.ipvs_text import render_text
from kns.compile.proxy.nftables import nft_tables
from kns.kinds.node import Node
from kns.plan import nft_text


def render(
    objects: ClusterObjects,
    node: Node,
    options: KubeProxyOptions,
    families: tuple[IPFamily, ...],
) -> str:
    """The rules of `options.mode` on `node`, for `families` in turn; canary chains left out."""
    services, slices = objects.services, objects.endpoint_slices
    match options.mode:
        case ProxyMode.IPTABLES:
            compiled = [iptables_tables(services, slices, node, options, f) for f in families]
            return "".join(save_text(tables) for tables in compiled)
        case ProxyMode.NFTABLES:
            tables = [
                table for f in families for table in nft_tables(services, slices, node, options, f)
            ]
            return "".join(nft_text.table_text(table) for table in tables)
        case ProxyMode.IPVS:
            rules = [ipvs_rules(services, slices, node, options, f) for f in families]
            joined = rules[0].joined(rules[1]) if len(rules) == 2 else rules[0]
            return render_text(joined)
        case unknown:
            assert_never(unknown)


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
