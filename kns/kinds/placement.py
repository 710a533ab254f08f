"""The pods of a lab with the node of each, the cluster's own included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kns.kinds.common import Protocol
from kns.kinds.ingress import CONTROLLER_NAME, CONTROLLER_NAMESPACE, IngressControllerOptions
from kns.kinds.lab import Lab
from kns.kinds.networking import DNSOptions
from kns.kinds.pod import Container, ContainerPort, DNSPolicy, Pod
from kns.kinds.workload import Workload, WorkloadKind

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
    """A pod with its node; `workload` is the index of what it was made from, -1 for kns' own."""

    pod: Pod
    workload: int


def expand_pods(lab: Lab, bound: Mapping[str, str] | None = None) -> tuple[PlacedPod, ...]:
    """Every pod in file order, then the Ingress controller's, the DNS pods last.

    Pods that name no node go round robin over the nodes, but for those in `bound` (full name to
    node), which stay where they are, as a scheduled pod does.
    """
    nodes = [node.name for node in lab.nodes]
    pods = _placed(lab.workloads, nodes, bound or {})
    controller = ingress_controller(lab)
    own = [_controller_workload(controller)] if controller is not None else []
    own += [_dns_workload(lab.networking.dns)] if lab.networking.dns.enabled else []
    for workload in own:
        pods += [replace(item, workload=-1) for item in _placed([workload], nodes, bound or {})]
    return tuple(pods)


def ingress_controller(lab: Lab) -> IngressControllerOptions | None:
    """The lab's Ingress controller: as written, or with defaults where there is an Ingress."""
    if lab.ingress_controller is None and lab.ingresses:
        return IngressControllerOptions()
    return lab.ingress_controller


def _placed(
    workloads: Sequence[Workload], nodes: Sequence[str], bound: Mapping[str, str]
) -> list[PlacedPod]:
    placed: list[PlacedPod] = []
    turn = 0
    for index, workload in enumerate(workloads):
        for made in workload.pods(nodes):
            pod = made
            if not pod.node:
                kept = bound.get(pod.full_name, "")
                pod = replace(pod, node=kept if kept in nodes else nodes[turn % len(nodes)])
                turn += 1
            placed.append(PlacedPod(pod, index))
    return placed


def _dns_workload(dns: DNSOptions) -> Workload:
    """The DNS pods, named and labelled as kubeadm's CoreDNS Deployment does."""
    ports = (ContainerPort(53, "dns", Protocol.UDP), ContainerPort(53, "dns-tcp", Protocol.TCP))
    template = Pod(
        namespace="kube-system",
        name="coredns",
        node="",
        addresses=(),
        labels={"k8s-app": "kube-dns"},
        containers=(Container("coredns", ports),),
        dns_policy=DNSPolicy.DEFAULT,
    )
    return Workload(WorkloadKind.DEPLOYMENT, template, dns.replicas)


def _controller_workload(controller: IngressControllerOptions) -> Workload:
    """The Ingress controller's pods, named and labelled as ingress-nginx's own manifest does."""
    ports = (ContainerPort(80, "http"), ContainerPort(443, "https"))
    template = Pod(
        namespace=CONTROLLER_NAMESPACE,
        name=CONTROLLER_NAME,
        node="",
        addresses=(),
        labels=CONTROLLER_LABELS,
        containers=(Container("controller", ports, component=NGINX),),
    )
    return Workload(WorkloadKind.DEPLOYMENT, template, controller.replicas)
