"""The cluster's networking options, its nodes, and the hosts outside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.cluster.allocate import ExhaustedError, address_at, free_subnets
from kns.cluster.leases import HostLease, Leases
from kns.cluster.model import (
    DetectLocalMode,
    DNSOptions,
    EgressGateway,
    EgressOptions,
    InternetHost,
    IPVSOptions,
    KubeProxyOptions,
    LoadBalancerOptions,
    Network,
    NFTablesOptions,
    PodNetworkMode,
    ProxyMode,
)
from kns.kinds.node import Node
from kns.labfile.check_balancer import PROXY_PLACE
from kns.labfile.check_network import written_addresses, written_pod_cidrs
from kns.labfile.model import InternetSpec, LabSpec, NodeSpec
from kns.labfile.model_networking import EgressSpec, KubeProxySpec, NetworkingSpec
from kns.labfile.networks import DNS_INDEX, networks, node_mask_size

#: the first host outside the cluster that names no address: 203.0.113.10, 2001:db8:203::10
INTERNET_INDEX = {4: 10, 6: 0x10}
ZONE_LABEL = "topology.kubernetes.io/zone"
EVERYWHERE = (ip_network("0.0.0.0/0"), ip_network("::/0"))


# -- networking ------------------------------------------------------------------------------------


def resolve_network(spec: LabSpec) -> Network:
    """The cluster-wide options after defaulting."""
    written = spec.networking
    nets = networks(written)
    load_balancer = spec.load_balancer
    return Network(
        families=tuple(IPFamily(f"IPv{family}") for family in nets.families),
        pod_cidrs=nets.pod,
        service_cidrs=nets.service,
        node_cidrs=nets.node,
        internet_cidrs=nets.internet,
        pod_network=PodNetworkMode(written.pod_network),
        mtu=written.mtu,
        node_port_range=written.node_port_range,
        kube_proxy=_kube_proxy(written, nets.pod),
        dns=_dns(written, nets.service),
        egress=_egress(written.egress),
        load_balancer=(
            LoadBalancerOptions(load_balancer.mode, load_balancer.pool) if load_balancer else None
        ),
    )


def _kube_proxy(spec: NetworkingSpec, pod_cidrs: tuple[IPNetwork, ...]) -> KubeProxyOptions:
    """kube-proxy's options; without a clusterCIDR the pod subnets, as kubeadm sets it."""
    options = spec.kube_proxy
    return KubeProxyOptions(
        mode=ProxyMode(spec.kube_proxy_mode),
        cluster_cidrs=options.cluster_cidr or pod_cidrs,
        detect_local_mode=DetectLocalMode(options.detect_local_mode),
        pod_bridge_interface=options.pod_bridge_interface,
        pod_interface_name_prefix=options.pod_interface_name_prefix,
        masquerade_all=options.masquerade_all,
        masquerade_bit=options.masquerade_bit,
        nodeport_addresses=tuple(a for a in options.node_port_addresses if not isinstance(a, str)),
        nodeport_addresses_primary="primary" in options.node_port_addresses,
        localhost_nodeports=options.localhost_node_ports,
        conntrack_tcp_be_liberal=options.conntrack_tcp_be_liberal,
        ipvs=IPVSOptions(
            options.ipvs.scheduler,
            options.ipvs.strict_arp,
            options.ipvs.tcp_timeout,
            options.ipvs.tcp_fin_timeout,
            options.ipvs.udp_timeout,
            options.ipvs.exclude_cidrs,
        ),
        nftables=_nftables(options),
    )


def _nftables(options: KubeProxySpec) -> NFTablesOptions:
    """What nftables mode reads; a lab that says it once means every mode."""
    if options.nftables is None:
        return NFTablesOptions(options.masquerade_all, options.masquerade_bit)
    return NFTablesOptions(options.nftables.masquerade_all, options.nftables.masquerade_bit)


def _egress(spec: EgressSpec) -> EgressOptions:
    return EgressOptions(
        spec.masquerade,
        spec.non_masquerade_cidrs,
        spec.masq_link_local,
        tuple(
            EgressGateway(
                node=item.node,
                namespace=item.namespace,
                selector=item.pod_selector.match_labels,
                destination_cidrs=item.destination_cidrs or EVERYWHERE,
                excluded_cidrs=item.excluded_cidrs,
            )
            for item in spec.gateways
        ),
    )


def _dns(spec: NetworkingSpec, service_cidrs: tuple[IPNetwork, ...]) -> DNSOptions:
    dns = spec.dns
    return DNSOptions(
        enabled=dns.enabled,
        domain=spec.cluster_domain or dns.domain,
        service_ips=tuple(address_at(cidr, DNS_INDEX) for cidr in service_cidrs),
        replicas=dns.replicas,
        upstream=dns.upstream,
        pod_records=dns.pod_records,
        ttl=dns.ttl,
        server=dns.server,
    )


# -- nodes -----------------------------------------------------------------------------------------


def resolve_nodes(
    spec: LabSpec, network: Network, leases: Leases
) -> tuple[tuple[Node, ...], dict[str, HostLease]]:
    """The nodes in file order, with addresses and pod CIDRs of each family."""
    addresses = _host_addresses(spec.nodes, network.node_cidrs, leases, {4: 2, 6: 2})
    cidrs = _pod_cidrs(spec, network, leases)
    nodes: list[Node] = []
    for item in spec.nodes:
        labels = {"kubernetes.io/hostname": item.name, **item.labels}
        if item.zone:
            labels[ZONE_LABEL] = item.zone
        nodes.append(
            Node(
                name=item.name,
                addresses=addresses[item.name],
                pod_cidrs=cidrs[item.name],
                labels=labels,
                host_addresses=_host_side(cidrs[item.name], network.pod_network),
            )
        )
    kept = {node.name: HostLease(node.addresses, node.pod_cidrs) for node in nodes}
    return tuple(nodes), kept


def _host_side(cidrs: tuple[IPNetwork, ...], mode: PodNetworkMode) -> tuple[IPAddress, ...]:
    """The node's addresses in its pod CIDRs: the bridge's, and the pod network's device's."""
    addresses = [address_at(cidr, 1) for cidr in cidrs]
    if mode.has_device:
        addresses += [address_at(cidr, 0) for cidr in cidrs]
    return tuple(addresses)


def _host_addresses(
    parts: Sequence[NodeSpec | InternetSpec],
    subnets: tuple[IPNetwork, ...],
    leases: Leases,
    first: Mapping[int, int],
    reserved: frozenset[IPAddress] = frozenset(),
) -> dict[str, tuple[IPAddress, ...]]:
    """Each host's addresses: as written, as leased, else the next free one from `first` on.

    `first` gives the offset in the subnet by IP version.
    """
    found: dict[str, list[IPAddress]] = {part.name: [] for part in parts}
    for subnet in subnets:
        chosen: dict[str, IPAddress] = {}
        taken = set(reserved)
        for part in parts:
            for address, _ in written_addresses(part):
                if address in subnet:
                    chosen[part.name] = address
                    taken.add(address)
        for part in parts:
            lease = leases.hosts.get(part.name, HostLease())
            kept = next((a for a in lease.addresses if a in subnet and a not in taken), None)
            if part.name not in chosen and kept is not None:
                chosen[part.name] = kept
                taken.add(kept)
        free = _free_addresses(subnet, taken, first[subnet.version])
        for part in parts:
            if part.name not in chosen:
                chosen[part.name] = next(free)
            found[part.name].append(chosen[part.name])
    return {name: tuple(addresses) for name, addresses in found.items()}


def _proxy_addresses(network: Network) -> frozenset[IPAddress]:
    """What the host of a proxying load balancer takes: on each network next to the router."""
    if network.load_balancer is None or network.load_balancer.mode != "proxy":
        return frozenset()
    return frozenset(address_at(cidr, PROXY_PLACE) for cidr in network.internet_cidrs)


def _free_addresses(subnet: IPNetwork, taken: set[IPAddress], first: int) -> Iterator[IPAddress]:
    end = subnet.num_addresses - (1 if subnet.version == 4 else 0)
    places = (*range(min(first, end), min(end, first + 2**16)), *range(2, min(first, end)))
    for place in places:
        address = address_at(subnet, place)
        if address not in taken:
            yield address
    raise ExhaustedError(f"no free address in {subnet}")


def _pod_cidrs(
    spec: LabSpec, network: Network, leases: Leases
) -> dict[str, tuple[IPNetwork, ...]]:  # fmt: skip
    """Each node's pod CIDRs: as written, as leased, else the next free one."""
    found: dict[str, list[IPNetwork]] = {node.name: [] for node in spec.nodes}
    for subnet in network.pod_cidrs:
        prefix = node_mask_size(spec.networking, subnet.version)
        chosen = _kept_cidrs(spec.nodes, subnet, prefix, leases)
        free = free_subnets(subnet, prefix, list(chosen.values()))
        for node in spec.nodes:
            cidr = chosen.get(node.name) or next(free, None)
            if cidr is None:
                raise ExhaustedError(f"no free pod CIDR in {subnet}")
            found[node.name].append(cidr)
    return {name: tuple(cidrs) for name, cidrs in found.items()}


def _kept_cidrs(
    nodes: Sequence[NodeSpec], subnet: IPNetwork, prefix: int, leases: Leases
) -> dict[str, IPNetwork]:
    """The pod CIDRs of `subnet` that nodes have by the file, or have had."""
    chosen: dict[str, IPNetwork] = {}
    for node in nodes:
        for cidr, _ in written_pod_cidrs(node):
            if cidr.version == subnet.version:
                chosen[node.name] = cidr
    for node in nodes:
        for cidr in leases.hosts.get(node.name, HostLease()).pod_cidrs:
            if node.name not in chosen and _still_fits(cidr, subnet, prefix, chosen):
                chosen[node.name] = cidr
    return chosen


def _still_fits(
    cidr: IPNetwork, subnet: IPNetwork, prefix: int, chosen: dict[str, IPNetwork]
) -> bool:
    return (
        cidr.version == subnet.version
        and cidr.prefixlen == prefix
        and cidr.network_address in subnet
        and not any(cidr.overlaps(other) for other in chosen.values())
    )


# -- the internet ----------------------------------------------------------------------------------


def resolve_internet(
    spec: LabSpec, network: Network, leases: Leases
) -> tuple[tuple[InternetHost, ...], dict[str, HostLease]]:
    """The hosts outside the cluster; a file that says nothing about them has one, `internet`."""
    written = (InternetSpec(name="internet"),) if spec.internet is None else spec.internet
    reserved = _proxy_addresses(network)
    addresses = _host_addresses(written, network.internet_cidrs, leases, INTERNET_INDEX, reserved)
    hosts = tuple(
        InternetHost(host.name, addresses[host.name], host.port if host.server else 0)
        for host in written
    )
    return hosts, {host.name: HostLease(host.addresses) for host in hosts}
