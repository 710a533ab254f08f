"""What kube-proxy would write for Kubernetes objects on one node, as text that a tool loads.

iptables   `iptables-restore` (or `ip6tables-restore`) brings an empty netns to it
nftables   `nft -f` does, for one family or both
ipvs       `sh` does: a script of sysctl, ipset, iptables-restore, ip and ipvsadm
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import assert_never

from kns.cluster.manifests import ClusterObjects
from kns.cluster.model import IPAddress, IPFamily, KubeProxyOptions, Node, ProxyMode
from kns.compile.iptables_save import save_text
from kns.compile.services_iptables import iptables_tables
from kns.compile.services_ipvs import IpvsRules, ipvs_rules
from kns.compile.services_nftables import nft_tables
from kns.plan import ipset_text, ipvs_text, nft_text
from kns.state.model import Family, IpvsTimeouts

#: the word that ends a here-document; no line of rules is only this
_END = "END"


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
            return "".join(f"{line}\n" for line in _ipvs_script(joined))
        case unknown:
            assert_never(unknown)


def _ipvs_script(rules: IpvsRules) -> Iterator[str]:
    """Sets before the rules that name them; the device before the addresses on it."""
    yield "#!/bin/sh"
    yield "set -eu"
    for sysctl in rules.sysctls:
        yield f"sysctl -qw net/{sysctl.key}={sysctl.value}"
    yield from _fed("ipset restore", ipset_text.changes(rules.ipsets, ()))
    for family, program in ((Family.IPV4, "iptables"), (Family.IPV6, "ip6tables")):
        tables = [table for table in rules.tables if table.family is family]
        yield from _fed(f"{program}-restore", save_text(tables))
    for link in rules.links:
        yield f"ip link add {link.name} type dummy"
    for address in rules.addresses:
        yield f"ip addr add {address.interface} dev {address.ifname}"
    yield from _fed("ipvsadm -R", ipvs_text.save_text(rules.virtual_servers))
    if rules.timeouts != IpvsTimeouts():
        yield ipvs_text.timeouts_command(rules.timeouts)


def _fed(command: str, text: str) -> Iterator[str]:
    if text:
        yield f"{command} <<'{_END}'"
        yield f"{text}{_END}"


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
