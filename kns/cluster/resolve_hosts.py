"""The cluster's networking options, its nodes, and the hosts outside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.cluster.allocate import ExhaustedError, address_at, free_subnets
from kns.cluster.leases import HostLease, Leases
from kns.cluster.model import Network
from kns.kinds.internet import InternetHost
from kns.kinds.lab import Lab
from kns.kinds.networking import PodNetworkMode
from kns.kinds.networks import DNS_INDEX, PROXY_PLACE, networks, node_mask_size
from kns.kinds.node import Node

#: the first host outside the cluster that names no address: 203.0.113.10, 2001:db8:203::10
INTERNET_INDEX = {4: 10, 6: 0x10}


# -- networking ------------------------------------------------------------------------------------


def resolve_network(lab: Lab) -> Network:
    """The cluster-wide options after defaulting; as kubeadm does, clusterCIDR is the pods' own."""
    written = lab.networking
    nets = networks(written)
    kube_proxy = written.kube_proxy
    return Network(
        families=tuple(IPFamily(f"IPv{family}") for family in nets.families),
        pod_cidrs=nets.pod,
        service_cidrs=nets.service,
        node_cidrs=nets.node,
        internet_cidrs=nets.internet,
        pod_network=written.pod_network,
        mtu=written.mtu,
        node_port_range=written.node_port_range,
        kube_proxy=replace(kube_proxy, cluster_cidrs=kube_proxy.cluster_cidrs or nets.pod),
        dns=replace(
            written.dns,
            domain=written.cluster_domain or written.dns.domain,
            service_ips=tuple(address_at(cidr, DNS_INDEX) for cidr in nets.service),
        ),
        egress=written.egress,
        load_balancer=lab.load_balancer,
    )


# -- nodes -----------------------------------------------------------------------------------------


def resolve_nodes(
    lab: Lab, network: Network, leases: Leases
) -> tuple[tuple[Node, ...], dict[str, HostLease]]:
    """The nodes in file order, with addresses and pod CIDRs of each family."""
    addresses = _host_addresses(lab.nodes, network.node_cidrs, leases, {4: 2, 6: 2})
    cidrs = _pod_cidrs(lab, network, leases)
    nodes: list[Node] = []
    for item in lab.nodes:
        nodes.append(
            Node(
                name=item.name,
                addresses=addresses[item.name],
                pod_cidrs=cidrs[item.name],
                labels={"kubernetes.io/hostname": item.name, **item.labels},
                host_addresses=_host_side(cidrs[item.name], network.pod_network),
                taints=item.taints,
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
    parts: Sequence[Node | InternetHost],
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
            for address in part.addresses:
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
    lab: Lab, network: Network, leases: Leases
) -> dict[str, tuple[IPNetwork, ...]]:  # fmt: skip
    """Each node's pod CIDRs: as written, as leased, else the next free one."""
    found: dict[str, list[IPNetwork]] = {node.name: [] for node in lab.nodes}
    for subnet in network.pod_cidrs:
        prefix = node_mask_size(lab.networking, subnet.version)
        chosen = _kept_cidrs(lab.nodes, subnet, prefix, leases)
        free = free_subnets(subnet, prefix, list(chosen.values()))
        for node in lab.nodes:
            cidr = chosen.get(node.name) or next(free, None)
            if cidr is None:
                raise ExhaustedError(f"no free pod CIDR in {subnet}")
            found[node.name].append(cidr)
    return {name: tuple(cidrs) for name, cidrs in found.items()}


def _kept_cidrs(
    nodes: Sequence[Node], subnet: IPNetwork, prefix: int, leases: Leases
) -> dict[str, IPNetwork]:
    """The pod CIDRs of `subnet` that nodes have by the file, or have had."""
    chosen: dict[str, IPNetwork] = {}
    for node in nodes:
        for cidr in node.pod_cidrs:
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
    lab: Lab, network: Network, leases: Leases
) -> tuple[tuple[InternetHost, ...], dict[str, HostLease]]:
    """The hosts outside the cluster; a file that says nothing about them has one, `internet`."""
    written = (InternetHost("internet", ()),) if lab.internet is None else lab.internet
    reserved = _proxy_addresses(network)
    addresses = _host_addresses(written, network.internet_cidrs, leases, INTERNET_INDEX, reserved)
    hosts = tuple(replace(host, addresses=addresses[host.name]) for host in written)
    return hosts, {host.name: HostLease(host.addresses) for host in hosts}
