"""Pods with their node and addresses."""

from __future__ import annotations

from collections.abc import Sequence

from kns.addresses import IPAddress, IPNetwork
from kns.cluster.allocate import PodAddresses
from kns.cluster.leases import Leases, PodLease
from kns.kinds.common import Protocol
from kns.kinds.node import Node
from kns.kinds.pod import Container, ContainerPort, DNSConfig, DNSOption, DNSPolicy, EnvVar, Pod
from kns.labfile.expand import PlacedPod, container_name, containers_of, expand_pods, ports_of
from kns.labfile.model import LabSpec, PodSpec


def resolve_pods(
    spec: LabSpec, nodes: Sequence[Node], leases: Leases
) -> tuple[tuple[Pod, ...], dict[str, PodLease], dict[IPNetwork, IPAddress]]:
    """The pods in file order, their leases, and the last address handed out of each pod CIDR."""
    bound = {name: lease.node for name, lease in leases.pods.items()}
    placed = expand_pods(spec, bound)
    addresses, last = _addresses(placed, nodes, leases)
    templates: dict[int, _Template] = {}
    pods: list[Pod] = []
    for item in placed:
        template = templates.get(id(item.spec))
        if template is None:
            template = templates[id(item.spec)] = _Template(item.spec, item.component)
        pods.append(template.pod(item, tuple(addresses[item.full_name])))
    kept = {pod.full_name: PodLease(pod.node, pod.addresses) for pod in pods}
    return tuple(pods), kept, last


class _Template:
    """What all replicas of a template share."""

    def __init__(self, spec: PodSpec, component: str) -> None:
        self._spec = spec
        self._containers = tuple(
            Container(
                name=container_name(container, index),
                ports=tuple(
                    ContainerPort(number, name, Protocol(protocol))
                    for name, number, protocol in ports_of(container)
                ),
                command=(*container.command, *container.args),
                env=tuple(EnvVar(item.name, item.value) for item in container.env),
                component=component,
            )
            for index, container in enumerate(containers_of(spec))
        )
        config = spec.dns_config
        self._dns_config = DNSConfig(
            config.nameservers,
            config.searches,
            tuple(DNSOption(option.name, option.value) for option in config.options),
        )
        self._dns_policy = DNSPolicy(spec.dns_policy)

    def pod(self, placed: PlacedPod, addresses: tuple[IPAddress, ...]) -> Pod:
        """One replica."""
        spec = self._spec
        return Pod(
            namespace=placed.namespace,
            name=placed.name,
            node=placed.node,
            addresses=addresses,
            labels=spec.labels,
            containers=self._containers,
            hostname=spec.hostname,
            subdomain=spec.subdomain,
            ready=spec.ready,
            serving=spec.ready if spec.serving is None else spec.serving,
            terminating=spec.terminating,
            dns_policy=self._dns_policy,
            dns_config=self._dns_config,
            enable_service_links=spec.enable_service_links,
        )


def _addresses(
    placed: Sequence[PlacedPod], nodes: Sequence[Node], leases: Leases
) -> tuple[dict[str, list[IPAddress]], dict[IPNetwork, IPAddress]]:
    """Each pod's addresses, and the last one of each pod CIDR; leased ones are kept."""
    found: dict[str, list[IPAddress]] = {pod.full_name: [] for pod in placed}
    last: dict[IPNetwork, IPAddress] = {}
    by_node: dict[str, list[PlacedPod]] = {}
    for pod in placed:
        by_node.setdefault(pod.node, []).append(pod)
    for node in nodes:
        pods = by_node.get(node.name, [])
        for cidr in node.pod_cidrs:
            last[cidr] = _one_cidr(cidr, pods, leases, found)
    return found, last


def _one_cidr(
    cidr: IPNetwork, pods: Sequence[PlacedPod], leases: Leases, found: dict[str, list[IPAddress]]
) -> IPAddress:
    """Give each of a node's pods an address of `cidr`; the last one that was handed out."""
    pool = PodAddresses(cidr, leases.last.get(cidr))
    kept: dict[str, IPAddress] = {}
    for pod in pods:
        lease = leases.pods.get(pod.full_name)
        if lease is not None and lease.node == pod.node:
            address = next((a for a in lease.addresses if a in cidr), None)
            if address is not None and pool.keep(address):
                kept[pod.full_name] = address
    for pod in pods:
        found[pod.full_name].append(kept.get(pod.full_name) or pool.next())
    return pool.last
