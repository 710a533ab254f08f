"""The files of a real CoreDNS that answers as the built-in server: Corefile and zone files. Pure.

    Cluster ──▶ Corefile      plugins, upstream
            ──▶ cluster.db    every name of the cluster domain
            ──▶ reverse-….db  the PTR records of one reverse zone each

CoreDNS' kubernetes plugin needs an API server; its `file` plugin needs only these, and reads them
again on SIGUSR1, with no lost question. Two things can't be said in a zone file and differ from the
built-in server: a namespace with no service in it is NXDOMAIN instead of NODATA, and pod records of
IPv6 addresses exist for pods only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from kns.addresses import IPAddress
from kns.cluster.internet_dns import upstream_servers
from kns.cluster.model import Cluster
from kns.cluster.records import (
    Record,
    absolute,
    dashed,
    endpoint_label,
    reverse_name,
    soa_record,
)
from kns.cluster.words import word, word_with_colons
from kns.cluster.zone import ClusterZone
from kns.cluster.zone_index import ZoneIndex, ZoneOptions, service_key
from kns.kinds.service import Service

COREFILE = "Corefile"
CLUSTER_FILE = "cluster.db"
_TYPES = ("A", "AAAA", "CNAME", "SRV", "TXT")
_POD = "{name}.{namespace}.pod.{zone}"


def coredns_files(cluster: Cluster, folder: str) -> Mapping[str, str]:
    """The files by name; `folder` is where they will be."""
    options = replace(ZoneOptions.of(cluster), fall_through=())
    zone = ClusterZone(cluster, options)
    reverse = _reverse_records(cluster, zone)
    files = {CLUSTER_FILE: _zone_text(absolute(options.domain), options, _records(cluster, zone))}
    for name, records in reverse.items():
        files[_reverse_file(name)] = _zone_text(name, options, records)
    return {COREFILE: _corefile(cluster, folder, tuple(reverse)), **files}


def _corefile(cluster: Cluster, folder: str, reverse_zones: tuple[str, ...]) -> str:
    dns = cluster.network.dns
    lines = ["errors", "health :8080", "ready :8181"]
    if dns.pod_records == "insecure":
        lines += _pod_template(word(dns.domain.rstrip(".")), dns.ttl)
    for name, file in (
        (absolute(dns.domain), CLUSTER_FILE),
        *((name, _reverse_file(name)) for name in reverse_zones),
    ):
        lines.append(f"file {folder}/{file} {word(name)}")
    upstream = " ".join(str(address) for address in upstream_servers(cluster))
    lines += [f"forward . {upstream}"] if upstream else []
    lines.append("loadbalance")
    return ".:53 {\n" + "".join(f"    {line}\n" for line in lines) + "}\n"


def _pod_template(domain: str, ttl: int) -> list[str]:
    """`pods insecure`: an address for every name that is one, whether the pod exists or not."""
    octets = "-".join(f"(?P<{name}>[0-9]{{1,3}})" for name in "abcd")
    escaped = domain.replace(".", "[.]")
    address = ".".join(f"{{{{ .Group.{name} }}}}" for name in "abcd")
    return [
        f"template IN A pod.{domain} {{",
        f'    match "^{octets}[.][^.]+[.]pod[.]{escaped}[.]$"',
        f'    answer "{{{{ .Name }}}} {ttl} IN A {address}"',
        "    fallthrough",
        "}",
    ]


def _zone_text(name: str, options: ZoneOptions, records: Iterable[Record]) -> str:
    soa = soa_record(name, options.ttl, options.serial)
    server = Record(name, "NS", options.ttl, soa.data.split()[0])
    lines = dict.fromkeys(_line(record) for record in (soa, server, *records))
    return "".join(f"{line}\n" for line in lines)


def _line(record: Record) -> str:
    # a TXT record's data is quoted, and none of it is from the lab file
    words = map(word_with_colons, record.data.split(" "))
    data = record.data if record.type == "TXT" else " ".join(words)
    return f"{word(record.name)} {record.ttl} IN {record.type} {data}"


def _records(cluster: Cluster, zone: ClusterZone) -> Iterator[Record]:
    """Every record of the cluster domain, by asking the zone for every name that it has."""
    for name in _names(cluster):
        for rdtype in _TYPES:
            answer = zone.lookup(name, rdtype)
            if answer is not None:
                yield from (record for record in answer.answer if record.name == name)


def _names(cluster: Cluster) -> Iterator[str]:
    zone = absolute(cluster.network.dns.domain)
    index = ZoneIndex(cluster)
    yield f"dns-version.{zone}"
    yield f"ns.dns.{zone}"
    for service in cluster.services:
        key = f"{service_key(service)}.{zone}"
        yield key
        yield from (f"{label}.{key}" for label in _labels_below(cluster, service, index))
    if cluster.network.dns.pod_records != "disabled":
        for pod in cluster.pods:
            for address in pod.addresses:
                name = dashed(address)
                yield _POD.format(name=name, namespace=pod.namespace, zone=zone)


def _labels_below(cluster: Cluster, service: Service, index: ZoneIndex) -> Iterator[str]:
    for port in service.ports:
        if port.name:
            yield f"_{port.name}._{port.protocol.lower()}"
    for piece in cluster.slices_of(service):
        for endpoint, address in index.ready(piece):
            yield endpoint_label(endpoint, address)


def _reverse_records(cluster: Cluster, zone: ClusterZone) -> dict[str, list[Record]]:
    """The PTR records by reverse zone: an IPv4 /16, an IPv6 /64."""
    found: dict[str, list[Record]] = {}
    services = [address for service in cluster.services for address in service.cluster_ips]
    endpoints = [
        address
        for piece in cluster.endpoint_slices
        for endpoint in piece.endpoints
        for address in endpoint.addresses
    ]
    for address in dict.fromkeys((*services, *endpoints)):
        answer = zone.lookup(reverse_name(address), "PTR")
        if answer is not None and answer.answer:
            found.setdefault(_reverse_zone(address), []).extend(answer.answer)
    return found


def _reverse_zone(address: IPAddress) -> str:
    left_out = 2 if address.version == 4 else 16
    return ".".join(reverse_name(address).split(".")[left_out:])


def _reverse_file(zone: str) -> str:
    return f"reverse-{zone.rstrip('.')}.db"
