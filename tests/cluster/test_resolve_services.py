"""Services: families, cluster IPs, node ports, load balancer addresses."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from kns.addresses import IPFamily
from kns.cluster.leases import Leases
from kns.cluster.resolve import resolve
from kns.errors import SpecError
from kns.kinds.common import Protocol
from kns.kinds.service import Service, ServiceType, SessionAffinity, TrafficPolicy
from tests.kinds.labs import lab

V4, V6 = IPFamily.IPV4, IPFamily.IPV6
DUAL = "networking: {ipFamily: dual}\n"


def services(
    body: str, leases: Leases | None = None, *, head: str = ""
) -> tuple[dict[str, Service], Leases]:  # fmt: skip
    resolution = resolve(lab(f"{head}services:\n{body}").spec, leases)
    return {item.name: item for item in resolution.cluster.services}, resolution.leases


def one(fields: str, *, head: str = "") -> Service:
    found, _ = services(f"- {{name: a, ports: [{{port: 80}}], {fields}}}\n", head=head)
    return found["a"]


def test_the_dns_service_is_kubeadms() -> None:
    dns = services("- {name: a, ports: [{port: 80}]}\n")[0]["kube-dns"]
    assert dns.full_name == "kube-system/kube-dns"
    assert dns.cluster_ips == (ip_address("10.96.0.10"),)
    assert dns.selector == {"k8s-app": "kube-dns"}
    assert [(p.name, p.port, p.protocol) for p in dns.ports] == [
        ("dns", 53, Protocol.UDP), ("dns-tcp", 53, Protocol.TCP),
    ]  # fmt: skip


def test_without_dns_there_is_no_dns_service() -> None:
    found, _ = services(
        "- {name: a, ports: [{port: 80}]}\n", head="networking: {dns: {enabled: false}}\n"
    )
    assert list(found) == ["a"]


def test_services_are_sorted_by_full_name() -> None:
    body = "".join(
        f"- {{name: {name}, namespace: {namespace}, ports: [{{port: 80}}]}}\n"
        for namespace, name in (("z", "a"), ("b", "b"), ("b", "a2"))
    )
    cluster = resolve(lab(f"services:\n{body}").spec).cluster
    assert [item.full_name for item in cluster.services] == [
        "b/a2", "b/b", "kube-system/kube-dns", "z/a",
    ]  # fmt: skip


# -- families --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "families"),
    [
        ("", (V4,)),
        ("ipFamilies: [IPv6]", (V6,)),
        ("ipFamilies: [IPv6, IPv4]", (V6, V4)),
        ("ipFamilyPolicy: SingleStack", (V4,)),
        ("ipFamilyPolicy: PreferDualStack", (V4, V6)),
        ("ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6]", (V6, V4)),
        ('clusterIP: "fd00:10:96::99"', (V6,)),
        ('clusterIPs: ["fd00:10:96::99", 10.96.3.3]', (V6, V4)),
        ("clusterIP: None", (V4, V6)),
        ("clusterIP: None, selector: {a: b}", (V4,)),
        ("clusterIP: None, ipFamilies: [IPv6]", (V6,)),
    ],
)
def test_families_of_a_dual_stack_cluster(fields: str, families: tuple[IPFamily, ...]) -> None:
    service = one(fields, head=DUAL)
    assert service.ip_families == families
    if "None" not in fields:
        assert tuple(IPFamily.of(address) for address in service.cluster_ips) == families


def test_prefer_dual_stack_takes_what_there_is() -> None:
    assert one("ipFamilyPolicy: PreferDualStack").ip_families == (V4,)


def test_an_external_name_has_no_address() -> None:
    service = one("type: ExternalName, externalName: x.example")
    assert (service.cluster_ips, service.ip_families, service.headless) == ((), (), False)


def test_a_headless_service_has_none_either() -> None:
    assert one("clusterIP: None, selector: {a: b}").headless


# -- cluster IPs -----------------------------------------------------------------------------------


def test_a_cluster_ip_depends_on_the_services_name_only() -> None:
    alone, _ = services("- {name: a, ports: [{port: 80}]}\n")
    beside, _ = services("- {name: 'b', ports: [{port: 1}]}\n- {name: a, ports: [{port: 80}]}\n")
    assert alone["a"].cluster_ips == beside["a"].cluster_ips
    (address,) = alone["a"].cluster_ips
    assert address in ip_network("10.96.0.0/16")
    assert int(address) - int(ip_address("10.96.0.0")) > 256


def test_an_address_asked_for_later_is_taken_from_nobody_who_has_it() -> None:
    """The name's own address is asked for by another: the search goes on to the next."""
    first, _ = services("- {name: a, ports: [{port: 80}]}\n")
    (address,) = first["a"].cluster_ips
    body = (
        "- {name: a, ports: [{port: 80}]}\n"
        f"- {{name: z, clusterIP: {address}, ports: [{{port: 80}}]}}\n"
    )
    found, _ = services(body)
    assert found["z"].cluster_ips == (address,)
    assert found["a"].cluster_ips == (address + 1,)


def test_a_leased_cluster_ip_is_kept() -> None:
    first, _ = services("- {name: a, ports: [{port: 80}]}\n")
    (address,) = first["a"].cluster_ips
    both = (
        "- {name: a, ports: [{port: 80}]}\n"
        f"- {{name: z, clusterIP: {address}, ports: [{{port: 80}}]}}\n"
    )
    moved, leases = services(both)
    again, _ = services("- {name: a, ports: [{port: 80}]}\n", leases)
    assert again["a"].cluster_ips == moved["a"].cluster_ips != first["a"].cluster_ips


def test_a_lease_of_another_subnet_is_not_kept() -> None:
    _, leases = services("- {name: a, ports: [{port: 80}]}\n")
    head = "networking: {serviceSubnet: 10.50.0.0/16}\n"
    found, _ = services("- {name: a, ports: [{port: 80}]}\n", leases, head=head)
    assert found["a"].cluster_ips[0] in ip_network("10.50.0.0/16")


# -- ports -----------------------------------------------------------------------------------------


def test_target_port_is_the_port_unless_written() -> None:
    body = (
        "- {name: a, ports: [{name: x, port: 80}, {name: y, port: 81, targetPort: 8081},"
        " {name: z, port: 82, targetPort: http}]}\n"
    )
    found, _ = services(body)
    assert [port.target_port for port in found["a"].ports] == [80, 8081, "http"]


def test_node_ports_are_given_kept_and_shared_by_protocols() -> None:
    body = (
        "- {name: a, type: NodePort, ports: [{name: u, port: 53, protocol: UDP},"
        " {name: t, port: 53}, {name: w, port: 80, nodePort: 30080}]}\n"
    )
    found, leases = services(body)
    udp, tcp, web = (port.node_port for port in found["a"].ports)
    assert (udp, web) == (tcp, 30080)
    assert 30086 <= udp <= 32767
    more = body.replace("{name: u", "{name: v, port: 54}, {name: u")
    again, _ = services(more, leases)
    assert [port.node_port for port in again["a"].ports][1:] == [udp, tcp, web]


def test_a_node_port_asked_for_by_another_is_not_kept() -> None:
    found, leases = services("- {name: a, type: NodePort, ports: [{port: 80}]}\n")
    port = found["a"].ports[0].node_port
    body = (
        "- {name: a, type: NodePort, ports: [{port: 80}]}\n"
        f"- {{name: z, type: NodePort, ports: [{{port: 80, nodePort: {port}}}]}}\n"
    )
    again, _ = services(body, leases)
    assert again["z"].ports[0].node_port == port != again["a"].ports[0].node_port


def test_a_load_balancer_has_node_ports_unless_it_wants_none() -> None:
    assert one("type: LoadBalancer").ports[0].node_port > 0
    assert one("type: LoadBalancer, allocateLoadBalancerNodePorts: false").ports[0].node_port == 0
    assert one("").ports[0].node_port == 0


def test_a_health_check_port_is_given_to_local_load_balancers() -> None:
    fields = "type: LoadBalancer, externalTrafficPolicy: Local"
    port = one(fields).health_check_node_port
    assert 30086 <= port <= 32767
    assert port != one(fields).ports[0].node_port
    assert one(f"{fields}, healthCheckNodePort: 30001").health_check_node_port == 30001
    assert one("type: LoadBalancer").health_check_node_port == 0
    assert one("type: NodePort, externalTrafficPolicy: Local").health_check_node_port == 0


# -- the rest --------------------------------------------------------------------------------------


def test_all_fields_reach_the_service() -> None:
    service = one(
        "type: LoadBalancer, labels: {l: m}, annotations: {n: o}, selector: {a: b},"
        " sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 7}},"
        " externalTrafficPolicy: Local, internalTrafficPolicy: Local, externalIPs: [1.2.3.4],"
        " loadBalancerSourceRanges: [' 10.0.0.0/8'], loadBalancerClass: x/y,"
        " publishNotReadyAddresses: true, trafficDistribution: PreferClose,"
        " status: {loadBalancer: {ingress: [{ip: 9.9.9.9, ipMode: Proxy}, {hostname: h}]}}"
    )
    assert service.type is ServiceType.LOAD_BALANCER
    assert (dict(service.labels), dict(service.annotations)) == ({"l": "m"}, {"n": "o"})
    assert service.session_affinity is SessionAffinity.CLIENT_IP
    assert service.session_affinity_timeout == 7
    assert service.external_traffic_policy is TrafficPolicy.LOCAL
    assert service.internal_traffic_policy is TrafficPolicy.LOCAL
    assert service.external_ips == (ip_address("1.2.3.4"),)
    assert service.load_balancer_source_ranges == (" 10.0.0.0/8",)
    assert (service.load_balancer_class, service.traffic_distribution) == ("x/y", "PreferClose")
    assert service.publish_not_ready_addresses
    points = [(point.ip, point.hostname, point.ip_mode) for point in service.load_balancer_ingress]
    assert points == [(ip_address("9.9.9.9"), "", "Proxy"), (None, "h", "VIP")]


POOL = "loadBalancer: {pool: 192.0.2.0/30}\n"


def ingress(found: dict[str, Service]) -> dict[str, list[str]]:
    return {
        name: [str(point.ip) for point in item.load_balancer_ingress]
        for name, item in found.items()
        if item.type is ServiceType.LOAD_BALANCER
    }


def test_a_pool_gives_addresses_in_order_of_names_and_keeps_them() -> None:
    body = "".join(f"- {{name: {n}, type: LoadBalancer, ports: [{{port: 80}}]}}\n" for n in "bca")
    found, leases = services(body, head=POOL)
    assert ingress(found) == {"a": ["192.0.2.1"], "b": ["192.0.2.2"], "c": ["192.0.2.3"]}
    without = "".join(
        f"- {{name: {n}, type: LoadBalancer, ports: [{{port: 80}}]}}\n" for n in "bcd"
    )
    after, _ = services(without, leases, head=POOL)
    assert ingress(after) == {"b": ["192.0.2.2"], "c": ["192.0.2.3"], "d": ["192.0.2.1"]}


def test_in_a_living_cluster_a_service_waits_for_an_address() -> None:
    names = ("a", "b")
    body = "".join(
        f"- {{name: {name}, type: LoadBalancer, ports: [{{port: 80}}]}}\n" for name in names
    )
    spec = lab(f"loadBalancer: {{pool: 192.0.2.7/32}}\nservices:\n{body}").spec
    with pytest.raises(SpecError) as raised:
        resolve(spec)
    assert raised.value.problems[0].message == (
        "no free address in the load balancer pool 192.0.2.7/32"
    )
    living = replace(spec, placed=True)
    found = resolve(living)
    services = {item.name: item for item in found.cluster.services}
    assert ingress(services) == {"a": ["192.0.2.7"], "b": []}
    assert services["b"].cluster_ips
    assert services["b"].ports[0].node_port
    freed = replace(living, services=tuple(s for s in living.services if s.name != "a"))
    after = resolve(freed, found.leases).cluster.services
    assert ingress({item.name: item for item in after}) == {"b": ["192.0.2.7"]}


def test_an_address_of_the_pool_may_be_asked_for() -> None:
    body = (
        "- {name: a, type: LoadBalancer, ports: [{port: 80}]}\n"
        "- {name: z, type: LoadBalancer, loadBalancerIP: 192.0.2.0, ports: [{port: 80}]}\n"
    )
    found, _ = services(body, head=POOL)
    assert ingress(found) == {"z": ["192.0.2.0"], "a": ["192.0.2.1"]}


def test_another_class_and_a_written_status_take_nothing_of_the_pool() -> None:
    body = (
        "- {name: a, type: LoadBalancer, loadBalancerClass: x/y, ports: [{port: 80}]}\n"
        "- {name: b, type: LoadBalancer, ports: [{port: 80}],"
        " status: {loadBalancer: {ingress: [{ip: 192.0.2.0}]}}}\n"
        "- {name: c, type: LoadBalancer, ports: [{port: 80}]}\n"
    )
    found, _ = services(body, head=POOL)
    assert ingress(found) == {"a": [], "b": ["192.0.2.0"], "c": ["192.0.2.1"]}


def test_behind_a_proxy_nodes_do_not_answer_for_the_address() -> None:
    service = one("type: LoadBalancer", head=POOL.replace("{pool", "{mode: proxy, pool"))
    assert [point.ip_mode for point in service.load_balancer_ingress] == ["Proxy"]


def test_a_pool_in_the_node_subnet_leaves_out_nodes_and_router() -> None:
    body = "- {name: a, type: LoadBalancer, ports: [{port: 80}]}\n"
    found, _ = services(body, head="loadBalancer: {pool: 172.18.0.0/29}\n")
    assert ingress(found) == {"a": ["172.18.0.4"]}


@pytest.mark.parametrize("pool", ["192.0.2.7/32", "192.0.2.6/31"])
def test_a_pool_of_one_or_two_addresses_gives_them_all(pool: str) -> None:
    body = "- {name: a, type: LoadBalancer, ports: [{port: 80}]}\n"
    found, _ = services(body, head=f"loadBalancer: {{pool: {pool}}}\n")
    assert ingress(found) == {"a": [pool.partition("/")[0]]}
