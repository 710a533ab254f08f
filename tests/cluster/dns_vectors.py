"""CoreDNS' own test cases (tests/vectors/dns.json) as clusters, zone options and questions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Network, ip_address
from typing import Any

from kns.addresses import IPFamily
from kns.cluster.model import Cluster, Network
from kns.cluster.zone_index import ZoneOptions
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.namespace import Namespace
from kns.kinds.networking import DNSOptions
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service, ServicePort, ServiceType
from tests.vectors import read_vectors

#: the objects live here; "every namespace except pod-nons and nsnoexist exists"
NAMESPACES = ("default", "kube-system", "testns", "unexposedns", "podns", "svcns")


@dataclass(frozen=True, slots=True)
class Case:
    """One question, and what CoreDNS answers: sections as text, each sorted."""

    suite: str
    qname: str
    qtype: str
    rcode: str
    answer: tuple[str, ...]
    authority: tuple[str, ...]
    additional: tuple[str, ...]
    cluster: Cluster
    options: ZoneOptions

    @property
    def id(self) -> str:
        return f"{self.suite}: {self.qname} {self.qtype}"


@cache
def cases() -> tuple[Case, ...]:
    """All cases."""
    return tuple(_cases(read_vectors("dns")))


def _cases(vectors: dict[str, Any]) -> Iterator[Case]:
    clusters = {name: _cluster(objects) for name, objects in vectors["objects"].items()}
    for suite in vectors["suites"]:
        for case in suite["cases"]:
            yield Case(
                suite["name"],
                case["qname"],
                case["qtype"],
                case["rcode"],
                _sorted(case["answer"]),
                _sorted(_negative(text) for text in case["authority"]),
                _sorted(case["additional"]),
                clusters[suite["objects"]],
                _options(suite["options"], vectors),
            )


def _negative(text: str) -> str:
    """A SOA of the authority section with the TTLs that the vectors' notes say to expect.

    "SOA serial and mbox are not compared field by field upstream: check owner, TTL 5, MINTTL 5":
    what stands in those fields in CoreDNS' test files is what was once pasted there.
    """
    owner, _ttl, *middle, _minimum = text.split()
    return " ".join([owner, "5", *middle, "5"])


def _sorted(records: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(normalised(text) for text in records))


def normalised(text: str) -> str:
    """One record's text with an absolute owner, TXT data in quotes, no SOA serial."""
    owner, ttl, cls, rtype, *data = text.split()
    if rtype == "SOA":
        data[2] = "SERIAL"
    if rtype == "TXT":
        data = [f'"{item.strip(chr(34))}"' for item in data]
    return " ".join([f"{owner.rstrip('.')}.", ttl, cls, rtype, *data])


def _options(raw: dict[str, Any], vectors: dict[str, Any]) -> ZoneOptions:
    zones = raw.get("zones", [vectors["zone"]])
    return ZoneOptions(
        domain=zones[0],
        reverse_zones=tuple(zones[1:]),
        fall_through=(),
        ttl=vectors["ttl"],
        pods=raw.get("pods", "disabled"),
        namespaces=frozenset(raw.get("namespaces", ())),
        ignore_empty_service=raw.get("ignore_empty_service", False),
        synced=raw.get("synced", True),
    )


def _cluster(objects: dict[str, Any]) -> Cluster:
    services = tuple(_service(item) for item in objects["services"])
    return Cluster(
        name="vectors",
        network=Network(
            families=(IPFamily.IPV4, IPFamily.IPV6),
            pod_cidrs=(IPv4Network("172.0.0.0/24"),),
            service_cidrs=(IPv4Network("10.0.0.0/24"),),
            node_cidrs=(IPv4Network("172.18.0.0/24"),),
            internet_cidrs=(),
            dns=DNSOptions(service_ips=(ip_address("10.0.0.10"),), ttl=5),
        ),
        nodes=(Node("node1", (ip_address("172.18.0.2"),)),),
        pods=tuple(
            Pod(item["ns"], item["name"], "node1", (ip_address(item["ip"]),))
            for item in objects.get("pods", ())
        ),
        services=services,
        endpoint_slices=tuple(
            piece
            for index, item in enumerate(objects["endpoints"])
            for piece in _slices(item, index)
        ),
        namespaces=tuple(map(Namespace, NAMESPACES)),
    )


def _service(raw: dict[str, Any]) -> Service:
    addresses = tuple(ip_address(text) for text in raw.get("clusterIPs", ()) if text != "None")
    return Service(
        raw["ns"],
        raw["name"],
        type=ServiceType(raw.get("type", "ClusterIP")),
        cluster_ips=addresses,
        ip_families=tuple(IPFamily.of(address) for address in addresses) or (IPFamily.IPV4,),
        ports=tuple(
            ServicePort(port["port"], port["name"], Protocol(port["protocol"].upper()))
            for port in raw.get("ports", ())
        ),
        external_name=raw.get("externalName", ""),
    )


def _slices(raw: dict[str, Any], index: int) -> Iterator[EndpointSlice]:
    """CoreDNS' test endpoints mix families; a slice has one, so make one slice a family."""
    ports = tuple(
        EndpointPort(
            None if port["port"] == -1 else port["port"],
            port["name"],
            Protocol((port["protocol"] or "TCP").upper()),
        )
        for port in raw.get("ports", ())
    )
    for family in IPFamily:
        endpoints = tuple(
            Endpoint((address,), hostname=item.get("hostname", ""))
            for item in raw["addresses"]
            if (address := ip_address(item["ip"])).version == family.version
        )
        if endpoints:
            name = raw.get("slice", f"{raw['service']}-{index}")
            yield EndpointSlice(
                raw["ns"], f"{name}-{family}", raw["service"], family, ports, endpoints
            )
