"""What a cluster zone looks things up in: its options, and indexes that are made at first use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from kns.addresses import IPAddress
from kns.cluster.model import Cluster
from kns.cluster.records import REVERSE_IPV4, REVERSE_IPV6, endpoint_label
from kns.kinds.endpointslice import Endpoint, EndpointSlice
from kns.kinds.service import Service


@dataclass(frozen=True, slots=True)
class ZoneOptions:
    """The kubernetes plugin's options under its own words; defaults are kubeadm's Corefile.

    `fall_through` lists the zones where a name that does not exist is somebody else's to answer;
    `namespaces` empty exposes all of them.
    """

    domain: str = "cluster.local"
    reverse_zones: tuple[str, ...] = (REVERSE_IPV4, REVERSE_IPV6)
    fall_through: tuple[str, ...] = (REVERSE_IPV4, REVERSE_IPV6)
    ttl: int = 30
    pods: str = "insecure"
    namespaces: frozenset[str] = frozenset()
    ignore_empty_service: bool = False
    synced: bool = True
    #: of the SOA record; CoreDNS counts it up with each change
    serial: int = 1

    @staticmethod
    def of(cluster: Cluster, *, serial: int = 1) -> ZoneOptions:
        """The options that the lab's `networking.dns` asks for."""
        dns = cluster.network.dns
        return ZoneOptions(dns.domain, ttl=dns.ttl, pods=dns.pod_records, serial=serial)


class ZoneIndex:
    """A cluster's services, endpoints and addresses by what a question may name."""

    def __init__(self, cluster: Cluster, exposed: frozenset[str] = frozenset()) -> None:
        self._cluster = cluster
        self._exposed = exposed

    def ready(self, piece: EndpointSlice) -> Iterator[tuple[Endpoint, IPAddress]]:
        """The addresses of a slice that have records: ready ones, or all if so published."""
        service = self._cluster.service(piece.namespace, piece.service)
        everyone = service is not None and service.publish_not_ready_addresses
        for endpoint in piece.endpoints:
            if everyone or endpoint.ready is not False:
                for address in endpoint.addresses:
                    yield endpoint, address

    def is_empty(self, service: Service) -> bool:
        """True if no endpoint of the service has records."""
        return not any(
            True for piece in self._cluster.slices_of(service) for _ in self.ready(piece)
        )

    def names_of(self, address: IPAddress) -> list[str]:
        """Names left of the zone that have this address: a service's, else its endpoints'."""
        service = self._by_cluster_ip.get(address)
        if service is not None:
            return [service_key(service)]
        return self._by_endpoint_ip.get(address, [])

    @cached_property
    def namespaces(self) -> frozenset[str]:
        """The namespaces that exist and are exposed."""
        existing = {item.name for item in self._cluster.namespaces}
        existing.update(service.namespace for service in self._cluster.services)
        existing.update(pod.namespace for pod in self._cluster.pods)
        return frozenset(name for name in existing if self._exposes(name))

    @cached_property
    def pod_addresses(self) -> frozenset[tuple[str, IPAddress]]:
        """Namespace and address of every pod."""
        pods = self._cluster.pods
        return frozenset((pod.namespace, address) for pod in pods for address in pod.addresses)

    @cached_property
    def _by_cluster_ip(self) -> dict[IPAddress, Service]:
        return {
            address: service
            for service in reversed(self._cluster.services)
            if self._exposes(service.namespace)
            for address in service.cluster_ips
        }

    @cached_property
    def _by_endpoint_ip(self) -> dict[IPAddress, list[str]]:
        index: dict[IPAddress, list[str]] = {}
        for piece in self._cluster.endpoint_slices:
            if not self._exposes(piece.namespace):
                continue
            for endpoint, address in self.ready(piece):
                label = endpoint_label(endpoint, address)
                name = f"{label}.{piece.service}.{piece.namespace}.svc"
                names = index.setdefault(address, [])
                if name not in names:
                    names.append(name)
        return index

    def _exposes(self, namespace: str) -> bool:
        return not self._exposed or namespace in self._exposed


def service_key(service: Service) -> str:
    """The service's own name left of the zone."""
    return f"{service.name}.{service.namespace}.svc"
