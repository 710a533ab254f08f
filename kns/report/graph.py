"""`kns graph`: what is in the picture of a lab. Pure: from the Cluster alone.

`kns.report.graph_svg` draws it, `kns.report.graph_text` writes it for Mermaid and Graphviz.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, takewhile

from kns.cluster.model import Cluster
from kns.kinds.common import Protocol
from kns.kinds.ingress import Ingress
from kns.kinds.networkpolicy import PolicyType
from kns.kinds.node import Node
from kns.kinds.pod import ContainerPort, Pod
from kns.kinds.service import Service, ServiceType
from kns.promise.networkpolicy import PolicyIndex
from kns.report.get import ports_text

#: what is noted at a service without them
NO_ENDPOINTS = "no endpoints"
#: the label that a Deployment gives its pods, with the hash in their names
TEMPLATE_HASH = "pod-template-hash"
#: pods of the same kind on a node become one box if there are more than this in the picture
MOST_ALONE = 12


@dataclass(frozen=True, slots=True)
class Box:
    """A thing with a name and lines of small text below it; `id` is unique in the picture."""

    id: str
    name: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PodBox:
    """A pod, or so many equal ones; `in_node`: it has the node's netns, and so no link of its own.

    `members` are their names; `isolated`: by network policies, which its last line tells.
    """

    box: Box
    members: tuple[str, ...]
    in_node: bool = False
    isolated: bool = False


@dataclass(frozen=True, slots=True)
class NodeBox:
    """A node, its bridge, and the pods on it."""

    box: Box
    bridge: str
    pods: tuple[PodBox, ...]


@dataclass(frozen=True, slots=True)
class ServiceBox:
    """A service, and the ids of the pods behind it.

    `addresses` are those outside the cluster; `outer` is true if it is reached from there, by them
    or by node ports. `note` says why there is nobody behind it.
    """

    box: Box
    backends: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    outer: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class IngressBox:
    """An Ingress, and the ids of the services that it leads to."""

    box: Box
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything in the picture, in file order."""

    lab: str
    title: str
    internet: tuple[Box, ...]
    internet_network: str
    underlay: str
    router: str
    nodes: tuple[NodeBox, ...]
    services: tuple[ServiceBox, ...]
    ingresses: tuple[IngressBox, ...]


def picture(cluster: Cluster, shown: Callable[[str], bool] = lambda _namespace: True) -> Picture:
    """What the cluster looks like; of pods, Services and Ingresses those in shown namespaces."""
    services = tuple(item for item in cluster.services if shown(item.namespace))
    behind = {service.full_name: _backends(cluster, service) for service in services}
    groups = _groups(tuple(pod for pod in cluster.pods if shown(pod.namespace)), behind)
    ids = {pod.full_name: f"p{n}" for n, group in enumerate(groups) for pod in group}
    policies = PolicyIndex(cluster.pods, cluster.namespaces, cluster.network_policies)
    nodes = tuple(
        NodeBox(
            Box(f"n{number}", node.name, (f"eth0 {_joined(node.addresses)}",)),
            f"cni0 {_joined(_bridge_addresses(node))}",
            tuple(
                _pod_box(ids, group, _isolation(policies, group[0]))
                for group in groups
                if group[0].node == node.name
            ),
        )
        for number, node in enumerate(cluster.nodes)
    )
    boxes = tuple(
        _service_box(f"s{number}", service, behind[service.full_name], ids)
        for number, service in enumerate(services)
    )
    numbers = {service.full_name: box.box.id for service, box in zip(services, boxes, strict=True)}
    network = cluster.network
    return Picture(
        lab=cluster.name,
        title=f"{cluster.name}: kube-proxy in {network.kube_proxy.mode} mode,"
        f" {network.pod_network}",
        internet=tuple(
            Box(f"i{number}", host.name, tuple(map(str, host.addresses)))
            for number, host in enumerate(cluster.internet)
        ),
        internet_network=_joined(network.internet_cidrs),
        underlay=_joined(network.node_cidrs),
        router=_joined(
            next(cidr.hosts()) for cidr in (*network.internet_cidrs, *network.node_cidrs)
        ),
        nodes=nodes,
        services=boxes,
        ingresses=tuple(
            _ingress_box(f"g{number}", item, numbers)
            for number, item in enumerate(cluster.ingresses)
            if shown(item.namespace)
        ),
    )


def _bridge_addresses(node: Node) -> Iterator[str]:
    for cidr in node.pod_cidrs:
        yield f"{next(cidr.hosts())}/{cidr.prefixlen}"


# -- pods ------------------------------------------------------------------------------------------


def _groups(
    pods: tuple[Pod, ...], behind: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[Pod, ...], ...]:
    """The pods one by one, or (where they are many) those of a node that differ in name alone."""
    if len(pods) <= MOST_ALONE:
        return tuple((pod,) for pod in pods)
    services: dict[str, list[str]] = {}
    for service, names in behind.items():
        for name in names:
            services.setdefault(name, []).append(service)

    def key(pod: Pod) -> tuple[object, ...]:
        own = tuple(services.get(pod.full_name, ()))
        ports = tuple(_ports(pod))
        return pod.node, pod.namespace, tuple(sorted(pod.labels.items())), ports, own

    return tuple(tuple(group) for _, group in groupby(sorted(pods, key=lambda p: str(key(p))), key))


def _isolation(policies: PolicyIndex, pod: Pod) -> tuple[str, ...]:
    """`isolated: ingress`, in which directions policies isolate it; nothing if in none."""
    found = [direction.lower() for direction in PolicyType if policies.isolating(pod, direction)]
    return (f"isolated: {', '.join(found)}",) if found else ()


def _pod_box(ids: Mapping[str, str], group: tuple[Pod, ...], isolation: tuple[str, ...]) -> PodBox:
    first, last = group[0], group[-1]
    addresses = _joined(first.addresses)
    if first is not last and first.addresses:
        addresses = f"{first.addresses[0]} … {_end(last)}"
    name = first.name
    if len(group) > 1:
        name = f"{_common_name(group) or name} × {len(group)}"
    space = () if first.namespace == "default" else (first.namespace,)
    box = Box(ids[first.full_name], name, (addresses, *space, *_ports(first), *isolation))
    members = tuple(_short(pod) for pod in group)
    return PodBox(box, members, first.host_network, bool(isolation))


def _end(pod: Pod) -> str:
    """The last part of its address: of a node's pods only that differs."""
    address = str(pod.addresses[0])
    separator = ":" if ":" in address else "."
    return separator + address.rpartition(separator)[2]


def _common_name(group: tuple[Pod, ...]) -> str:
    """How all the names begin, without the hash that a Deployment gives its pods."""
    names = sorted(pod.name for pod in group)
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(names[0], names[-1], strict=False))
    common = "".join(letter for letter, _ in pairs)
    common = common.rstrip("-" if common.endswith("-") else "0123456789").rstrip("-")
    return common.removesuffix(f"-{group[0].labels.get(TEMPLATE_HASH, '')}").rstrip("-")


def _ports(pod: Pod) -> Iterator[str]:
    for container in pod.containers:
        for port in container.ports:
            yield f"{container.name} {_port(port)}"


def _port(port: ContainerPort) -> str:
    protocol = "" if port.protocol is Protocol.TCP else f"/{port.protocol}"
    return f":{port.port}{protocol}"


# -- services and Ingresses ------------------------------------------------------------------------


def _backends(cluster: Cluster, service: Service) -> tuple[str, ...]:
    """The full names of the pods that are ready behind it."""
    found = (
        endpoint.pod
        for item in cluster.slices_of(service)
        for endpoint in item.endpoints
        if endpoint.ready is not False and endpoint.pod
    )
    return tuple(dict.fromkeys(found))


def _service_box(
    name: str, service: Service, backends: tuple[str, ...], ids: Mapping[str, str]
) -> ServiceBox:
    note = "" if backends else NO_ENDPOINTS
    address = _joined(service.cluster_ips) or "headless"
    lines: tuple[str, ...] = (str(service.type), address, ports_text(service))
    if service.type is ServiceType.EXTERNAL_NAME:
        lines = (str(service.type),)
        note = f"another name for {service.external_name}"
    found = dict.fromkeys(ids[pod] for pod in backends if pod in ids)
    balancer = (item.ip for item in service.load_balancer_ingress if item.ip is not None)
    addresses = tuple(map(str, dict.fromkeys((*balancer, *service.external_ips))))
    outer = bool(addresses) or any(port.node_port for port in service.ports)
    return ServiceBox(Box(name, _short(service), lines), tuple(found), addresses, outer, note)


def _ingress_box(name: str, ingress: Ingress, services: Mapping[str, str]) -> IngressBox:
    backends = [path.backend for rule in ingress.rules for path in rule.paths]
    backends += [ingress.default_backend] if ingress.default_backend else []
    found = dict.fromkeys(f"{ingress.namespace}/{item.service}" for item in backends)
    hosts = tuple(dict.fromkeys(rule.host or "any host" for rule in ingress.rules))
    box = Box(name, _short(ingress), ("Ingress", *hosts))
    return IngressBox(box, tuple(services[item] for item in found if item in services))


def _short(item: Pod | Service | Ingress) -> str:
    return item.name if item.namespace == "default" else item.full_name


def _joined(items: Iterable[object]) -> str:
    return " ".join(map(str, items))
