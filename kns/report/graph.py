"""`kns graph`: what is in the picture of a lab, and the picture as Mermaid and Graphviz text.

Pure: from the Cluster alone. `kns.report.graph_svg` draws it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kns.cluster.model import Cluster
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.pod import ContainerPort, Pod
from kns.kinds.service import Service
from kns.report.get import ports_text


@dataclass(frozen=True, slots=True)
class Box:
    """A thing with a name and lines of small text below it; `id` is unique in the picture."""

    id: str
    name: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeBox:
    """A node and the pods on it."""

    box: Box
    pods: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class ServiceBox:
    """A service and the ids of the pods behind it."""

    box: Box
    backends: tuple[str, ...]
    #: reachable from outside the cluster
    outer: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything in the picture, in file order."""

    lab: str
    title: str
    internet: tuple[Box, ...]
    fabric: Box
    nodes: tuple[NodeBox, ...]
    services: tuple[ServiceBox, ...]


def picture(cluster: Cluster) -> Picture:
    """What the cluster looks like."""
    ids = {pod.full_name: f"p{number}" for number, pod in enumerate(cluster.pods)}
    nodes = tuple(
        NodeBox(
            Box(
                f"n{number}",
                node.name,
                (f"eth0 {_joined(node.addresses)}", f"pods {_joined(node.pod_cidrs)}"),
            ),
            tuple(_pod_box(ids, pod) for pod in cluster.pods if pod.node == node.name),
        )
        for number, node in enumerate(cluster.nodes)
    )
    services = tuple(
        ServiceBox(
            Box(f"s{number}", _short(service), _service_lines(service)),
            _backends(service, cluster.endpoint_slices, ids),
            any(port.node_port for port in service.ports) or bool(service.external_ips),
        )
        for number, service in enumerate(cluster.services)
    )
    mode = cluster.network.kube_proxy.mode
    return Picture(
        lab=cluster.name,
        title=f"{cluster.name}: kube-proxy in {mode} mode, {cluster.network.pod_network}",
        internet=tuple(
            Box(f"i{number}", host.name, (_joined(host.addresses),))
            for number, host in enumerate(cluster.internet)
        ),
        fabric=Box("fabric", "fabric", (_joined(cluster.network.node_cidrs),)),
        nodes=nodes,
        services=services,
    )


def _pod_box(ids: dict[str, str], pod: Pod) -> Box:
    ports = [
        f"{container.name} {_port(port)}"
        for container in pod.containers
        for port in container.ports
    ]
    return Box(ids[pod.full_name], _short(pod), (_joined(pod.addresses), *ports))


def _port(port: ContainerPort) -> str:
    protocol = "" if port.protocol is Protocol.TCP else f"/{port.protocol}"
    return f":{port.port}{protocol}"


def _service_lines(service: Service) -> tuple[str, ...]:
    address = _joined(service.cluster_ips) or service.external_name or "headless"
    return str(service.type), address, ports_text(service)


def _backends(
    service: Service, slices: tuple[EndpointSlice, ...], ids: dict[str, str]
) -> tuple[str, ...]:
    found = (
        ids[endpoint.pod]
        for item in slices
        if (item.namespace, item.service) == (service.namespace, service.name)
        for endpoint in item.endpoints
        if endpoint.ready is not False and endpoint.pod in ids
    )
    return tuple(dict.fromkeys(found))


def _short(item: Pod | Service) -> str:
    return item.name if item.namespace == "default" else item.full_name


def _joined(items: tuple[object, ...]) -> str:
    return " ".join(map(str, items))


# -- text forms ------------------------------------------------------------------------------------


def mermaid(drawn: Picture) -> str:
    """The picture as a Mermaid flowchart, which GitHub and many editors draw."""
    return "\n".join(_mermaid_lines(drawn)) + "\n"


def _mermaid_lines(drawn: Picture) -> Iterator[str]:
    yield "flowchart TB"
    yield f"  {drawn.fabric.id}([{_mermaid_label(drawn.fabric)}])"
    for host in drawn.internet:
        yield f"  {host.id}[{_mermaid_label(host)}] --- {drawn.fabric.id}"
    for node in drawn.nodes:
        yield f"  subgraph {node.box.id}[{_mermaid_label(node.box)}]"
        yield from (f"    {pod.id}[{_mermaid_label(pod)}]" for pod in node.pods)
        yield "  end"
        yield f"  {drawn.fabric.id} --- {node.box.id}"
    for service in drawn.services:
        yield f"  {service.box.id}{{{{{_mermaid_label(service.box)}}}}}"
        yield from (f"  {service.box.id} -.-> {backend}" for backend in service.backends)


def _mermaid_label(box: Box) -> str:
    return '"' + "<br/>".join((f"<b>{box.name}</b>", *box.lines)) + '"'


def dot(drawn: Picture) -> str:
    """The picture in Graphviz' language: `kns graph --format dot | dot -Tsvg`."""
    return "\n".join(_dot_lines(drawn)) + "\n"


def _dot_lines(drawn: Picture) -> Iterator[str]:
    yield f'graph "{drawn.lab}" {{'
    yield f'  label="{drawn.title}"; labelloc=t; compound=true; fontname="monospace"'
    yield '  node [shape=box, fontname="monospace", fontsize=10]'
    yield f'  {drawn.fabric.id} [label="{_dot_label(drawn.fabric)}", shape=oval]'
    for host in drawn.internet:
        yield f'  {host.id} [label="{_dot_label(host)}"]'
        yield f"  {host.id} -- {drawn.fabric.id}"
    for node in drawn.nodes:
        yield f"  subgraph cluster_{node.box.id} {{"
        yield '    label=""; style=rounded'
        yield f'    {node.box.id} [label="{_dot_label(node.box)}", shape=plaintext]'
        for pod in node.pods:
            yield f'    {pod.id} [label="{_dot_label(pod)}"]'
            yield f"    {node.box.id} -- {pod.id}"
        yield "  }"
        yield f"  {drawn.fabric.id} -- {node.box.id} [lhead=cluster_{node.box.id}]"
    for service in drawn.services:
        yield f'  {service.box.id} [label="{_dot_label(service.box)}", shape=hexagon]'
        for backend in service.backends:
            yield f"  {service.box.id} -- {backend} [style=dashed, dir=forward]"
    yield "}"


def _dot_label(box: Box) -> str:
    return "\\n".join((box.name, *box.lines))
