"""The cluster zone where CoreDNS' own cases say nothing, and names and addresses of records."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kns.addresses import IPFamily
from kns.cluster.model import Cluster, Network
from kns.cluster.records import (
    Rcode,
    ZoneAnswer,
    address_of_reverse,
    dashed,
    is_below,
    reverse_name,
    undashed,
)
from kns.cluster.zone import ClusterZone
from kns.cluster.zone_index import ZoneOptions
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.namespace import Namespace
from kns.kinds.networking import DNSOptions
from kns.kinds.pod import Pod
from kns.kinds.service import Service, ServicePort, ServiceType

DNS_IP = ip_address("10.96.0.10")
ZONE = "svc.cluster.local."


def external(name: str, target: str) -> Service:
    return Service("default", name, type=ServiceType.EXTERNAL_NAME, external_name=target)


def headless(
    name: str, *endpoints: Endpoint, publish: bool = False
) -> tuple[Service, EndpointSlice]:
    service = Service("default", name, publish_not_ready_addresses=publish)
    ports = (EndpointPort(5432, "sql"),)
    piece = EndpointSlice("default", f"{name}-1", name, IPFamily.IPV4, ports, endpoints)
    return service, piece


def cluster(*services: Service, slices: tuple[EndpointSlice, ...] = (), **more: object) -> Cluster:
    dns = Service("kube-system", "kube-dns", cluster_ips=(DNS_IP,), ports=(ServicePort(53, "dns"),))
    return Cluster(
        name="records",
        network=Network(
            families=(IPFamily.IPV4,),
            pod_cidrs=(IPv4Network("10.244.0.0/16"),),
            service_cidrs=(IPv4Network("10.96.0.0/16"),),
            node_cidrs=(IPv4Network("172.18.0.0/24"),),
            internet_cidrs=(),
            dns=DNSOptions(service_ips=(DNS_IP,)),
        ),
        nodes=(),
        services=(*services, dns),
        endpoint_slices=slices,
        namespaces=tuple(map(Namespace, ("default", "empty", "kube-system"))),
        **more,  # type: ignore[arg-type]
    )


def lookup(
    found: Cluster, name: str, qtype: str = "A", options: ZoneOptions | None = None
) -> ZoneAnswer:
    answer = ClusterZone(found, options).lookup(name, qtype)
    assert answer is not None
    return answer


def data(answer: ZoneAnswer) -> list[str]:
    return [record.data for record in answer.answer]


# -- zones -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["www.example.com.", "xcluster.local.", "local.", ".", "9.9.9.9.in-addr.arpa."]
)
def test_name_of_somebody_else_is_none(name: str) -> None:
    assert ClusterZone(cluster()).lookup(name, "A") is None
    assert ClusterZone(cluster()).lookup(name, "PTR") is None


def test_ttl_is_30_as_kubeadm_sets_it() -> None:
    (record,) = lookup(cluster(), f"kube-dns.kube-system.{ZONE}").answer
    assert record.ttl == 30


def test_negative_answer_lives_five_minutes_at_most() -> None:
    options = ZoneOptions(ttl=3600, serial=7)
    (soa,) = lookup(cluster(), f"no.default.{ZONE}", options=options).authority
    assert str(soa) == (
        "cluster.local. 300 IN SOA"
        " ns.dns.cluster.local. hostmaster.cluster.local. 7 7200 1800 86400 3600"
    )


@pytest.mark.parametrize("qtype", ["AXFR", "IXFR"])
def test_zone_transfer_is_refused(qtype: str) -> None:
    assert lookup(cluster(), "cluster.local.", qtype) == ZoneAnswer(Rcode.REFUSED)


def test_name_server_of_the_zone_is_the_dns_service() -> None:
    answer = lookup(cluster(), "cluster.local.", "NS")
    assert data(answer) == [f"kube-dns.kube-system.{ZONE}"]
    assert [str(record) for record in answer.additional] == [
        f"kube-dns.kube-system.{ZONE} 30 IN A 10.96.0.10"
    ]
    assert data(lookup(cluster(), "ns.dns.cluster.local.")) == ["10.96.0.10"]
    assert lookup(cluster(), "ns.dns.cluster.local.", "AAAA").rcode is Rcode.NOERROR


@pytest.mark.parametrize(
    ("name", "qtype", "rcode"),
    [
        ("cluster.local.", "A", Rcode.NOERROR),
        ("cluster.local.", "HINFO", Rcode.NOERROR),
        ("empty.svc.cluster.local.", "A", Rcode.NOERROR),
        ("absent.svc.cluster.local.", "A", Rcode.NXDOMAIN),
        ("foo.cluster.local.", "A", Rcode.NXDOMAIN),
        ("dns-version.cluster.local.", "A", Rcode.NXDOMAIN),
        ("kube-dns.kube-system.svc.cluster.local.", "ANY", Rcode.NOERROR),
        ("a.b.c.kube-dns.kube-system.svc.cluster.local.", "A", Rcode.NXDOMAIN),
        ("_no._udp.kube-dns.kube-system.svc.cluster.local.", "SRV", Rcode.NXDOMAIN),
        ("_dns._udp.kube-dns.kube-system.svc.cluster.local.", "SRV", Rcode.NXDOMAIN),
        ("_dns._tcp.kube-dns.kube-system.svc.cluster.local.", "SRV", Rcode.NOERROR),
        ("x.10-0-0-1.default.pod.cluster.local.", "A", Rcode.NXDOMAIN),
    ],
)
def test_rcode_tells_absent_names_from_absent_types(name: str, qtype: str, rcode: Rcode) -> None:
    assert lookup(cluster(), name, qtype).rcode is rcode


# -- endpoints -------------------------------------------------------------------------------------


def test_headless_service_has_its_ready_endpoints_or_all_if_published() -> None:
    endpoints = (
        Endpoint((ip_address("10.244.0.2"),), ready=True),
        Endpoint((ip_address("10.244.0.3"),), ready=False),
        Endpoint((ip_address("10.244.0.4"),)),
    )
    for publish, expected in ((False, [2, 4]), (True, [2, 3, 4])):
        service, piece = headless("db", *endpoints, publish=publish)
        answer = lookup(cluster(service, slices=(piece,)), f"db.default.{ZONE}")
        assert data(answer) == [f"10.244.0.{last}" for last in expected]


def test_headless_service_without_endpoints_does_not_exist() -> None:
    service, piece = headless("db")
    answer = lookup(cluster(service, slices=(piece,)), f"db.default.{ZONE}")
    assert answer.rcode is Rcode.NXDOMAIN


def test_srv_weights_share_100_and_are_never_zero() -> None:
    addresses = [IPv4Address("10.244.0.2") + number for number in range(150)]
    service, piece = headless("db", *(Endpoint((address,)) for address in addresses))
    found = cluster(service, slices=(piece,))
    answer = lookup(found, f"_sql._tcp.db.default.{ZONE}", "SRV")
    assert {record.data.split()[1] for record in answer.answer} == {"1"}
    assert (len(answer.answer), len(answer.additional)) == (150, 150)


def test_endpoint_of_a_cluster_ip_service_has_a_name_too() -> None:
    service = Service(
        "default", "web", cluster_ips=(ip_address("10.96.0.7"),), ports=(ServicePort(80, "http"),)
    )
    _, piece = headless("web", Endpoint((ip_address("10.244.0.2"),), hostname="first"))
    found = cluster(service, slices=(piece,))
    assert data(lookup(found, f"first.web.default.{ZONE}")) == ["10.244.0.2"]
    assert data(lookup(found, f"web.default.{ZONE}")) == ["10.96.0.7"]
    assert data(lookup(found, "2.0.244.10.in-addr.arpa.", "PTR")) == [f"first.web.default.{ZONE}"]


# -- ExternalName ----------------------------------------------------------------------------------


def test_external_name_outside_is_left_pending() -> None:
    answer = lookup(cluster(external("shop", "www.example.com")), f"shop.default.{ZONE}", "AAAA")
    assert (data(answer), answer.pending) == (["www.example.com."], "www.example.com.")


def test_external_names_are_followed_inside_to_the_end() -> None:
    found = cluster(
        external("one", f"two.default.{ZONE}"),
        external("two", "kube-dns.kube-system.svc.cluster.local"),
    )
    assert [str(record) for record in lookup(found, f"one.default.{ZONE}").answer] == [
        f"one.default.{ZONE} 30 IN CNAME two.default.{ZONE}",
        f"two.default.{ZONE} 30 IN CNAME kube-dns.kube-system.{ZONE}",
        f"kube-dns.kube-system.{ZONE} 30 IN A 10.96.0.10",
    ]


@pytest.mark.parametrize(
    "services",
    [
        (external("a", f"A.default.{ZONE}"),),
        (external("a", f"b.default.{ZONE}"), external("b", f"a.default.{ZONE}")),
        (external("a", f"nobody.default.{ZONE}"),),
    ],
)
def test_external_name_that_leads_nowhere_is_no_data(services: tuple[Service, ...]) -> None:
    answer = lookup(cluster(*services), f"a.default.{ZONE}")
    assert (answer.rcode, answer.answer) == (Rcode.NOERROR, ())


def test_chain_of_external_names_is_cut() -> None:
    services = [external(f"n{i}", f"n{i + 1}.default.{ZONE}") for i in range(12)]
    answer = lookup(cluster(*services), f"n0.default.{ZONE}")
    assert (answer.rcode, answer.answer) == (Rcode.NOERROR, ())


def test_external_name_that_is_an_address_does_not_exist() -> None:
    """CoreDNS leaves such a service out: an address is no name."""
    answer = lookup(cluster(external("a", "192.0.2.1")), f"a.default.{ZONE}")
    assert answer.rcode is Rcode.NXDOMAIN


# -- pods ------------------------------------------------------------------------------------------


def test_pod_record_of_ipv6_and_verified_needs_the_pod() -> None:
    pod = Pod("default", "pod1", "node1", (ip_address("fd00::2"),))
    found = cluster(pods=(pod,))
    verified = replace(ZoneOptions.of(found), pods="verified")
    assert data(lookup(found, "fd00--2.default.pod.cluster.local.", "AAAA", verified)) == [
        "fd00::2"
    ]
    for name in ("fd00--3.default", "fd00--2.empty"):
        answer = lookup(found, f"{name}.pod.cluster.local.", "AAAA", verified)
        assert answer.rcode is Rcode.NXDOMAIN


# -- size and robustness ---------------------------------------------------------------------------


def test_the_first_answer_costs_as_the_zone_grows_not_as_its_square() -> None:
    """Of this process' own time: ten times the services are far from a hundred times the cost."""
    small = min(_first_answer_seconds(100) for _ in range(3))
    large = min(_first_answer_seconds(1000) for _ in range(3))
    assert large < 40 * small


def _first_answer_seconds(services: int) -> float:
    """Processor time of the first look-ups in a zone of so many services of ten endpoints."""
    pieces = [
        headless(
            f"svc-{number}",
            *(Endpoint((IPv4Address("10.0.0.1") + number * 10 + i,)) for i in range(10)),
        )
        for number in range(services)
    ]
    found = cluster(*(service for service, _ in pieces), slices=tuple(s for _, s in pieces))
    start = time.process_time()
    assert len(lookup(found, f"svc-{services - 1}.default.{ZONE}").answer) == 10
    assert lookup(found, "1.0.0.10.in-addr.arpa.", "PTR").rcode is Rcode.NOERROR
    return time.process_time() - start


LABELS = st.sampled_from(
    ["svc", "pod", "default", "kube-dns", "_dns", "_tcp", "1-2-3-4", "fd00--1", "", "a\\.b", "ns"]
)


@given(st.lists(LABELS, max_size=7), st.sampled_from(["A", "AAAA", "SRV", "PTR", "TXT", "NS"]))
def test_any_name_of_the_zone_has_an_answer(labels: list[str], qtype: str) -> None:
    name = ".".join([*labels, "cluster.local."])
    answer = ClusterZone(cluster()).lookup(name, qtype)
    if answer is not None:
        assert answer.answer or answer.authority


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_reverse_names_and_dashed_addresses_lead_back(address: IPv4Address | IPv6Address) -> None:
    assert address_of_reverse(reverse_name(address)) == address
    assert undashed(dashed(address)) == address


@pytest.mark.parametrize(
    "name",
    ["1.2.3.in-addr.arpa.", "256.2.3.4.in-addr.arpa.", "a.ip6.arpa.", "x.y.", "in-addr.arpa."],
)
def test_what_is_no_reverse_name_has_no_address(name: str) -> None:
    assert address_of_reverse(name) is None


def test_is_below_knows_label_boundaries_and_no_case() -> None:
    assert is_below("a.Cluster.LOCAL.", "cluster.local.")
    assert is_below("a.", ".")
    assert not is_below("xcluster.local.", "cluster.local.")


def test_protocol_of_a_port_is_part_of_its_name() -> None:
    ports = (ServicePort(53, "dns", Protocol.UDP), ServicePort(53, "dns-tcp"))
    service = Service("default", "d", cluster_ips=(ip_address("10.96.0.9"),), ports=ports)
    answer = lookup(cluster(service), f"_dns-tcp._tcp.d.default.{ZONE}", "SRV")
    assert data(answer) == [f"0 100 53 d.default.{ZONE}"]
