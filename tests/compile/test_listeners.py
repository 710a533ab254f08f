"""Which servers and processes a cluster wants."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from kns.addresses import IPFamily
from kns.cluster.model import Cluster, Network
from kns.compile.listeners import (
    Identity,
    Listener,
    ListenSocket,
    NameServer,
    ProxyHealth,
    ServiceHealth,
    listeners,
    local_endpoints,
    needs_health_check,
)
from kns.compile.name_servers import NameServerKind
from kns.compile.programs.program import Program
from kns.compile.programs.programs import programs
from kns.compile.proxy.by_mode import proxy
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.env import EnvVar
from kns.kinds.internet import InternetHost
from kns.kinds.networking import DNSOptions, KubeProxyOptions, ProxyMode
from kns.kinds.node import Node
from kns.kinds.pod import Container, ContainerPort, Pod
from kns.kinds.service import Service, ServiceType, TrafficPolicy

NODE = Node("node1", (ip_address("172.18.0.2"),), host_addresses=(ip_address("10.244.0.1"),))
LOCAL = Service(
    "shop",
    "web",
    type=ServiceType.LOAD_BALANCER,
    cluster_ips=(ip_address("10.96.0.9"),),
    external_traffic_policy=TrafficPolicy.LOCAL,
    health_check_node_port=32100,
)


def cluster(**parts: object) -> Cluster:
    network = Network((IPFamily.IPV4,), (), (), (), ())
    return Cluster(name="lab", network=network, nodes=parts.pop("nodes", ()), **parts)  # type: ignore[arg-type]


def pod(*containers: Container, addresses: tuple[str, ...] = ("10.244.0.2",)) -> Pod:
    found = tuple(ip_address(address) for address in addresses)
    return Pod("default", "pod1", "node1", found, containers=containers)


def endpoint(address: str, node: str = "node1", *, ready: bool | None = True) -> Endpoint:
    return Endpoint((ip_address(address),), ready=ready, node_name=node)


def slice_of(
    *endpoints: Endpoint, family: IPFamily = IPFamily.IPV4, name: str = "web-1"
) -> EndpointSlice:
    ports = (EndpointPort(8080),)
    return EndpointSlice("shop", name, "web", family, ports, endpoints)


def test_each_port_of_each_container_is_a_server() -> None:
    web = Container("web", (ContainerPort(8080), ContainerPort(53, protocol=Protocol.UDP)))
    side = Container("side", (ContainerPort(9090),), env=(EnvVar("A", "b"),))
    main = Identity("pod1", "default", "pod1", "node1", "web")
    second = Identity("pod1", "default", "pod1", "node1", "side", env=(("A", "b"),))
    assert listeners(cluster(pods=(pod(web, side),))) == (
        Listener(ListenSocket("kns.lab.pod1", "0.0.0.0", 8080), main),
        Listener(ListenSocket("kns.lab.pod1", "0.0.0.0", 53, Protocol.UDP), main),
        Listener(ListenSocket("kns.lab.pod1", "0.0.0.0", 9090), second),
    )


def test_dual_stack_pod_listens_in_both_families() -> None:
    made = pod(Container("web", (ContainerPort(80),)), addresses=("10.244.0.2", "fd00::2"))
    sockets = [spec.socket for spec in listeners(cluster(pods=(made,)))]
    assert [socket.address for socket in sockets] == ["0.0.0.0", "::"]


def test_container_with_a_command_is_a_process_and_no_server() -> None:
    made = pod(Container("web", (ContainerPort(80),), ("nginx",), (EnvVar("A", "b"),)))
    wanted = cluster(pods=(made,))
    assert listeners(wanted) == ()
    assert programs(wanted) == (
        Program("lab/default/pod1/web", "kns.lab.pod1", "web", ("nginx",), "pod1", (("A", "b"),)),
    )


def test_digest_changes_with_the_command_and_its_environment_only() -> None:
    spec = Program("k", "n", "web", ("a", "b"), "pod1", (("A", "b"),))
    other = Program("k", "n", "web", ("a b",), "pod1", (("A", "b"),))
    assert spec.digest == Program("k2", "n2", "web", ("a", "b"), "pod1", (("A", "b"),)).digest
    assert spec.digest != other.digest


def test_internet_host_serves_http_and_udp_and_the_first_one_dns() -> None:
    hosts = (
        InternetHost("internet", (ip_address("203.0.113.10"),)),
        InternetHost("other", (ip_address("203.0.113.11"),)),
    )
    sockets = {spec.socket for spec in listeners(cluster(internet=hosts))}
    assert sockets == {
        ListenSocket(f"kns.lab.{host}", "0.0.0.0", port, protocol)
        for host, port in (("internet", 80), ("internet", 53), ("other", 80))
        for protocol in (Protocol.TCP, Protocol.UDP)
    }


def test_port_53_of_a_dns_pod_is_a_name_server() -> None:
    ports = (ContainerPort(53, "dns", Protocol.UDP), ContainerPort(9153, "metrics"))
    dns = Pod(
        "kube-system",
        "coredns-1",
        "node1",
        (ip_address("10.244.0.2"),),
        labels={"k8s-app": "kube-dns"},
        containers=(Container("coredns", ports),),
    )
    first, second = listeners(cluster(pods=(dns,)))
    assert first.subject == NameServer(NameServerKind.CLUSTER, "kube-system/coredns-1")
    assert isinstance(second.subject, Identity)


def test_dns_pod_runs_coredns_when_the_lab_asks_for_it() -> None:
    ports = (ContainerPort(53, "dns", Protocol.UDP),)
    dns = Pod(
        "kube-system",
        "coredns-1",
        "node1",
        (ip_address("10.244.0.2"),),
        labels={"k8s-app": "kube-dns"},
        containers=(Container("coredns", ports),),
    )
    network = Network((IPFamily.IPV4,), (), (), (), (), dns=DNSOptions(server="coredns"))
    wanted = Cluster("lab", network, (), pods=(dns,))
    assert listeners(wanted) == ()
    (spec,) = programs(wanted)
    assert spec.netns == "kns.lab.kube-system.coredns-1"
    assert spec.command == ("coredns", "-conf", spec.files[0][0])
    assert [Path(path).name for path, _ in spec.files] == ["Corefile", "cluster.db"]


def test_every_node_has_kube_proxys_own_health_server() -> None:
    assert listeners(cluster(nodes=(NODE,))) == (
        Listener(ListenSocket("kns.lab.node1", "0.0.0.0", 10256), ProxyHealth("node1")),
    )


def test_health_check_port_is_served_on_every_node_with_its_own_count() -> None:
    nodes = (NODE, Node("node2", (ip_address("172.18.0.3"),)))
    slices = (slice_of(endpoint("10.244.0.2"), endpoint("10.244.0.3")),)
    wanted = listeners(cluster(nodes=nodes, services=(LOCAL,), endpoint_slices=slices))
    found = {spec.socket.netns: spec.subject for spec in wanted if spec.socket.port == 32100}
    assert found == {
        "kns.lab.node1": ServiceHealth("shop", "web", 2),
        "kns.lab.node2": ServiceHealth("shop", "web", 0),
    }


@pytest.mark.parametrize(
    ("endpoints", "count"),
    [
        ((), 0),
        ((endpoint("10.244.0.2"),), 1),
        ((endpoint("10.244.0.2", ready=None),), 1),
        ((endpoint("10.244.0.2", ready=False),), 0),
        ((endpoint("10.244.0.2", "node2"),), 0),
        ((endpoint("10.244.0.2"), endpoint("10.244.0.2")), 1),
    ],
)
def test_local_endpoints_are_ready_and_on_the_node(
    endpoints: tuple[Endpoint, ...], count: int
) -> None:
    assert local_endpoints(LOCAL, (slice_of(*endpoints),), "node1") == count


def test_dual_stack_service_counts_an_endpoint_once() -> None:
    slices = (
        slice_of(endpoint("10.244.0.2")),
        slice_of(endpoint("fd00::2"), family=IPFamily.IPV6, name="web-2"),
        EndpointSlice(
            "other", "x", "web", IPFamily.IPV4, (EndpointPort(1),), (endpoint("10.244.0.9"),)
        ),
    )
    assert local_endpoints(LOCAL, slices, "node1") == 1


def test_only_local_load_balancers_have_a_health_check() -> None:
    from dataclasses import replace

    assert needs_health_check(LOCAL)
    for change in (
        {"type": ServiceType.NODE_PORT},
        {"external_traffic_policy": TrafficPolicy.CLUSTER},
        {"health_check_node_port": 0},
        {"cluster_ips": ()},
        {"labels": {"service.kubernetes.io/service-proxy-name": "cilium"}},
    ):
        assert not needs_health_check(replace(LOCAL, **change))


@pytest.mark.parametrize(
    ("options", "addresses"),
    [
        (KubeProxyOptions(), ("0.0.0.0",)),
        (KubeProxyOptions(mode=ProxyMode.IPVS), ("0.0.0.0",)),
        (KubeProxyOptions(mode=ProxyMode.NFTABLES), ("172.18.0.2",)),
        (KubeProxyOptions(nodeport_addresses=(ip_network("172.18.0.0/16"),)), ("172.18.0.2",)),
        (
            KubeProxyOptions(
                nodeport_addresses=(ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"))
            ),
            ("127.0.0.1", "10.244.0.1"),
        ),
        (KubeProxyOptions(nodeport_addresses=(ip_network("0.0.0.0/0"),)), ("0.0.0.0",)),
        (KubeProxyOptions(nodeport_addresses=(ip_network("192.168.0.0/16"),)), ()),
    ],
)
def test_health_check_listens_where_node_ports_do(
    options: KubeProxyOptions, addresses: tuple[str, ...]
) -> None:
    assert proxy(options.mode).health_check_addresses(NODE, options) == addresses
