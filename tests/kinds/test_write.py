"""What is written of an object reads as the same object again."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from kns.addresses import IPFamily
from kns.kinds import endpointslice, ingress, networkpolicy, node, secret, service
from kns.kinds.common import Object, Protocol
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.ingress import (
    Ingress,
    IngressBackend,
    IngressClass,
    IngressPath,
    IngressRule,
    IngressTLS,
    PathType,
)
from kns.kinds.networkpolicy import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicyRule,
    PolicyType,
)
from kns.kinds.node import Node
from kns.kinds.scheduling import Taint, TaintEffect
from kns.kinds.secret import TLSSecret
from kns.kinds.selector import LabelSelector, LabelSelectorRequirement, SelectorOperator
from kns.kinds.service import (
    IPFamilyPolicy,
    LoadBalancerIngress,
    Service,
    ServicePort,
    ServiceType,
    SessionAffinity,
    TrafficPolicy,
)
from kns.labfile.reader import DocumentKind, Reading
from kns.labfile.shape import Form

T = TypeVar("T")
NAMES = st.sampled_from(["web", "db", "a-1", "x"])
PORTS = st.integers(1, 65535)
LABELS = st.dictionaries(st.sampled_from(["app", "tier", "a.b/c"]), NAMES, max_size=2)
PROTOCOLS = st.sampled_from(Protocol)
V4 = st.integers(0x0A000001, 0x0AFFFFFE).map(ip_address)
POLICIES = st.sampled_from(TrafficPolicy)


def lists(items: st.SearchStrategy[T], least: int = 0) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(items, min_size=least, max_size=3).map(tuple)


SERVICE_PORTS = st.builds(
    ServicePort,
    port=PORTS,
    name=st.just("") | NAMES,
    protocol=PROTOCOLS,
    target_port=PORTS | NAMES,
    node_port=st.just(0) | PORTS,
    app_protocol=st.sampled_from(["", "http"]),
)
POINTS = st.builds(LoadBalancerIngress, ip=V4, ip_mode=st.sampled_from(["VIP", "Proxy"])) | (
    st.builds(LoadBalancerIngress, hostname=NAMES)
)
SERVICES = st.builds(
    Service,
    namespace=NAMES,
    name=NAMES,
    type=st.sampled_from([ServiceType.NODE_PORT, ServiceType.LOAD_BALANCER]),
    cluster_ips=V4.map(lambda address: (address,)),
    ip_families=st.just((IPFamily.IPV4,)),
    selector=st.none() | st.just({"app": "web"}),
    ports=lists(SERVICE_PORTS),
    labels=LABELS,
    annotations=LABELS,
    session_affinity=st.just(SessionAffinity.CLIENT_IP),
    session_affinity_timeout=st.integers(1, 86400),
    external_traffic_policy=POLICIES,
    internal_traffic_policy=POLICIES,
    external_ips=lists(V4),
    load_balancer_source_ranges=lists(st.sampled_from(["10.0.0.0/8", "::/0"])),
    load_balancer_ingress=lists(POINTS),
    load_balancer_class=st.sampled_from(["", "a.b/c"]),
    health_check_node_port=st.just(0) | PORTS,
    publish_not_ready_addresses=st.booleans(),
    allocate_load_balancer_node_ports=st.booleans(),
    ip_family_policy=st.none() | st.sampled_from(IPFamilyPolicy),
    load_balancer_ip=st.none() | V4,
    traffic_distribution=st.sampled_from(["", "PreferClose"]),
)
CONDITION = st.none() | st.booleans()
ENDPOINTS = st.builds(
    Endpoint,
    addresses=lists(V4, 1),
    ready=CONDITION,
    serving=CONDITION,
    terminating=CONDITION,
    node_name=st.just("") | NAMES,
    zone=st.just("") | NAMES,
    hostname=st.just("") | NAMES,
    hint_zones=lists(NAMES),
    hint_nodes=lists(NAMES),
    pod=st.sampled_from(["", "default/web"]),
)
SLICES = st.builds(
    lambda name, **rest: EndpointSlice(
        "default", "s-1", name, IPFamily.IPV4,
        labels={endpointslice.SERVICE_NAME_LABEL: name}, **rest,
    ),
    NAMES,
    ports=lists(
        st.builds(
            EndpointPort,
            port=st.none() | PORTS,
            name=st.just("") | NAMES,
            protocol=PROTOCOLS,
            app_protocol=st.sampled_from(["", "http"]),
        )
    ),
    endpoints=lists(ENDPOINTS),
)  # fmt: skip
BACKENDS = st.builds(IngressBackend, service=NAMES, port=PORTS | NAMES)
PATHS = st.builds(
    IngressPath,
    path=st.sampled_from(["/", "/a"]),
    path_type=st.sampled_from(PathType),
    backend=BACKENDS,
)
INGRESSES = st.builds(
    Ingress,
    namespace=NAMES,
    name=NAMES,
    ingress_class=st.just("") | NAMES,
    default_backend=st.none() | BACKENDS,
    rules=lists(st.builds(IngressRule, host=st.just("") | NAMES, paths=lists(PATHS))),
    tls=lists(st.builds(IngressTLS, hosts=lists(NAMES), secret_name=NAMES)),
    labels=LABELS,
    annotations=LABELS,
)

REQUIREMENTS = st.builds(
    LabelSelectorRequirement,
    key=NAMES,
    operator=st.sampled_from(SelectorOperator),
    values=lists(NAMES),
)
SELECTORS = st.builds(LabelSelector, match_labels=LABELS, match_expressions=lists(REQUIREMENTS))
CIDRS = st.sampled_from(["10.0.0.0/8", "0.0.0.0/0", "fd00::/8"]).map(ip_network)
PEERS = st.builds(
    NetworkPolicyPeer,
    pod_selector=st.none() | SELECTORS,
    namespace_selector=st.none() | SELECTORS,
    ip_block=st.none() | st.builds(IPBlock, cidr=CIDRS, excluded=lists(CIDRS)),
)
RULES = lists(
    st.builds(
        NetworkPolicyRule,
        peers=lists(PEERS),
        ports=lists(
            st.builds(
                NetworkPolicyPort,
                protocol=PROTOCOLS,
                port=st.none() | PORTS | NAMES,
                end_port=st.none() | PORTS,
            )
        ),
    )
)
NETWORK_POLICIES = st.builds(
    NetworkPolicy,
    namespace=NAMES,
    name=NAMES,
    pod_selector=SELECTORS,
    policy_types=lists(st.sampled_from(PolicyType), 1),
    ingress=RULES,
    egress=RULES,
    labels=LABELS,
    annotations=LABELS,
)
NODES = st.builds(
    Node,
    name=NAMES,
    addresses=st.just(()) | V4.map(lambda address: (address,)),
    pod_cidrs=st.lists(CIDRS, max_size=2, unique_by=lambda cidr: cidr.version).map(tuple),
    labels=LABELS,
    taints=lists(st.builds(Taint, key=NAMES, effect=st.sampled_from(TaintEffect), value=NAMES)),
)
CLASSES = st.builds(IngressClass, name=NAMES, controller=NAMES, is_default=st.booleans())
SECRETS = st.builds(
    TLSSecret, namespace=NAMES, name=NAMES, certificate=st.just("PEM\n"), key=st.just("KEY\n")
)


def read(form: Form[T], written: Object) -> T:
    reading = Reading(DocumentKind.SERVER)
    made = form.read(written, reading)
    assert reading.faults == []
    return made


@given(SERVICES)
def test_a_service_reads_as_it_was_written(item: Service) -> None:
    assert read(service.FORM, service.write(item)) == item


@given(SLICES)
def test_a_slice_reads_as_it_was_written(item: EndpointSlice) -> None:
    assert read(endpointslice.FORM, endpointslice.write(item)) == item


@given(INGRESSES)
def test_an_ingress_reads_as_it_was_written(item: Ingress) -> None:
    assert read(ingress.FORM, ingress.write(item)) == item


@given(NODES)
def test_a_node_reads_as_it_was_written(item: Node) -> None:
    assert read(node.FORM, node.write(item)) == item


@given(CLASSES)
def test_an_ingress_class_reads_as_it_was_written(item: IngressClass) -> None:
    assert read(ingress.CLASS_FORM, ingress.write_class(item)) == item


@given(SECRETS)
def test_a_secret_reads_as_it_was_written(item: TLSSecret) -> None:
    assert read(secret.FORM, secret.write(item)) == item


@given(NETWORK_POLICIES)
def test_a_network_policy_reads_as_it_was_written(item: NetworkPolicy) -> None:
    assert read(networkpolicy.FORM, networkpolicy.write(item)) == item
