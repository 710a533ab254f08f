"""Which pods and hosts of a lab answer DNS, and with whose names."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from kns.addresses import IPAddress
from kns.cluster.model import Cluster
from kns.kinds.networking import DNS_LABEL, DNS_NAMESPACE
from kns.kinds.pod import Container, Pod

DNS_CONTAINER = "coredns"


class NameServerKind(StrEnum):
    """Whose names a server knows."""

    CLUSTER = "cluster"
    INTERNET = "internet"


def is_name_server(pod: Pod, container: Container) -> bool:
    """True for the container of a DNS pod that the built-in server stands in for."""
    key, value = DNS_LABEL
    return (
        pod.namespace == DNS_NAMESPACE
        and pod.labels.get(key) == value
        and container.name == DNS_CONTAINER
        and not container.command
    )


def runs_coredns(cluster: Cluster) -> bool:
    """True if the lab asks for the real CoreDNS in its DNS pods."""
    return cluster.network.dns.server == "coredns"


def internet_name_servers(cluster: Cluster) -> Iterator[tuple[str, tuple[IPAddress, ...]]]:
    """The name and addresses of the internet host with a DNS server, if the lab has one."""
    for host in cluster.internet[:1]:
        yield host.name, host.addresses
