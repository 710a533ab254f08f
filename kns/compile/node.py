"""A node's netns: uplink, pod bridge, routes, kube-proxy's rules of the chosen mode."""

from __future__ import annotations

from dataclasses import replace

from kns.addresses import IPFamily
from kns.cluster.model import Cluster, ProxyMode
from kns.compile import egress, egress_gateway, names, pod_network
from kns.compile.cables import default_routes, interface, router_sysctls, uplink
from kns.compile.proxy.iptables import iptables_tables
from kns.compile.proxy.ipvs import IpvsRules, ipvs_rules
from kns.compile.proxy.nftables import nft_tables
from kns.compile.proxy.on_node import localhost_node_ports
from kns.compile.proxy.udp_flows import udp_flows
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.state.model import Address, IptablesTable, Netns, NftTable, Sysctl, loopback


def compile_node(cluster: Cluster, node: Node, pods: tuple[Pod, ...]) -> Netns:
    """Everything in a node's netns; `pods` are those on this node."""
    network = cluster.network
    name = names.netns_of_node(cluster.name, node.name)
    neighbors, fdb = pod_network.overlay_entries(cluster, node)
    ipvs = _ipvs(cluster, node)
    return Netns(
        name=name,
        links=(
            loopback(),
            uplink(cluster, name, node.name),
            *pod_network.bridge_links(cluster, node, pods),
            *pod_network.overlay_links(cluster, node),
            *(replace(link, mac=names.mac(f"{name}/{link.name}")) for link in ipvs.links),
        ),
        addresses=(
            *(Address("eth0", interface(item, network.node_cidrs)) for item in node.addresses),
            *pod_network.bridge_addresses(node),
            *pod_network.overlay_addresses(cluster, node),
            *ipvs.addresses,
        ),
        routes=(
            # also what lets a packet to a service address get as far as the rules: without any
            # route to it the sender is told "network unreachable" before nat OUTPUT sees it
            *default_routes(network.node_cidrs),
            *pod_network.routes_to_nodes(cluster, node),
            *egress_gateway.routes(cluster, node),
        ),
        rules=egress_gateway.policy_rules(cluster, node),
        neighbors=(*neighbors, *pod_network.pod_neighbors(cluster, pods)),
        fdb=fdb,
        sysctls=(
            *router_sysctls(network),
            *pod_network.bridge_sysctls(network),
            *_kube_proxy_sysctls(cluster, node),
            *ipvs.sysctls,
        ),
        iptables=_iptables(cluster, node, ipvs.tables),
        nftables=_nftables(cluster, node),
        ipsets=ipvs.ipsets,
        virtual_servers=ipvs.virtual_servers,
        udp_flows=tuple(udp_flows(cluster, node)),
        service_cidrs=network.service_cidrs,
        ipvs_timeouts=ipvs.timeouts,
        ipvs_exclude=network.kube_proxy.ipvs.exclude_cidrs,
    )


def _kube_proxy_sysctls(cluster: Cluster, node: Node) -> tuple[Sysctl, ...]:
    """What kube-proxy writes at its start; conntrack's sizes are the host's and stay."""
    options = cluster.network.kube_proxy
    sysctls = [
        Sysctl("netfilter/nf_conntrack_tcp_timeout_established", "86400"),
        Sysctl("netfilter/nf_conntrack_tcp_timeout_close_wait", "3600"),
        Sysctl("netfilter/nf_conntrack_tcp_be_liberal", str(int(options.conntrack_tcp_be_liberal))),
    ]
    localnet = options.mode is ProxyMode.IPTABLES and localhost_node_ports(
        options, node, IPFamily.IPV4
    )
    # a packet from 127.0.0.1 that DNAT sends out of the node is dropped as a martian without it
    sysctls.append(Sysctl("ipv4/conf/all/route_localnet", str(int(localnet))))
    if options.mode is not ProxyMode.IPVS or not options.ipvs.strict_arp:
        # the kernel's own values: strict ARP of IPVS mode must leave nothing behind
        sysctls += (Sysctl(f"ipv4/conf/all/{key}", "0") for key in ("arp_ignore", "arp_announce"))
    return tuple(sysctls)


def _ipvs(cluster: Cluster, node: Node) -> IpvsRules:
    """IPVS mode's part of the node, both families; nothing in the other modes."""
    options = cluster.network.kube_proxy
    if options.mode is not ProxyMode.IPVS:
        return IpvsRules()
    overlay = (item.interface.ip for item in pod_network.overlay_addresses(cluster, node))
    whole = replace(node, host_addresses=(*node.host_addresses, *overlay))
    four, six = (
        ipvs_rules(cluster.services, cluster.endpoint_slices, whole, options, family)
        for family in IPFamily
    )
    return four.joined(six)


def _iptables(
    cluster: Cluster, node: Node, ipvs: tuple[IptablesTable, ...]
) -> tuple[IptablesTable, ...]:
    """kube-proxy's tables (both families always, as kube-proxy does) with flannel's above them."""
    network = cluster.network
    options = network.kube_proxy
    tables: list[IptablesTable] = []
    for family in IPFamily:
        above = egress.flannel_tables(network, node, family)
        below = egress.bare_tables(family) if above else ()
        if options.mode is ProxyMode.IPTABLES:
            below = iptables_tables(
                cluster.services,
                cluster.endpoint_slices,
                node,
                options,
                family,
                canaries=True,
            )
        elif options.mode is ProxyMode.IPVS:
            below = tuple(table for table in ipvs if table.family is family)
        gateways = egress_gateway.gateway_tables(cluster, node, family)
        tables += egress.merge(egress.merge(below, gateways), above)
    return tuple(tables)


def _nftables(cluster: Cluster, node: Node) -> tuple[NftTable, ...]:
    options = cluster.network.kube_proxy
    if options.mode is not ProxyMode.NFTABLES:
        return ()
    return tuple(
        table
        for family in IPFamily
        for table in nft_tables(cluster.services, cluster.endpoint_slices, node, options, family)
    )
