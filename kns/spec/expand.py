"""From pod templates to pods: replicas, the node of each, and the cluster's own DNS pods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kns.spec.model import ContainerPortSpec, ContainerSpec, LabSpec, PodSpec
from kns.spec.model_networking import DNSSpec

#: a pod without containers gets one server on this port
DEFAULT_PORT = 8080


@dataclass(frozen=True, slots=True)
class PlacedPod:
    """One pod of the lab; `template` is its index in the spec's pods, -1 for kns' own."""

    namespace: str
    name: str
    node: str
    spec: PodSpec
    template: int

    @property
    def full_name(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


def expand_pods(spec: LabSpec, bound: Mapping[str, str] | None = None) -> tuple[PlacedPod, ...]:
    """Every pod in file order, the DNS pods last.

    Pods that name no node go round robin over the nodes, but for those in `bound` (full name to
    node), which stay where they are, as a scheduled pod does.
    """
    nodes = [node.name for node in spec.nodes]
    pods = _placed(spec.pods, nodes, bound or {}, system=False)
    if spec.networking.dns.enabled:
        pods += _placed((dns_template(spec.networking.dns),), nodes, bound or {}, system=True)
    return tuple(pods)


def _placed(
    templates: tuple[PodSpec, ...], nodes: list[str], bound: Mapping[str, str], *, system: bool
) -> list[PlacedPod]:
    pods: list[PlacedPod] = []
    turn = 0
    for index, template in enumerate(templates):
        for name in replica_names(template):
            node = template.node
            if node is None:
                node = nodes[turn % len(nodes)]
                turn += 1
                kept = bound.get(f"{template.namespace}/{name}")
                node = kept if kept in nodes else node
            number = -1 if system else index
            pods.append(PlacedPod(template.namespace, name, node or "", template, number))
    return pods


def replica_names(template: PodSpec) -> tuple[str, ...]:
    """The names of a template's pods."""
    if template.replicas is None:
        return (template.name,)
    return tuple(f"{template.name}-{number}" for number in range(1, template.replicas + 1))


def containers_of(spec: PodSpec) -> tuple[ContainerSpec, ...]:
    """The containers as written, or the one server of a pod that names none."""
    return spec.containers or (ContainerSpec(port=DEFAULT_PORT),)


def container_name(container: ContainerSpec, index: int) -> str:
    """Its name; one without is `server`, the second such `server-2`."""
    return container.name or ("server" if index == 0 else f"server-{index + 1}")


def ports_of(container: ContainerSpec) -> tuple[tuple[str, int, str], ...]:
    """Name, number and protocol of each port, the short form `port` first."""
    ports = [("", container.port, "TCP")] if container.port is not None else []
    for port in container.ports:
        number = port.container_port if port.port is None else port.port
        if number is not None:
            ports.append((port.name or "", number, port.protocol))
    return tuple(ports)


def dns_template(dns: DNSSpec) -> PodSpec:
    """The DNS pods, named and labelled as kubeadm's CoreDNS Deployment does."""
    ports = (
        ContainerPortSpec(name="dns", port=53, protocol="UDP"),
        ContainerPortSpec(name="dns-tcp", port=53, protocol="TCP"),
    )
    return PodSpec(
        name="coredns",
        namespace="kube-system",
        labels={"k8s-app": "kube-dns"},
        replicas=dns.replicas,
        containers=(ContainerSpec(name="coredns", ports=ports),),
        dnsPolicy="Default",
    )
