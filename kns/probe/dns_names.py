"""What a name means where it is asked for, by the files and zones that the lab's DNS serves. Pure.

The order is the C library's: /etc/hosts, then each name of the search list at the servers of
resolv.conf. What was really asked and answered is for `kns dns` to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address

from kns.addresses import IPAddress
from kns.cluster.internet_dns import InternetZone, internet_names
from kns.cluster.model import Cluster
from kns.cluster.podfiles import ResolvConf, internet_files, node_files, pod_files
from kns.cluster.records import Zone
from kns.cluster.zone import ClusterZone
from kns.errors import UsageError
from kns.hints import closest
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service
from kns.probe.ask.dns_model import hosts_addresses, search_order
from kns.promise.endpoints import has_dns
from kns.promise.location import DEFAULT_NAMESPACE, Location


def from_hosts(cluster: Cluster, source: Location, name: str) -> tuple[IPAddress, ...]:
    """The addresses that the source's own hosts file has for the name."""
    return tuple(map(ip_address, hosts_addresses(_files(cluster, source).get("hosts", ""), name)))


def addresses_of(cluster: Cluster, source: Location, name: str) -> tuple[IPAddress, ...]:
    """The name's addresses as the source resolves it; none: nobody in the lab knows the name."""
    if found := from_hosts(cluster, source, name):
        return found
    conf = ResolvConf.parse(_files(cluster, source).get("resolv.conf", ""))
    zones: tuple[Zone, ...] = (InternetZone(internet_names(cluster)),)
    if asks_cluster_dns(cluster, source):
        zones = (ClusterZone(cluster), *zones)
    for full in search_order(name, conf):
        if found := tuple(_records(cluster, zones, full)):
            return found
    return ()


def service_by_dns_name(cluster: Cluster, source: Location, name: str) -> Service | None:
    """The service whose name it is, in any of its forms: alone, with its namespace, in full."""
    service, _, namespace = _stripped(cluster, name).partition(".")
    own = source.item.namespace if isinstance(source.item, Pod) else DEFAULT_NAMESPACE
    return cluster.service(namespace or own, service)


def refuse_missing_service(cluster: Cluster, name: str) -> None:
    """UsageError if only a Service of a namespace of the cluster could be called so.

    A name with the cluster's domain is left to DNS, whose own answer is what such a probe is for.
    """
    service, _, namespace = _stripped(cluster, name).partition(".")
    in_full = name.rstrip(".").endswith(f".{cluster.network.dns.domain.rstrip('.')}")
    if in_full or namespace not in {item.name for item in cluster.namespaces}:
        return
    known = [item.name for item in cluster.services if item.namespace == namespace]
    near = closest(service, known)
    listed = f"services there: {', '.join(known)}" if known else f"kns get services -n {namespace}"
    hint = f"did you mean {near}.{namespace}?" if near else listed
    raise UsageError(f"there is no service {service!r} in namespace {namespace}", hint=hint)


def _stripped(cluster: Cluster, name: str) -> str:
    domain = cluster.network.dns.domain.rstrip(".")
    return name.rstrip(".").removesuffix(f".{domain}").removesuffix(".svc")


def asks_cluster_dns(cluster: Cluster, source: Location) -> bool:
    """True if the source's resolv.conf names the cluster's DNS, and the lab runs it."""
    conf = ResolvConf.parse(_files(cluster, source).get("resolv.conf", ""))
    servers = {str(address) for address in cluster.network.dns.service_ips}
    return has_dns(cluster) and not servers.isdisjoint(conf.nameservers)


def _files(cluster: Cluster, source: Location) -> Mapping[str, str]:
    match source.item:
        case Pod() as pod:
            return pod_files(cluster, pod)
        case Node() as node:
            return node_files(cluster, node)
        case Service():
            return {}
        case host:
            return internet_files(cluster, host)


def _records(cluster: Cluster, zones: Iterable[Zone], name: str) -> Iterator[IPAddress]:
    """The addresses of the first zone that knows the name, and of what its CNAMEs lead to."""
    for family in cluster.network.families:
        rdtype = "A" if family.version == 4 else "AAAA"
        answers = (zone.lookup(name, rdtype) for zone in zones)
        answer = next((item for item in answers if item is not None), None)
        for record in answer.answer if answer is not None else ():
            if record.type == rdtype:
                yield ip_address(record.data)
        if answer is not None and answer.pending:
            yield from _records(cluster, zones, answer.pending)
