"""kubectl's columns, cell by cell, and Kubernetes objects."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv6Address, ip_address, ip_network

import pytest

from kns.addresses import IPFamily
from kns.cluster.manifests import load_objects
from kns.cluster.model import Cluster, Network
from kns.engine.presence import Presence
from kns.kinds.column_words import age_text
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.ingress import (
    Ingress,
    IngressBackend,
    IngressPath,
    IngressRule,
    IngressTLS,
    PathType,
)
from kns.kinds.ingress import write as write_ingress
from kns.kinds.namespace import NAME_LABEL, Namespace
from kns.kinds.namespace import write as write_namespace
from kns.kinds.networkpolicy import NetworkPolicy, NetworkPolicyRule, PolicyType
from kns.kinds.networkpolicy import write as write_policy
from kns.kinds.node import Node
from kns.kinds.pod import Container, ContainerPort, Pod
from kns.kinds.scheduling import Taint, TaintEffect
from kns.kinds.selector import LabelSelector, LabelSelectorRequirement, SelectorOperator
from kns.kinds.service import (
    LoadBalancerIngress,
    Service,
    ServicePort,
    ServiceType,
    SessionAffinity,
)
from kns.kinds.service import write as write_service
from kns.report.get import (
    Columns,
    ListedKind,
    Selection,
    endpoints_text,
    external_ip_text,
    get_table,
    hosts_text,
    ports_text,
    roles_text,
)
from kns.report.objects import get_objects
from kns.report.table import Table, render_table

NETWORK = Network(
    families=(IPFamily.IPV4,),
    pod_cidrs=(ip_network("10.244.0.0/16"),),
    service_cidrs=(ip_network("10.96.0.0/16"),),
    node_cidrs=(ip_network("172.18.0.0/24"),),
    internet_cidrs=(ip_network("203.0.113.0/24"),),
)
WEB = Container("web", (ContainerPort(8080, "http"),))
SIDECAR = Container("sidecar", (ContainerPort(9090),))


def pod(name: str, address: str, *, namespace: str = "default", ready: bool = True) -> Pod:
    return Pod(
        namespace=namespace,
        name=name,
        node="node1",
        addresses=(ip_address(address),),
        labels={"app": "a", "a": "first"},
        containers=(WEB, SIDECAR),
        ready=ready,
    )


def service(name: str = "svc-a", **fields: object) -> Service:
    defaults: dict[str, object] = {
        "namespace": "default",
        "name": name,
        "cluster_ips": (ip_address("10.96.0.5"),),
        "selector": {"app": "a"},
        "ports": (ServicePort(80, target_port=8080),),
    }
    return Service(**{**defaults, **fields})  # type: ignore[arg-type]


def endpoint_slice(*endpoints: Endpoint) -> EndpointSlice:
    return EndpointSlice(
        namespace="default",
        name="svc-a-abc",
        service="svc-a",
        address_type=IPFamily.IPV4,
        ports=(EndpointPort(8080),),
        endpoints=endpoints,
    )


CLUSTER = Cluster(
    name="t",
    network=NETWORK,
    nodes=(
        Node("node1", (ip_address("172.18.0.2"),), (ip_network("10.244.0.0/24"),)),
        Node("node2", (ip_address("172.18.0.3"),), (ip_network("10.244.1.0/24"),), {"z": "1"}),
    ),
    pods=(
        pod("pod1", "10.244.0.2"),
        pod("pod2", "10.244.0.3", ready=False),
        pod("dns", "10.244.0.4", namespace="kube-system"),
    ),
    services=(service(),),
    endpoint_slices=(endpoint_slice(Endpoint((ip_address("10.244.0.2"),), ready=True)),),
)
ALL_THERE = Presence(
    nodes=frozenset({"node1"}),
    pods=frozenset({"default/pod1", "default/pod2", "kube-system/dns"}),
    ages={"default/pod1": 61.0},
    node_ages={"node1": 62.0},
    restarts={"default/pod1": 3},
)
WIDE, LABELLED = Columns(wide=True), Columns(labels=True)


def test_table_pads_columns_and_strips_line_ends() -> None:
    text = render_table(Table(("A", "LONG"), (("xyz", "1"), ("y", ""))))
    assert text == "A     LONG\nxyz   1\ny\n"


def test_pods_of_one_namespace() -> None:
    table = get_table(ListedKind.PODS, CLUSTER, Selection(), ALL_THERE)
    assert table.heads == ("NAME", "READY", "STATUS", "RESTARTS", "AGE")
    assert table.rows == (
        ("pod1", "2/2", "Running", "3", "61s"),
        ("pod2", "0/2", "Running", "0", "<unknown>"),
    )


def test_ready_is_the_kubelets_account_where_there_is_one() -> None:
    presence = replace(ALL_THERE, ready={"default/pod1": "1/2"})
    table = get_table(ListedKind.PODS, CLUSTER, Selection(), presence)
    assert [row[1] for row in table.rows] == ["1/2", "0/2"]
    gone = replace(presence, serving=False)
    table = get_table(ListedKind.PODS, CLUSTER, Selection(), gone)
    assert [row[1] for row in table.rows] == ["0/2", "0/2"]


def test_pods_of_all_namespaces_have_a_column_more() -> None:
    table = get_table(ListedKind.PODS, CLUSTER, Selection(""), ALL_THERE)
    assert [row[:2] for row in table.rows] == [
        ("default", "pod1"),
        ("default", "pod2"),
        ("kube-system", "dns"),
    ]


def test_pods_wide_has_address_and_node() -> None:
    table = get_table(ListedKind.PODS, CLUSTER, Selection(names=("pod1",)), ALL_THERE, WIDE)
    assert table.heads[5:] == ("IP", "NODE", "NOMINATED NODE", "READINESS GATES")
    assert [row[5:] for row in table.rows] == [("10.244.0.2", "node1", "<none>", "<none>")]


def test_labels_are_sorted() -> None:
    table = get_table(ListedKind.PODS, CLUSTER, Selection(names=("pod1",)), ALL_THERE, LABELLED)
    assert table.heads[-1] == "LABELS"
    assert [row[-1] for row in table.rows] == ["a=first,app=a"]


def test_pod_whose_netns_is_gone_is_missing() -> None:
    table = get_table(ListedKind.PODS, CLUSTER, Selection(names=("pod1",)), Presence())
    assert table.rows == (("pod1", "0/2", "Missing", "0", "<unknown>"),)


def test_the_status_of_a_pod_is_what_its_agent_knows() -> None:
    presence = replace(ALL_THERE, statuses={"default/pod1": "CrashLoopBackOff"})
    table = get_table(ListedKind.PODS, CLUSTER, Selection(), presence)
    assert [row[2] for row in table.rows] == ["CrashLoopBackOff", "Running"]


def test_pod_without_agent_is_not_ready() -> None:
    presence = Presence(pods=frozenset({"default/pod1"}), serving=False)
    table = get_table(ListedKind.PODS, CLUSTER, Selection(names=("pod1",)), presence)
    assert table.rows[0][1:3] == ("0/2", "Running")


def test_nodes() -> None:
    table = get_table(ListedKind.NODES, CLUSTER, Selection(""), ALL_THERE, WIDE)
    assert table.heads[:5] == ("NAME", "STATUS", "ROLES", "AGE", "VERSION")
    assert table.heads[5:] == ("INTERNAL-IP", "EXTERNAL-IP", "POD-CIDR")
    assert table.rows == (
        ("node1", "Ready", "<none>", "62s", "v1.37", "172.18.0.2", "<none>", "10.244.0.0/24"),
        (
            *("node2", "Missing", "<none>", "<unknown>", "v1.37"),
            *("172.18.0.3", "<none>", "10.244.1.0/24"),
        ),
    )


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        (("unschedulable",), "Ready,SchedulingDisabled"),
        (("unreachable",), "NotReady"),
        (("not-ready", "unschedulable"), "NotReady,SchedulingDisabled"),
        (("other",), "Ready"),
    ],
)
def test_taints_tell_how_a_node_is(keys: tuple[str, ...], status: str) -> None:
    taints = tuple(Taint(f"node.kubernetes.io/{key}", TaintEffect.NO_SCHEDULE) for key in keys)
    nodes = (replace(CLUSTER.nodes[0], taints=taints),)
    table = get_table(ListedKind.NODES, replace(CLUSTER, nodes=nodes), Selection(""), ALL_THERE)
    assert table.rows[0][1] == status


def test_roles_are_what_the_labels_say() -> None:
    prefix = "node-role.kubernetes.io"
    node = Node("n", (), labels={f"{prefix}/worker": "", f"{prefix}/control-plane": "", "a": "b"})
    assert roles_text(node) == "control-plane,worker"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (service(), "<none>"),
        (service(external_ips=(ip_address("192.0.2.1"),)), "192.0.2.1"),
        (service(type=ServiceType.LOAD_BALANCER), "<pending>"),
        (
            service(
                type=ServiceType.LOAD_BALANCER,
                load_balancer_ingress=(
                    LoadBalancerIngress(ip=ip_address("192.0.2.9")),
                    LoadBalancerIngress(hostname="lb.example.com"),
                ),
            ),
            "192.0.2.9,lb.example.com",
        ),
        (service(type=ServiceType.EXTERNAL_NAME, external_name="a.example.com"), "a.example.com"),
    ],
    ids=["none", "external-ips", "pending", "ingress", "external-name"],
)
def test_external_ip(item: Service, expected: str) -> None:
    assert external_ip_text(item) == expected


def test_headless_service_has_none_as_cluster_ip() -> None:
    cluster = Cluster("t", NETWORK, (), services=(service(cluster_ips=()),))
    table = get_table(ListedKind.SERVICES, cluster, Selection(), Presence())
    assert table.heads == ("NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE")
    assert table.rows == (("svc-a", "ClusterIP", "None", "<none>", "80/TCP", "<unknown>"),)


def test_ports_show_node_ports() -> None:
    ports = (ServicePort(80, node_port=30080), ServicePort(53))
    assert ports_text(service(ports=ports)) == "80:30080/TCP,53/TCP"


def test_endpoints_are_cut_after_three_and_leave_out_the_unready() -> None:
    addresses = [ip_address(f"10.244.0.{n}") for n in range(2, 8)]
    found = [Endpoint((address,), ready=address != addresses[0]) for address in addresses]
    expected = "10.244.0.3:8080,10.244.0.4:8080,10.244.0.5:8080 + 2 more..."
    assert endpoints_text(service(), [endpoint_slice(*found)]) == expected


def test_endpoints_of_none_and_of_ipv6() -> None:
    v6 = endpoint_slice(Endpoint((IPv6Address("fd00::2"),)))
    assert endpoints_text(service(), []) == "<none>"
    assert endpoints_text(service(), [v6]) == "[fd00::2]:8080"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-1, "0s"),
        (119, "119s"),
        (120, "2m"),
        (599, "9m59s"),
        (600, "10m"),
        (10799, "179m"),
        (10800, "3h"),
        (11000, "3h3m"),
        (28800, "8h"),
        (172799, "47h"),
        (172800, "2d"),
        (180000, "2d2h"),
        (691200, "8d"),
    ],
)
def test_age_is_kubectls(seconds: float, expected: str) -> None:
    """k8s.io/apimachinery/pkg/util/duration HumanDuration."""
    assert age_text(seconds) == expected


def test_pod_objects() -> None:
    selected = Selection(names=("pod1", "pod2"))
    listed = get_objects(ListedKind.PODS, CLUSTER, selected, ALL_THERE)
    assert (listed["apiVersion"], listed["kind"]) == ("v1", "List")
    assert isinstance(listed["items"], list)
    only = get_objects(ListedKind.PODS, CLUSTER, Selection(names=("pod1",)), ALL_THERE)
    assert listed["items"][0] == only
    assert only == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "pod1",
            "namespace": "default",
            "labels": {"app": "a", "a": "first"},
        },
        "spec": {
            "nodeName": "node1",
            "dnsPolicy": "ClusterFirst",
            "enableServiceLinks": True,
            "containers": [
                {
                    "name": "web",
                    "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                },
                {"name": "sidecar", "ports": [{"containerPort": 9090, "protocol": "TCP"}]},
            ],
        },
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "hostIP": "172.18.0.2",
            "podIP": "10.244.0.2",
            "podIPs": [{"ip": "10.244.0.2"}],
            "containerStatuses": [
                {"name": "web", "ready": True},
                {"name": "sidecar", "ready": True},
            ],
        },
    }


def test_service_object_keeps_what_the_api_has() -> None:
    item = service(
        type=ServiceType.NODE_PORT,
        ports=(ServicePort(80, "http", target_port="web", node_port=30080),),
        session_affinity=SessionAffinity.CLIENT_IP,
        session_affinity_timeout=60,
    )
    assert write_service(item)["spec"] == {
        "type": "NodePort",
        "ports": [
            {
                "name": "http",
                "protocol": "TCP",
                "port": 80,
                "targetPort": "web",
                "nodePort": 30080,
            }
        ],
        "sessionAffinity": "ClientIP",
        "internalTrafficPolicy": "Cluster",
        "clusterIP": "10.96.0.5",
        "clusterIPs": ["10.96.0.5"],
        "ipFamilies": ["IPv4"],
        "selector": {"app": "a"},
        "externalTrafficPolicy": "Cluster",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
    }


def test_objects_read_back_are_the_cluster() -> None:
    """What `kns get -o json` prints, `kns render` reads."""
    listed = [
        get_objects(kind, CLUSTER, Selection(""), ALL_THERE)
        for kind in (ListedKind.SERVICES, ListedKind.ENDPOINTS, ListedKind.NODES)
    ]
    objects = load_objects([(f"{n}.json", json.dumps(item)) for n, item in enumerate(listed)])
    assert objects.services == CLUSTER.services
    assert [item.endpoints for item in objects.endpoint_slices] == [
        item.endpoints for item in CLUSTER.endpoint_slices
    ]
    assert [(node.name, node.addresses) for node in objects.nodes] == [
        (node.name, node.addresses) for node in CLUSTER.nodes
    ]


# -- Ingresses -------------------------------------------------------------------------------------


def ingress(*hosts: str, tls: bool = False) -> Ingress:
    backend = IngressBackend("svc-a", 80)
    rules = tuple(
        IngressRule(host, (IngressPath("/", PathType.PREFIX, backend),)) for host in hosts
    )
    secrets = (IngressTLS(hosts, "secret"),) if tls else ()
    return Ingress("default", "shop", "nginx", rules=rules, tls=secrets)


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ((), "*"),
        (("",), "*"),
        (("a.example.com", "a.example.com", "b.example.com"), "a.example.com,b.example.com"),
        (("a", "b", "c", "d", "e"), "a,b,c + 2 more..."),
    ],
)
def test_hosts_are_kubectls(hosts: tuple[str, ...], expected: str) -> None:
    assert hosts_text(ingress(*hosts)) == expected


def test_ingress_that_nobody_serves_has_no_address() -> None:
    cluster = replace(CLUSTER, ingresses=(ingress("a.example.com", tls=True),))
    table = get_table(ListedKind.INGRESSES, cluster, Selection(), Presence())
    assert table.heads == ("NAME", "CLASS", "HOSTS", "ADDRESS", "PORTS", "AGE")
    assert table.rows == (("shop", "nginx", "a.example.com", "", "80, 443", "<unknown>"),)


def test_ingress_object_keeps_what_the_api_has() -> None:
    item = write_ingress(ingress("a.example.com", tls=True), "192.0.2.1")
    assert item["spec"] == {
        "ingressClassName": "nginx",
        "tls": [{"hosts": ["a.example.com"], "secretName": "secret"}],
        "rules": [
            {
                "host": "a.example.com",
                "http": {
                    "paths": [
                        {
                            "path": "/",
                            "pathType": "Prefix",
                            "backend": {"service": {"name": "svc-a", "port": {"number": 80}}},
                        }
                    ]
                },
            }
        ],
    }
    assert item["status"] == {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}


def test_network_policies_have_kubectls_columns_and_read_back() -> None:
    selector = LabelSelector(
        {"tier": "db"}, (LabelSelectorRequirement("app", SelectorOperator.IN, ("b", "a")),)
    )
    policies = (
        NetworkPolicy("default", "deny"),
        NetworkPolicy("shop", "db", selector, (PolicyType.EGRESS,), egress=(NetworkPolicyRule(),)),
    )
    cluster = replace(CLUSTER, network_policies=policies)
    table = get_table(ListedKind.NETWORK_POLICIES, cluster, Selection(""), ALL_THERE)
    assert table.heads == ("NAMESPACE", "NAME", "POD-SELECTOR", "AGE")
    assert table.rows == (
        ("default", "deny", "<none>", "62s"),
        ("shop", "db", "app in (a,b),tier=db", "62s"),
    )
    (only,) = get_table(ListedKind.NETWORK_POLICIES, cluster, Selection(), ALL_THERE).rows
    assert only == ("deny", "<none>", "62s")
    items = get_objects(ListedKind.NETWORK_POLICIES, cluster, Selection(""), ALL_THERE)["items"]
    assert items == [write_policy(item) for item in policies]


def test_namespaces_show_their_labels() -> None:
    labels = {"team": "a", NAME_LABEL: "shop"}
    cluster = replace(CLUSTER, namespaces=(*CLUSTER.namespaces, Namespace("shop", labels)))
    table = get_table(ListedKind.NAMESPACES, cluster, Selection(""), ALL_THERE, LABELLED)
    assert table.heads == ("NAME", "STATUS", "AGE", "LABELS")
    assert table.rows[-1] == ("shop", "Active", "62s", "kubernetes.io/metadata.name=shop,team=a")
    item = get_objects(ListedKind.NAMESPACES, cluster, Selection("", ("shop",)), ALL_THERE)
    assert item == write_namespace(Namespace("shop", labels))
