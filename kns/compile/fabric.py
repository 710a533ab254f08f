"""The physical world: the switch between the nodes, the router, and the internet beyond it.

    node1 eth0 ─┐
    node2 eth0 ─┴─ underlay (172.18.0.1) ─ fabric routes ─ internet0 (203.0.113.1) ── internet eth0

The fabric knows no pod and no service CIDR: a packet that leaves a node with a pod's address gets
no answer, as on any network outside a cluster.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface

from kns.cluster.model import Cluster
from kns.compile import load_balancer, names
from kns.compile.cables import (
    default_routes,
    family_sysctls,
    gateway,
    interface,
    port_name,
    router_sysctls,
    uplink,
)
from kns.kinds.internet import InternetHost
from kns.state.model import Address, Bridge, Link, Netns, Sysctl, VethPeer, loopback

UNDERLAY = "underlay"
INTERNET = "internet0"


def compile_fabric(cluster: Cluster) -> Netns:
    """The fabric netns: two bridges, a port per node and host outside, the router's routes."""
    network = cluster.network
    name = names.fabric_netns(cluster.name)
    ports = [
        replace(
            _port(cluster, names.netns_of_node(cluster.name, node.name), node.name, UNDERLAY),
            up=node.name not in cluster.faults.nodes_down,
        )
        for node in cluster.nodes
    ]
    ports += [
        _port(cluster, names.netns_of_internet(cluster.name, host.name), host.name, INTERNET)
        for host in cluster.internet
    ]
    if load_balancer.has_cloud_lb(cluster):
        lb = names.netns_of_internet(cluster.name, load_balancer.CLOUD_LB)
        ports.append(_port(cluster, lb, load_balancer.CLOUD_LB, INTERNET))
    bridges = ((UNDERLAY, network.node_cidrs), (INTERNET, network.internet_cidrs))
    return Netns(
        name=name,
        links=(
            loopback(),
            *(
                Link(bridge, Bridge(), mac=names.mac(f"{name}/{bridge}"), mtu=network.mtu)
                for bridge, _ in bridges
            ),
            *ports,
        ),
        addresses=tuple(
            Address(bridge, ip_interface((gateway(cidr), cidr.prefixlen)))
            for bridge, cidrs in bridges
            for cidr in cidrs
        ),
        routes=load_balancer.router_routes(cluster),
        learned=load_balancer.learned(cluster),
        sysctls=(
            *router_sysctls(network),
            *load_balancer.router_sysctls(cluster),
            # a router that tells every sender, not six a second, that it knows no way
            Sysctl("ipv4/icmp_ratelimit", "0"),
        ),
    )


def _port(cluster: Cluster, netns: str, host: str, bridge: str) -> Link:
    name = port_name("port", host)
    fabric = names.fabric_netns(cluster.name)
    return Link(
        name,
        VethPeer(netns, "eth0"),
        mac=names.mac(f"{fabric}/{name}"),
        mtu=cluster.network.mtu,
        master=bridge,
        alias=f"to {host} eth0",
    )


def compile_internet_host(cluster: Cluster, host: InternetHost) -> Netns:
    """A host outside the cluster; its only route leads to the router."""
    network = cluster.network
    name = names.netns_of_internet(cluster.name, host.name)
    families = {address.version for address in host.addresses}
    cidrs = tuple(cidr for cidr in network.internet_cidrs if cidr.version in families)
    return Netns(
        name=name,
        links=(loopback(), uplink(cluster, name, host.name)),
        addresses=tuple(
            Address("eth0", interface(address, network.internet_cidrs))
            for address in host.addresses
        ),
        routes=default_routes(cidrs),
        sysctls=family_sysctls(network),
    )
