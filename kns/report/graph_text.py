"""The picture of a lab as Mermaid and Graphviz text."""

from __future__ import annotations

from collections.abc import Iterator

from kns.report.graph import Box, Picture


def mermaid(drawn: Picture) -> str:
    """The picture as a Mermaid flowchart, which GitHub and many editors draw."""
    return "\n".join(_mermaid_lines(drawn)) + "\n"


def _mermaid_lines(drawn: Picture) -> Iterator[str]:
    yield "flowchart TB"
    fabric = _fabric(drawn)
    yield f"  {fabric.id}([{_mermaid_label(fabric)}])"
    for host in drawn.internet:
        yield f"  {host.id}[{_mermaid_label(host)}] --- {fabric.id}"
    for node in drawn.nodes:
        yield f"  subgraph {node.box.id}[{_mermaid_label(node.box)}]"
        yield f"    {node.box.id}b[[{_quoted(node.bridge)}]]"
        for pod in node.pods:
            yield f"    {pod.box.id}[{_mermaid_label(pod.box)}]"
            if not pod.in_node:
                yield f"    {node.box.id}b --- {pod.box.id}"
        yield "  end"
        yield f"  {fabric.id} --- {node.box.id}"
    for service in drawn.services:
        yield f"  {service.box.id}{{{{{_mermaid_label(service.box)}}}}}"
        yield from (f"  {service.box.id} -.-> {backend}" for backend in service.backends)
    for ingress in drawn.ingresses:
        yield f"  {ingress.box.id}>{_mermaid_label(ingress.box)}]"
        yield from (f"  {ingress.box.id} --> {goal}" for goal in ingress.services)


def _mermaid_label(box: Box) -> str:
    return _quoted("<br/>".join((f"<b>{box.name}</b>", *box.lines)))


def _quoted(text: str) -> str:
    return f'"{text}"'


def _fabric(drawn: Picture) -> Box:
    return Box("fabric", "fabric", (drawn.underlay, drawn.internet_network))


def dot(drawn: Picture) -> str:
    """The picture in Graphviz' language: `kns graph --format dot | dot -Tsvg`."""
    return "\n".join(_dot_lines(drawn)) + "\n"


def _dot_lines(drawn: Picture) -> Iterator[str]:
    yield f'graph "{drawn.lab}" {{'
    yield f'  label="{drawn.title}"; labelloc=t; compound=true; fontname="monospace"'
    yield '  node [shape=box, fontname="monospace", fontsize=10]'
    fabric = _fabric(drawn)
    yield f'  {fabric.id} [label="{_dot_label(fabric)}", shape=oval]'
    for host in drawn.internet:
        yield f'  {host.id} [label="{_dot_label(host)}"]'
        yield f"  {host.id} -- {fabric.id}"
    for node in drawn.nodes:
        yield f"  subgraph cluster_{node.box.id} {{"
        yield '    label=""; style=rounded'
        yield f'    {node.box.id} [label="{_dot_label(node.box)}", shape=plaintext]'
        yield f'    {node.box.id}b [label="{node.bridge}", style=filled]'
        yield f"    {node.box.id} -- {node.box.id}b"
        for pod in node.pods:
            yield f'    {pod.box.id} [label="{_dot_label(pod.box)}"]'
            yield f"    {node.box.id}{'' if pod.in_node else 'b'} -- {pod.box.id}"
        yield "  }"
        yield f"  {fabric.id} -- {node.box.id} [lhead=cluster_{node.box.id}]"
    for service in drawn.services:
        yield f'  {service.box.id} [label="{_dot_label(service.box)}", shape=hexagon]'
        for backend in service.backends:
            yield f"  {service.box.id} -- {backend} [style=dashed, dir=forward]"
    for ingress in drawn.ingresses:
        yield f'  {ingress.box.id} [label="{_dot_label(ingress.box)}", shape=cds]'
        for goal in ingress.services:
            yield f"  {ingress.box.id} -- {goal} [dir=forward]"
    yield "}"


def _dot_label(box: Box) -> str:
    return "\\n".join((box.name, *box.lines))
