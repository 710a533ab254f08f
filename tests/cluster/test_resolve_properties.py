"""Whatever a lab goes through: addresses are unique, in their ranges, and stay with who stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from kns.cluster.leases import Leases
from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.kinds.load import load_lab_text

NAMES = [f"p{i}" for i in range(8)]
#: one state of a lab: its nodes, its pods (some bound to the first node) and its services
STATES = st.tuples(
    st.lists(st.sampled_from(["n1", "n2", "n3"]), min_size=1, unique=True),
    st.lists(st.tuples(st.sampled_from(NAMES), st.booleans()), unique_by=lambda pod: pod[0]),
    st.lists(
        st.tuples(
            st.sampled_from(NAMES), st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"])
        ),
        unique_by=lambda service: service[0],
    ),
)
State = tuple[list[str], list[tuple[str, bool]], list[tuple[str, str]]]


def text(state: State) -> str:
    nodes, pods, services = state
    lines = ["apiVersion: kns/v1", "kind: Lab", "metadata: {name: lab}"]
    lines.append("networking: {ipFamily: dual, nodePortRange: 30000-30100}")
    lines.append("loadBalancer: {pool: 192.0.2.0/27}")
    lines += ["nodes:", *(f"- {{name: {node}}}" for node in nodes), "pods:"]
    for name, bound in pods:
        lines.append(f"- {{name: {name}{f', node: {nodes[0]}' if bound else ''}}}")
    lines.append("services:")
    for name, kind in services:
        fields = ", externalTrafficPolicy: Local" if kind == "LoadBalancer" else ""
        fields += ", ipFamilyPolicy: PreferDualStack, ports: [{port: 80}]"
        lines.append(f"- {{name: {name}, type: {kind}{fields}}}")
    return "\n".join(lines)


@settings(max_examples=25, deadline=None)
@given(st.lists(STATES, min_size=1, max_size=5))
def test_a_lab_that_changes_keeps_its_promises(states: Sequence[State]) -> None:
    leases = Leases()
    before: Cluster | None = None
    for state in states:
        resolution = resolve(load_lab_text(text(state)).spec, leases)
        cluster, leases = resolution.cluster, Leases.from_json(resolution.leases.to_json())
        check_uniqueness(cluster)
        check_ranges(cluster)
        if before is not None:
            check_what_stays(before, cluster)
        before = cluster


def check_uniqueness(cluster: Cluster) -> None:
    groups = [
        *((*node.addresses, *node.host_addresses) for node in cluster.nodes),
        *(pod.addresses for pod in cluster.pods),
        *(host.addresses for host in cluster.internet),
        *(service.cluster_ips for service in cluster.services),
        *((point.ip,) for service in cluster.services for point in service.load_balancer_ingress),
    ]
    addresses = Counter(address for group in groups for address in group)
    assert [address for address, count in addresses.items() if count > 1] == []
    ports = Counter(port.node_port for service in cluster.services for port in service.ports)
    ports.update(service.health_check_node_port for service in cluster.services)
    assert [port for port, count in ports.items() if count > 1 and port] == []


def check_ranges(cluster: Cluster) -> None:
    nodes = {node.name: node for node in cluster.nodes}
    for pod in cluster.pods:
        assert len(pod.addresses) == 2
        for address, cidr in zip(pod.addresses, nodes[pod.node].pod_cidrs, strict=True):
            assert address in cidr
    for service in cluster.services:
        for address, cidr in zip(service.cluster_ips, cluster.network.service_cidrs, strict=True):
            assert address in cidr
        for port in service.ports:
            assert port.node_port == 0 or 30000 <= port.node_port <= 30100


def check_what_stays(before: Cluster, after: Cluster) -> None:
    nodes = {node.name: node for node in after.nodes}
    for node in before.nodes:
        if node.name in nodes:
            assert nodes[node.name] == node
    pods = {pod.full_name: pod for pod in after.pods}
    for pod in before.pods:
        now = pods.get(pod.full_name)
        if now is not None and now.node == pod.node:
            assert now.addresses == pod.addresses
    services = {service.full_name: service for service in after.services}
    for service in before.services:
        later = services.get(service.full_name)
        if later is not None:
            assert later.cluster_ips == service.cluster_ips
        if later is not None and later.type is service.type:
            assert later == service
