"""The cluster that is measured: a client on one node, the backends on another, and N services.

    client ── cni0 node1 eth0 ── underlay ── eth0 node2 cni0 ── server-0 … server-E
              rules of N services           no services

Each service has E endpoints, all of them real; the services' names sort in the order of their
number, which is the order of the rules in iptables mode.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, ip_network

from kns.addresses import IPFamily
from kns.cluster.model import Cluster, Network
from kns.compile import names
from kns.compile.lab import compile_host, compile_node
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.networking import KubeProxyOptions, ProxyMode
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service, ServicePort
from kns.state.model import HostState, Netns

POD_CIDR = ip_network("10.244.0.0/16")
SERVICE_CIDR = IPv4Network("10.96.0.0/12")
PORT, TARGET_PORT = 80, 8080
#: where IPVS mode keeps the services' addresses
IPVS_DEVICE = "kube-ipvs0"


@dataclass(frozen=True, slots=True)
class Scenario:
    """N services with E endpoints in a mode; `lab` names the netns."""

    lab: str
    mode: ProxyMode
    services: int
    endpoints: int

    @property
    def client(self) -> str:
        """The netns that connects."""
        return names.netns_of_pod(self.lab, "default", "client")

    @property
    def node(self) -> str:
        """The netns with the rules."""
        return names.netns_of_node(self.lab, "node1")

    @property
    def servers(self) -> tuple[str, ...]:
        """The netns that answer, one more than a service has endpoints."""
        return tuple(
            names.netns_of_pod(self.lab, "default", f"server-{index}")
            for index in range(self.endpoints + 1)
        )

    def address(self, index: int) -> str:
        """The cluster IP of a service."""
        return str(SERVICE_CIDR[index + 1])

    def base(self) -> HostState:
        """The lab without services."""
        return compile_host(self.cluster())

    def rules(self, changed: int | None = None) -> Netns:
        """node1 with all services; `changed` is one that has lost an endpoint and got another."""
        indexes = range(self.services)
        cluster = self.cluster(
            services=tuple(_service(index) for index in indexes),
            slices=tuple(self._slice(index, changed=index == changed) for index in indexes),
        )
        pods = tuple(pod for pod in cluster.pods if pod.node == "node1")
        return compile_node(cluster, cluster.nodes[0], pods)

    def cluster(
        self, services: tuple[Service, ...] = (), slices: Iterable[EndpointSlice] = ()
    ) -> Cluster:
        """The cluster with these services."""
        servers = (
            _pod(f"server-{index}", "node2", _server_address(index))
            for index in range(self.endpoints + 1)
        )
        return Cluster(
            name=self.lab,
            network=_network(self.mode),
            nodes=(_node(1), _node(2)),
            pods=(_pod("client", "node1", IPv4Address("10.244.1.2")), *servers),
            services=services,
            endpoint_slices=tuple(slices),
        )

    def _slice(self, index: int, *, changed: bool) -> EndpointSlice:
        first = 1 if changed else 0
        name = _service_name(index)
        return EndpointSlice(
            namespace="default",
            name=name,
            service=name,
            address_type=IPFamily.IPV4,
            ports=(EndpointPort(TARGET_PORT, "http"),),
            endpoints=tuple(
                Endpoint((_server_address(number),), ready=True, node_name="node2")
                for number in range(first, first + self.endpoints)
            ),
        )


def without_rules(netns: Netns) -> Netns:
    """The netns before any proxy ran in it; kube-ipvs0 is there, but holds no addresses."""
    addresses = tuple(item for item in netns.addresses if item.ifname != IPVS_DEVICE)
    return replace(
        netns, addresses=addresses, iptables=(), nftables=(), ipsets=(), virtual_servers=()
    )


def _service_name(index: int) -> str:
    return f"svc-{index:05}"


def _service(index: int) -> Service:
    return Service(
        namespace="default",
        name=_service_name(index),
        cluster_ips=(SERVICE_CIDR[index + 1],),
        ports=(ServicePort(PORT, "http", target_port=TARGET_PORT),),
    )


def _server_address(index: int) -> IPv4Address:
    return IPv4Address("10.244.2.2") + index


def _pod(name: str, node: str, address: IPv4Address) -> Pod:
    return Pod("default", name, node, (address,))


def _node(number: int) -> Node:
    return Node(
        f"node{number}",
        (IPv4Address(f"172.18.0.{number + 1}"),),
        (ip_network(f"10.244.{number}.0/24"),),
    )


def _network(mode: ProxyMode) -> Network:
    return Network(
        families=(IPFamily.IPV4,),
        pod_cidrs=(POD_CIDR,),
        service_cidrs=(SERVICE_CIDR,),
        node_cidrs=(ip_network("172.18.0.0/24"),),
        internet_cidrs=(ip_network("203.0.113.0/24"),),
        kube_proxy=KubeProxyOptions(mode=mode, cluster_cidrs=(POD_CIDR,)),
    )
