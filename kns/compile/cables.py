"""Pieces that every host on a network has: its cable, addresses, default routes, sysctls."""

from __future__ import annotations

from ipaddress import ip_interface

from kns.addresses import IPAddress, IPFamily, IPInterface, IPNetwork
from kns.cluster.model import Cluster, Network
from kns.compile import names
from kns.state.model import IFNAME_MAX, Link, NextHop, Route, Sysctl, VethPeer


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


def uplink(cluster: Cluster, netns: str, host: str) -> Link:
    """The host's end of its cable to the fabric: eth0."""
    return Link(
        "eth0",
        VethPeer(names.fabric_netns(cluster.name), port_name("port", host)),
        mac=names.mac(f"{netns}/eth0"),
        mtu=cluster.network.mtu,
    )
