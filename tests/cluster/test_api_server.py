"""The cluster's own API server: its Service, its slice, and who knows of them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from kns.addresses import IPFamily
from kns.cluster.api_server import server_names
from kns.cluster.environment import service_environment
from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.cluster.slices import SERVICE_NAME
from kns.compile.listeners import KubeAPIServer, listeners
from kns.kinds.assemble import lab_of
from kns.kinds.endpointslice import Endpoint
from kns.kinds.export import documents
from kns.kinds.networking import ProxyMode
from kns.kinds.seed import objects_of
from kns.promise.check import Http
from kns.promise.checks import cluster_checks
from tests.kinds.labs import lab

PODS = "pods: [{name: pod1, node: node2, enableServiceLinks: false}]\n"


def cluster(head: str = "apiServer: {}\n") -> Cluster:
    return resolve(lab(f"{head}{PODS}").spec).cluster


def test_the_service_is_kube_apiservers() -> None:
    made = cluster().service("default", "kubernetes")
    assert made is not None
    assert made.labels == {"component": "apiserver", "provider": "kubernetes"}
    assert made.cluster_ips == (ip_address("10.96.0.1"),)
    assert made.selector is None or not made.selector
    (port,) = made.ports
    assert (port.name, port.port, port.target_port) == ("https", 443, 6443)


def test_its_slice_has_the_address_of_the_first_node_and_no_controller() -> None:
    (made,) = cluster().endpoint_slices[:1]
    assert (made.namespace, made.name) == ("default", "kubernetes")
    assert made.labels == {SERVICE_NAME: "kubernetes"}
    assert made.endpoints == (Endpoint((ip_address("172.18.0.2"),), ready=True),)
    assert [(port.name, port.port) for port in made.ports] == [("https", 6443)]


def test_it_can_be_on_another_node() -> None:
    found = cluster("apiServer: {node: node2}\n")
    assert found.endpoint_slices[0].endpoints[0].addresses == (ip_address("172.18.0.3"),)
    (own,) = (item for item in listeners(found) if isinstance(item.subject, KubeAPIServer))
    assert str(own.socket) == f"kns.{found.name}.node2 tcp 0.0.0.0:6443"


def test_in_a_dual_stack_lab_it_is_of_the_primary_family_alone() -> None:
    subnets = 'networking: {ipFamily: dual, serviceSubnet: ["fd00:9::/112"]}\n'
    found = cluster(f"apiServer: {{}}\n{subnets}")
    made = found.service("default", "kubernetes")
    assert made is not None
    assert made.cluster_ips == (ip_address("fd00:9::1"),)
    own = [item for item in found.endpoint_slices if item.service == "kubernetes"]
    assert [item.address_type for item in own] == [IPFamily.IPV6]
    addresses = {item.socket.address for item in listeners(found) if item.socket.port == 6443}
    assert addresses == {"0.0.0.0", "::"}


def test_a_lab_without_it_has_none_of_it() -> None:
    found = cluster("")
    assert found.service("default", "kubernetes") is None
    assert found.api_server is None
    assert server_names(found) == ()
    assert all(item.socket.port != 6443 for item in listeners(found))


def test_every_pod_knows_of_it() -> None:
    found = cluster()
    variables = dict(service_environment(found, found.pods[0]))
    assert variables["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert variables["KUBERNETES_SERVICE_PORT"] == "443"
    assert variables["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"


def test_its_certificate_has_the_names_by_which_pods_ask() -> None:
    found = cluster("apiServer: {}\nnetworking: {clusterDomain: lab.example}\n")
    assert server_names(found) == (
        "kubernetes.default.svc.lab.example", "node1", "10.96.0.1", "172.18.0.2",
    )  # fmt: skip


def test_its_slice_stays_its_own_whatever_somebody_writes() -> None:
    slices = (
        "endpointSlices:\n- {name: kubernetes, service: kubernetes, addressType: IPv4,"
        " ports: [{name: https, port: 1}], endpoints: [{addresses: [10.0.0.1]}]}\n"
    )
    assert cluster(f"apiServer: {{}}\n{slices}") == cluster()
    assert cluster(slices).endpoint_slices[0].ports[0].port == 1


def test_the_lab_of_its_objects_is_the_same_and_up_takes_it() -> None:
    loaded = lab(f"apiServer: {{node: node2}}\n{PODS}")
    objects = objects_of(loaded)
    assert resolve(lab_of(objects).lab).cluster == resolve(loaded.spec).cluster
    assert next(iter(documents(objects)))["apiServer"] == {"node": "node2"}


def test_verify_asks_it_over_tls_from_pods_and_nodes_in_every_mode() -> None:
    found = cluster()
    for mode in ProxyMode:
        options = replace(found.network.kube_proxy, mode=mode)
        in_mode = replace(found, network=replace(found.network, kube_proxy=options))
        asks = {
            check.name: step.ask
            for check in cluster_checks(in_mode).checks
            for step in check.steps
            if step.expectation.status == 401
        }
        assert set(asks) == {"pod1->kubernetes", "node1->kubernetes", "node2->kubernetes"}
        assert all(isinstance(ask, Http) and ask.scheme == "https" for ask in asks.values())
