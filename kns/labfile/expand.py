"""From pod templates to pods: replicas, the node of each, and the cluster's own DNS pods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kns.labfile.model import ContainerPortSpec, ContainerSpec, LabSpec, PodSpec
from kns.labfile.model_ingress import (
    CONTROLLER_NAME,
    CONTROLLER_NAMESPACE,
    IngressControllerSpec,
)
from kns.labfile.model_networking import DNSSpec

#: a pod without containers gets one server on this port
DEFAULT_PORT = 8080
#: the component that an Ingress controller's pods run
NGINX = "nginx"
#: ingress-nginx's labels, by which its Service selects its pods
CONTROLLER_LABELS = {
    "app.kubernetes.io/component": "controller",
    "app.kubernetes.io/instance": "ingress-nginx",
    "app.kubernetes.io/name": "ingress-nginx",
}


@dataclass(frozen=True, slots=True)
class PlacedPod:
    """One pod of the lab; `template` is its index in the spec's pods, -1 for kns' own."""

    namespace: str
    name: str
    node: str
    spec: PodSpec
    template: int
    #: the program of kns' own that runs in its containers
    component: str = ""

    @property
    def full_name(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


def expand_pods(spec: LabSpec, bound: Mapping[str, str] | None = None) -> tuple[PlacedPod, ...]:
    """Every pod in file order, then the Ingress controller's, the DNS pods last.

    Pods that name no node go round robin over the nodes, but for those in `bound` (full name to
    node), which stay where they are, as a scheduled pod does.
    """
    nodes = [node.name for node in spec.nodes]
    pods = _placed(spec.pods, nodes, bound or {}, system=False)
    controller = ingress_controller(spec)
    if controller is not None:
        placed = _placed((controller_template(controller),), nodes, bound or {}, system=True)
        pods += [replace(pod, component=NGINX) for pod in placed]
    if spec.networking.dns.enabled:
        pods += _placed((dns_template(spec.networking.dns),), nodes, bound or {}, system=True)
    return tuple(pods)


def ingress_controller(spec: LabSpec) -> IngressControllerSpec | None:
    """The lab's Ingress controller: as written, or with defaults where there is an Ingress."""
    if spec.ingress_controller is None and spec.ingresses:
        return IngressControllerSpec()
    return spec.ingress_controller


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


def controller_template(controller: IngressControllerSpec) -> PodSpec:
    """The Ingress controller's pods, named and labelled as ingress-nginx's own manifest does."""
    ports = (ContainerPortSpec(name="http", port=80), ContainerPortSpec(name="https", port=443))
    return PodSpec(
        name=CONTROLLER_NAME,
        namespace=CONTROLLER_NAMESPACE,
        labels=CONTROLLER_LABELS,
        replicas=controller.replicas,
        containers=(ContainerSpec(name="controller", ports=ports),),
    )
