"""Who may take the packets for a LoadBalancer's address, and who is elected: MetalLB's rules."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from kns.cluster.load_balancer import (
    Announcement,
    announced_by,
    announcements,
    elected,
    eligible_nodes,
    healthy_nodes,
    proxied,
)
from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.kinds.common import Protocol
from kns.kinds.load import load_lab_text
from kns.kinds.service import LoadBalancerIngress, ServicePort, ServiceType
from tests.balanced import balanced
from tests.probe.scenes import service, with_service

NODES = ("node1", "node2", "node3")

#: the order of `printf NODE#ADDRESS | sha256sum`
VECTORS = [
    ("198.51.100.1", ("node1", "node3", "node2")),
    ("198.51.100.2", ("node1", "node3", "node2")),
    ("198.51.100.3", ("node2", "node1", "node3")),
    ("2001:db8::1", ("node3", "node2", "node1")),
]


@pytest.mark.parametrize(("address", "order"), VECTORS)
def test_the_lowest_hash_of_node_and_address_wins(address: str, order: tuple[str, ...]) -> None:
    item = Announcement(ip_address(address), service(balanced(), "svc-cluster"), NODES)
    alive = set(NODES)
    winners = []
    for _ in NODES:
        winner = elected(item, alive)
        assert winner is not None
        winners.append(winner)
        alive.remove(winner)
    assert tuple(winners) == order
    assert elected(item, alive) is None


def test_only_eligible_nodes_are_elected() -> None:
    item = Announcement(
        ip_address("198.51.100.1"), service(balanced(), "svc-cluster"), ("node2", "node3")
    )
    assert elected(item, NODES) == "node3"
    assert elected(item, ["node1"]) is None


def test_policy_cluster_makes_every_node_eligible_and_local_those_with_endpoints() -> None:
    cluster = balanced()
    assert eligible_nodes(cluster, service(cluster, "svc-cluster")) == NODES
    assert eligible_nodes(cluster, service(cluster, "svc-local")) == ("node1", "node2")


def test_without_any_endpoint_nobody_is_eligible() -> None:
    cluster = balanced(backends=0)
    assert [item.eligible for item in announcements(cluster)] == [(), (), ()]
    assert announced_by(cluster, "node1") == ()


def conditions(**values: bool) -> Cluster:
    cluster = balanced()
    local = service(cluster, "svc-local")
    return with_service(cluster, local, cluster.pods[:1], conditions={"pod1": values})


@pytest.mark.parametrize(
    ("values", "eligible", "healthy"),
    [
        ({"ready": True}, ("node1",), ("node1",)),
        ({"ready": False}, (), ()),
        # an endpoint that ends and serves until then: MetalLB goes on, health checks don't
        ({"ready": False, "serving": True, "terminating": True}, ("node1",), ()),
    ],
)
def test_conditions_of_endpoints(
    values: dict[str, bool], eligible: tuple[str, ...], healthy: tuple[str, ...]
) -> None:
    cluster = conditions(**values)
    local = service(cluster, "svc-local")
    assert eligible_nodes(cluster, local) == eligible
    assert healthy_nodes(cluster, local) == healthy


def test_policy_cluster_leaves_every_node_healthy_for_a_proxy() -> None:
    cluster = balanced("proxy", backends=0)
    assert healthy_nodes(cluster, service(cluster, "svc-cluster")) == NODES


def test_a_proxy_serves_what_has_a_tcp_node_port() -> None:
    cluster = balanced("proxy")
    assert [str(address) for address, _ in proxied(cluster)] == [
        "198.51.100.1",
        "198.51.100.2",
        "198.51.100.3",
    ]
    udp = (ServicePort(53, protocol=Protocol.UDP, node_port=30053),)
    assert proxied(balanced("proxy", ports=udp)) == ()
    assert proxied(balanced("proxy", ports=(ServicePort(80),))) == ()


def test_addresses_of_the_other_ip_mode_are_not_announced() -> None:
    cluster = balanced("proxy")
    assert announcements(cluster) == ()
    vip = (LoadBalancerIngress(ip_address("198.51.100.9")),)
    changed = replace(service(cluster, "svc-local"), load_balancer_ingress=vip)
    cluster = with_service(cluster, changed, cluster.pods[:1])
    assert [str(item.address) for item in announcements(cluster)] == ["198.51.100.9"]


# -- addresses that are asked for and shared -------------------------------------------------------

HEAD = (
    "apiVersion: kns/v1\nkind: Lab\nmetadata: {name: lab}\nnodes: [{name: node1}]\n"
    "loadBalancer: {mode: l2, pool: [198.51.100.0/24]}\n"
)
DNS = "metallb.io/allow-shared-ip: dns"


def balancer(name: str, spec: str = "", annotations: str = "", port: str = "{port: 80}") -> str:
    return (
        f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, annotations: "
        f"{{{annotations}}}}}\nspec: {{type: LoadBalancer, ports: [{port}]{spec}}}\n"
    )


def given(*manifests: str, head: str = HEAD) -> tuple[dict[str, list[str]], list[str]]:
    """The addresses of each LoadBalancer Service, and what is said of addresses."""
    loaded = load_lab_text(head + "".join(manifests))
    addresses = {
        item.name: [str(point.ip) for point in item.load_balancer_ingress]
        for item in resolve(loaded.spec).cluster.services
        if item.type is ServiceType.LOAD_BALANCER
    }
    told = [p.message for p in loaded.warnings if "<pending>" in p.message or "effect" in p.message]
    return addresses, told


def test_without_a_pool_there_is_one_for_each_family() -> None:
    head = HEAD.replace("{mode: l2, pool: [198.51.100.0/24]}", "{}")
    assert given(balancer("a"), head=head) == ({"a": ["198.51.100.1"]}, [])
    dual = f"{head}networking: {{ipFamily: dual}}\n"
    both = balancer("a", ", ipFamilyPolicy: RequireDualStack")
    assert given(both, head=dual) == ({"a": ["198.51.100.1", "2001:db8:198::1"]}, [])
    six = f"{head}networking: {{ipFamily: ipv6}}\n"
    assert given(balancer("a"), head=six) == ({"a": ["2001:db8:198::1"]}, [])


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (", ipFamilies: [IPv6]", "loadBalancer.pool has no IPv6"),
        (", ipFamilyPolicy: RequireDualStack", ""),
        ("", ""),
    ],
)
def test_who_gets_no_address_of_the_pool_is_told_of(spec: str, why: str) -> None:
    head = HEAD + "networking: {ipFamily: dual}\n"
    addresses, told = given(balancer("a", spec), head=head)
    assert told == ([f"{why}: {PENDING}"] if why else [])
    assert bool(addresses["a"]) == (not why)


NINE = ", loadBalancerIP: 198.51.100.9"
UDP = "{port: 80, protocol: UDP}"
PENDING = "its EXTERNAL-IP stays <pending>"
NO_KEY = (
    "198.51.100.9 is default/a's, and no common metallb.io/allow-shared-ip lets them share it: "
    f"{PENDING}"
)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        # the same key and other ports
        (("", DNS), ("", DNS, UDP), ""),
        (("", DNS), ("", "metallb.universe.tf/allow-shared-ip: dns", "{port: 81}"), ""),
        (("", ""), ("", "", UDP), NO_KEY),
        (("", DNS), ("", "", UDP), NO_KEY),
        (("", DNS), ("", "metallb.io/allow-shared-ip: other", UDP), NO_KEY),
        (("", DNS), ("", DNS),
         f"198.51.100.9 is default/a's, and both use port 80/TCP: {PENDING}"),
        # a node must have the endpoints of both
        ((", externalTrafficPolicy: Local, selector: {a: b}", DNS),
         (", externalTrafficPolicy: Local, selector: {a: b}", DNS, UDP), ""),
        ((", externalTrafficPolicy: Local, selector: {a: b}", DNS),
         (", externalTrafficPolicy: Local, selector: {a: c}", DNS, UDP),
         "198.51.100.9 is default/a's, and with externalTrafficPolicy Local only the same "
         f"selector lets them share it: {PENDING}"),
    ],
)  # fmt: skip
def test_two_services_share_an_address_as_metallb_allows(
    first: tuple[str, ...], second: tuple[str, ...], message: str
) -> None:
    addresses, told = given(
        balancer("a", NINE + first[0], *first[1:]), balancer("b", NINE + second[0], *second[1:])
    )
    assert addresses == {"a": ["198.51.100.9"], "b": [] if message else ["198.51.100.9"]}
    assert told == ([message] if message else [])


def test_a_sharing_key_alone_leads_to_one_address() -> None:
    addresses, _ = given(balancer("a", "", DNS), balancer("b"), balancer("c", "", DNS, UDP))
    assert addresses == {"a": ["198.51.100.1"], "b": ["198.51.100.2"], "c": ["198.51.100.1"]}


def test_a_shared_address_is_announced_once() -> None:
    lab = HEAD + "pods: [{name: p, labels: {app: x}}]\n"
    manifests = balancer("a", NINE, DNS) + balancer("b", f"{NINE}, selector: {{app: x}}", DNS, UDP)
    (item,) = announcements(resolve(load_lab_text(lab + manifests).spec).cluster)
    assert (str(item.address), item.eligible) == ("198.51.100.9", ("node1",))


KEY = "metallb.io/loadBalancerIPs"


@pytest.mark.parametrize(
    ("spec", "annotations", "address", "message"),
    [
        ("", f"{KEY}: 198.51.100.50", "198.51.100.50", ""),
        ("", "metallb.universe.tf/loadBalancerIPs: 198.51.100.50", "198.51.100.50", ""),
        ("", f"{KEY}: 192.0.2.1", "",
         f'"192.0.2.1": is not in loadBalancer.pool: {PENDING}'),
        (", loadBalancerIP: 192.0.2.1", "", "",
         f'"192.0.2.1": is not in loadBalancer.pool: {PENDING}'),
        ("", f"{KEY}: a host", "", f'invalid {KEY}: "a host": {PENDING}'),
        (NINE, f"{KEY}: 198.51.100.50", "",
         f"service can not have both {KEY} and spec.loadBalancerIP: {PENDING}"),
        ("", "metallb.io/address-pool: production", "198.51.100.1",
         "this annotation has no effect here"),
        (", loadBalancerClass: example.com/x", "", "",
         f"no load balancer of that class is here: {PENDING}"),
    ],
)  # fmt: skip
def test_an_address_that_is_asked_for(
    spec: str, annotations: str, address: str, message: str
) -> None:
    addresses, told = given(balancer("web", spec, annotations))
    assert addresses == {"web": [address] if address else []}
    assert told == ([message] if message else [])


def test_two_families_are_asked_for_together() -> None:
    head = HEAD.replace("/24]", '/24, "2001:db8::/64"]') + "networking: {ipFamily: dual}\n"
    both = ", ipFamilyPolicy: RequireDualStack"
    asked = f'{KEY}: "198.51.100.50, 2001:db8::50"'
    addresses, _ = given(balancer("web", both, asked), head=head)
    assert addresses == {"web": ["198.51.100.50", "2001:db8::50"]}
    addresses, told = given(balancer("web", both, f"{KEY}: 198.51.100.50"), head=head)
    assert addresses == {"web": []}
    families = "is not of the Service's IP families, IPv4 and IPv6"
    assert told == [f"198.51.100.50 {families}: {PENDING}"]


def test_without_a_load_balancer_each_service_is_told_that_it_waits() -> None:
    head = HEAD.replace("loadBalancer: {mode: l2, pool: [198.51.100.0/24]}\n", "")
    addresses, told = given(balancer("a"), balancer("b"), head=head)
    assert addresses == {"a": [], "b": []}
    assert told == [f"the lab has no load balancer: {PENDING}"] * 2
