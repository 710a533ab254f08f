"""What a lab has handed out so far, so that a change of its file moves nothing that stays.

Leases
├── hosts       a node's or internet host's addresses and pod CIDRs, by name
├── pods        a pod's node and addresses, by namespace/name
├── services    a Service's cluster IPs, node ports and load balancer addresses
└── last        the address that was last handed out of each pod CIDR, as host-local keeps it
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from kns.addresses import IPAddress, IPNetwork

VERSION = 1


@dataclass(frozen=True, slots=True)
class HostLease:
    """The addresses of a node or internet host, and a node's pod CIDRs."""

    addresses: tuple[IPAddress, ...] = ()
    pod_cidrs: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class PodLease:
    """Where a pod runs, and its addresses."""

    node: str
    addresses: tuple[IPAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceLease:
    """What a Service got. `node_ports` is keyed by `port/protocol`."""

    cluster_ips: tuple[IPAddress, ...] = ()
    node_ports: Mapping[str, int] = field(default_factory=dict)
    health_check_node_port: int = 0
    ingress: tuple[IPAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class Leases:
    """Everything that a lab has handed out. `Leases()` is a lab that never was."""

    hosts: Mapping[str, HostLease] = field(default_factory=dict)
    pods: Mapping[str, PodLease] = field(default_factory=dict)
    services: Mapping[str, ServiceLease] = field(default_factory=dict)
    last: Mapping[IPNetwork, IPAddress] = field(default_factory=dict)

    def to_json(self) -> str:
        """As text, the same for the same leases."""
        value = {
            "version": VERSION,
            "hosts": {
                name: {"addresses": _texts(host.addresses), "podCIDRs": _texts(host.pod_cidrs)}
                for name, host in self.hosts.items()
            },
            "pods": {
                name: {"node": pod.node, "addresses": _texts(pod.addresses)}
                for name, pod in self.pods.items()
            },
            "services": {
                name: {
                    "clusterIPs": _texts(service.cluster_ips),
                    "nodePorts": dict(service.node_ports),
                    "healthCheckNodePort": service.health_check_node_port,
                    "ingress": _texts(service.ingress),
                }
                for name, service in self.services.items()
            },
            "last": {str(network): str(address) for network, address in self.last.items()},
        }
        # indented, it would be written by Python's own code, ten times as slow as C's
        return json.dumps(value, sort_keys=True) + "\n"

    @staticmethod
    def from_json(text: str) -> Leases:
        """The leases that `to_json` wrote. Raises ValueError for anything else."""
        try:
            value = json.loads(text)
            if value["version"] != VERSION:
                raise ValueError(f"leases of version {value['version']}")
            return _leases(value)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"no leases: {error!r}") from error


def _leases(value: Mapping[str, Mapping[str, Mapping[str, object]]]) -> Leases:
    return Leases(
        hosts={
            name: HostLease(_addresses(host["addresses"]), _networks(host["podCIDRs"]))
            for name, host in value["hosts"].items()
        },
        pods={
            name: PodLease(str(pod["node"]), _addresses(pod["addresses"]))
            for name, pod in value["pods"].items()
        },
        services={
            name: ServiceLease(
                _addresses(service["clusterIPs"]),
                _ports(service["nodePorts"]),
                _port(service["healthCheckNodePort"]),
                _addresses(service["ingress"]),
            )
            for name, service in value["services"].items()
        },
        last={
            ipaddress.ip_network(network): ipaddress.ip_address(str(address))
            for network, address in value["last"].items()
        },
    )


def _texts(items: tuple[IPAddress, ...] | tuple[IPNetwork, ...]) -> list[str]:
    return [str(item) for item in items]


def _addresses(value: object) -> tuple[IPAddress, ...]:
    return tuple(ipaddress.ip_address(item) for item in _strings(value))


def _networks(value: object) -> tuple[IPNetwork, ...]:
    return tuple(ipaddress.ip_network(item) for item in _strings(value))


def _strings(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"not a list of strings: {value!r}")
    return value


def _ports(value: object) -> dict[str, int]:
    if not isinstance(value, dict):
        raise TypeError(f"not a mapping of ports: {value!r}")
    return {str(key): _port(port) for key, port in value.items()}


def _port(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65535:
        raise TypeError(f"not a port: {value!r}")
    return value
