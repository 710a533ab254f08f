"""The pods of a lab with the node of each, the cluster's own included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kns.kinds.common import DNS_PORT, Protocol
from kns.kinds.ingress import CONTROLLER_NAME, CONTROLLER_NAMESPACE, IngressControllerOptions
from kns.kinds.lab import Lab
from kns.kinds.networking import DNS_DEPLOYMENT, DNS_LABEL, DNS_NAMESPACE, DNSOptions
from kns.kinds.node import Node
from kns.kinds.pod import Container, ContainerPort, DNSPolicy, Pod
from kns.kinds.scheduling import HostPort, objection, port_objection, unavailable
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
    """A pod with its node; `workload` is the index of what it was made from, -1 for kns' own.

    Where no node will do, it has none, and `pending` says why as kube-scheduler does.
    """

    pod: Pod
    workload: int
    pending: str = ""


def expand_pods(lab: Lab, bound: Mapping[str, str] | None = None) -> tuple[PlacedPod, ...]:
    """Every pod in file order, then the Ingress controller's, the DNS pods last.

    Pods that name no node go round robin over the nodes that will do, but for those in `bound`
    (full name to node), which stay where they are, as a scheduled pod does.
    """
    if lab.placed:
        return tuple(_as_they_are(lab))
    scheduler = _Scheduler(lab.nodes, bound or {})
    pods = scheduler.place([(index, item) for index, item in enumerate(lab.workloads)])
    for workload in own_workloads(lab):
        scheduler.restart()
        pods += scheduler.place([(-1, workload)])
    return tuple(pods)


def own_workloads(lab: Lab) -> Iterator[Workload]:
    """The Deployments that the cluster has of its own: the Ingress controller, DNS."""
    controller = ingress_controller(lab)
    if controller is not None:
        yield _controller_workload(controller)
    if lab.networking.dns.enabled:
        yield _dns_workload(lab.networking.dns)


def _as_they_are(lab: Lab) -> Iterator[PlacedPod]:
    """The pods of a lab that has placed them; one whose node is gone waits for another."""
    nodes = {node.name for node in lab.nodes}
    for index, item in enumerate(lab.workloads):
        pod = item.template
        if item.replicas:
            yield PlacedPod(pod if pod.node in nodes else replace(pod, node=""), index)


def ingress_controller(lab: Lab) -> IngressControllerOptions | None:
    """The lab's Ingress controller: as written, or with defaults where there is an Ingress."""
    if lab.ingress_controller is None and lab.ingresses:
        return IngressControllerOptions()
    return lab.ingress_controller


class _Scheduler:
    """Gives pods their nodes, in turn, and keeps account of the host ports."""

    def __init__(self, nodes: Sequence[Node], bound: Mapping[str, str]) -> None:
        self._nodes, self._bound = nodes, bound
        self._taken: dict[str, list[HostPort]] = {node.name: [] for node in nodes}
        self._turn = 0

    def restart(self) -> None:
        """The next pod's turn is at the first node again."""
        self._turn = 0

    def place(self, workloads: Sequence[tuple[int, Workload]]) -> list[PlacedPod]:
        """The pods of the workloads in their order; who has a node takes its ports first."""
        pods = [(index, pod) for index, item in workloads for pod in self._pods(item)]
        homes = [pod.node or self._bound_to(pod) for _, pod in pods]
        for (_, pod), home in zip(pods, homes, strict=True):
            self._take(pod, home)
        return [
            self._placed(index, pod, home) for (index, pod), home in zip(pods, homes, strict=True)
        ]

    def _pods(self, workload: Workload) -> Sequence[Pod]:
        """A workload's pods; a DaemonSet has one on each node that will do."""
        wishes = workload.template.wishes
        fit = [n.name for n in self._nodes if not objection(wishes, n.name, n.labels, n.taints)]
        return workload.pods(fit)

    def _bound_to(self, pod: Pod) -> str:
        node = self._bound.get(pod.full_name, "")
        return node if node in self._taken else ""

    def _take(self, pod: Pod, node: str) -> None:
        if pod.host_ports and node in self._taken:
            self._taken[node] += pod.host_ports

    def _placed(self, index: int, pod: Pod, home: str) -> PlacedPod:
        """The pod at its home, or at the next node in turn that will do."""
        if pod.node:
            return PlacedPod(pod, index)
        if home:
            self._turn += 1
            return PlacedPod(replace(pod, node=home), index)
        reasons: list[str] = []
        count = len(self._nodes)
        for place in range(self._turn, self._turn + count):
            node = self._nodes[place % count]
            reason = self._objection(pod, node, own=index < 0)
            if not reason:
                self._turn = place + 1
                self._take(pod, node.name)
                return PlacedPod(replace(pod, node=node.name), index)
            reasons.append(reason)
        return PlacedPod(pod, index, unavailable(reasons))

    def _objection(self, pod: Pod, node: Node, *, own: bool) -> str:
        if own:  # kns' own pods serve every lab, whatever its nodes are for
            return ""
        found = objection(pod.wishes, node.name, node.labels, node.taints)
        if found or not pod.host_ports:
            return found
        return port_objection(pod.host_ports, self._taken[node.name])


def _dns_workload(dns: DNSOptions) -> Workload:
    """The DNS pods, named and labelled as kubeadm's CoreDNS Deployment does."""
    ports = (
        ContainerPort(DNS_PORT, "dns", Protocol.UDP),
        ContainerPort(DNS_PORT, "dns-tcp", Protocol.TCP),
    )
    template = Pod(
        namespace=DNS_NAMESPACE,
        name=DNS_DEPLOYMENT,
        node="",
        addresses=(),
        labels=dict([DNS_LABEL]),
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
