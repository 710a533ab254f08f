"""The physical world: the switch between the nodes, the router, and the internet beyond it.

    node1 eth0 ─┐
    node2 eth0 ─┴─ underlay (172.18.0.1) ─ fabric routes ─ internet0 (203.0.113.1) ── internet eth0

The fabric knows no pod and no service CIDR: a packet that leaves a node with a pod's address gets
no answer, as on any network outside a cluster.
"""

from __future__ import annotations

from ipaddress import ip_interface

from kns.cluster.model import Cluster, InternetHost, IPAddress, IPFamily, IPNetwork, Network
from kns.compile import names
from kns.state.model import (
    IFNAME_MAX,
    Address,
    Bridge,
    IPInterface,
    Loopback,
    Netns,
    NextHop,
    Route,
    Sysctl,
    Veth,
)

UNDERLAY = "underlay"
INTERNET = "internet0"


def interface(address: IPAddress, networks: tuple[IPNetwork, ...]) -> IPInterface:
    """The address with the prefix length of the one network of its family."""
    network = next(item for item in networks if item.version == address.version)
    return ip_interface((address, network.prefixlen))


def gateway(network: IPNetwork) -> IPAddress:
    """The router's address on a network: its first."""
    return network.network_address + 1


def default_routes(networks: tuple[IPNetwork, ...]) -> tuple[Route, ...]:
    """Default routes by the router of each network, through eth0."""
    return tuple(
        Route(
            destination=type(network)("0.0.0.0/0" if network.version == 4 else "::/0"),
            hops=(NextHop(gateway(network), "eth0"),),
        )
        for network in networks
    )


def family_sysctls(network: Network) -> tuple[Sysctl, ...]:
    """IPv6 off where the cluster has none; else no duplicate address detection.

    Detection would keep an address unusable for a second after a link comes up. With IPv6 on for
    nobody's use, each of a bridge's ports floods all the others with discovery and reports.
    """
    if IPFamily.IPV6 not in network.families:
        return (Sysctl("ipv6/conf/all/disable_ipv6", "1"),)
    return (
        Sysctl("ipv6/conf/all/disable_ipv6", "0"),
        Sysctl("ipv6/conf/all/accept_dad", "0"),
        Sysctl("ipv6/conf/default/accept_dad", "0"),
        Sysctl("ipv6/conf/default/accept_ra", "0"),
    )


def router_sysctls(network: Network) -> tuple[Sysctl, ...]:
    """Forwarding on; no reverse path filter, which would drop packets of asymmetric paths."""
    forwarding = (
        (Sysctl("ipv6/conf/all/forwarding", "1"),) if IPFamily.IPV6 in network.families else ()
    )
    return (
        *family_sysctls(network),
        *forwarding,
        Sysctl("ipv4/ip_forward", "1"),
        Sysctl("ipv4/conf/all/rp_filter", "0"),
        Sysctl("ipv4/conf/default/rp_filter", "0"),
    )


def port_name(prefix: str, name: str) -> str:
    """The fabric's end of a cable: the host's own name where it fits, else hashed."""
    return name if len(name) <= IFNAME_MAX else names.ifname(prefix, name)


def compile_fabric(cluster: Cluster) -> Netns:
    """The fabric netns: two bridges, a port per node and internet host, no routes of its own."""
    network = cluster.network
    name = names.fabric_netns(cluster.name)
    ports = [
        _port(cluster, names.netns_of_node(cluster.name, node.name), node.name, UNDERLAY)
        for node in cluster.nodes
    ]
    ports += [
        _port(cluster, names.netns_of_internet(cluster.name, host.name), host.name, INTERNET)
        for host in cluster.internet
    ]
    bridges = ((UNDERLAY, network.node_cidrs), (INTERNET, network.internet_cidrs))
    return Netns(
        name=name,
        links=(
            Loopback(),
            *(
                Bridge(bridge, mac=names.mac(f"{name}/{bridge}"), mtu=network.mtu)
                for bridge, _ in bridges
            ),
            *ports,
        ),
        addresses=tuple(
            Address(bridge, ip_interface((gateway(cidr), cidr.prefixlen)))
            for bridge, cidrs in bridges
            for cidr in cidrs
        ),
        sysctls=router_sysctls(network),
    )


def _port(cluster: Cluster, netns: str, host: str, bridge: str) -> Veth:
    name = port_name("port", host)
    fabric = names.fabric_netns(cluster.name)
    return Veth(
        name=name,
        peer_netns=netns,
        peer="eth0",
        mac=names.mac(f"{fabric}/{name}"),
        mtu=cluster.network.mtu,
        master=bridge,
        alias=f"to {host} eth0",
    )


def uplink(cluster: Cluster, netns: str, host: str) -> Veth:
    """The host's end of its cable to the fabric: eth0."""
    return Veth(
        name="eth0",
        peer_netns=names.fabric_netns(cluster.name),
        peer=port_name("port", host),
        mac=names.mac(f"{netns}/eth0"),
        mtu=cluster.network.mtu,
    )


def compile_internet_host(cluster: Cluster, host: InternetHost) -> Netns:
    """A host outside the cluster; its only route leads to the router."""
    network = cluster.network
    name = names.netns_of_internet(cluster.name, host.name)
    families = {address.version for address in host.addresses}
    cidrs = tuple(cidr for cidr in network.internet_cidrs if cidr.version in families)
    return Netns(
        name=name,
        links=(Loopback(), uplink(cluster, name, host.name)),
        addresses=tuple(
            Address("eth0", interface(address, network.internet_cidrs))
            for address in host.addresses
        ),
        routes=default_routes(cidrs),
        sysctls=family_sysctls(network),
    )
