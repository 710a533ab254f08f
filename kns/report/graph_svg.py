"""The picture of a lab as SVG, and as an HTML page in which pointing at a service shows its pods.

internet hosts
───────────── fabric ─────────────
│ node1 ──── pods │  │ node2 ──── pods │
services, a dashed line to each pod behind them
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from math import ceil, sqrt

from kns.report.graph import Box, Picture, ServiceBox

#: pixels; a character of the small monospace font is 7 wide
CHARACTER = 7.0
LINE = 15
PAD = 10
GAP = 24
#: space between the nodes and the services, in which the dashed lines run
ROOM = 70
MOST_PODS_ACROSS = 8

STYLE = """\
text { font: 11px monospace; fill: #24292f }
.name { font-weight: bold; font-size: 12px }
.title { font-size: 14px; font-weight: bold }
rect { stroke: #57606a; fill: #ffffff; rx: 6 }
.node { fill: #f6f8fa }
.fabric { fill: #eaeef2 }
.service { fill: #ddf4ff; stroke: #0969da }
.outer { fill: #fff8c5; stroke: #9a6700 }
.link { stroke: #57606a; stroke-width: 1.5 }
.backend { stroke: #0969da; stroke-dasharray: 4 3; fill: none; opacity: .7 }
"""
HOVER = """\
body { margin: 1em; background: #ffffff }
svg:has(.group:hover) .backend { opacity: .08 }
.group:hover .backend { opacity: 1 !important; stroke-width: 2 }
"""


@dataclass(frozen=True, slots=True)
class Placed:
    """A box with its place and size."""

    box: Box
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """The horizontal middle."""
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.y + self.height


@dataclass(slots=True)
class _Layout:
    internet: list[Placed] = field(default_factory=list)
    nodes: list[Placed] = field(default_factory=list)
    pods: dict[str, Placed] = field(default_factory=dict)
    services: list[tuple[ServiceBox, Placed]] = field(default_factory=list)
    fabric: Placed | None = None
    width: float = 0
    height: float = 0


def html(drawn: Picture) -> str:
    """A page with the picture."""
    head = f"<meta charset=utf-8><title>{escape(drawn.title)}</title><style>{HOVER}</style>"
    return (
        f"<!doctype html>\n<html lang=en><head>{head}</head>\n<body>\n{svg(drawn)}</body></html>\n"
    )


def svg(drawn: Picture) -> str:
    """The picture as one SVG element."""
    layout = _lay_out(drawn)
    size = f'width="{layout.width:.0f}" height="{layout.height:.0f}"'
    view = f'viewBox="0 0 {layout.width:.0f} {layout.height:.0f}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view}>',
        f"<style>{STYLE}</style>",
        f'<rect x="0" y="0" {size} style="stroke: none"/>',
        f'<text class="title" x="{PAD}" y="{PAD + 14}">{escape(drawn.title)}</text>',
        *_shapes(layout),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


# -- places ----------------------------------------------------------------------------------------


def _lay_out(drawn: Picture) -> _Layout:
    layout = _Layout()
    top = PAD + 14 + GAP
    layout.internet = _row(drawn.internet, top)
    fabric_top = max((host.bottom for host in layout.internet), default=top) + GAP
    _, fabric_height = _size(drawn.fabric)
    nodes_top = fabric_top + fabric_height + GAP
    x = float(PAD)
    for node in drawn.nodes:
        placed, pods = _node(node.box, node.pods, x, nodes_top)
        layout.nodes.append(placed)
        layout.pods |= {pod.box.id: pod for pod in pods}
        x = placed.x + placed.width + GAP
    below = max((node.bottom for node in layout.nodes), default=nodes_top) + ROOM
    places = _row([service.box for service in drawn.services], below)
    layout.services = list(zip(drawn.services, places, strict=True))
    rights = [place.x + place.width for place in (*places, *layout.nodes, *layout.internet)]
    title = len(drawn.title) * CHARACTER * 1.3
    right = max([*rights, title])
    layout.fabric = Placed(drawn.fabric, PAD, fabric_top, right - PAD, fabric_height)
    layout.width = right + PAD
    layout.height = max((place.bottom for place in places), default=below - ROOM) + PAD
    return layout


def _size(box: Box) -> tuple[float, float]:
    longest = max(len(box.name) * 1.1, *(len(line) for line in box.lines), 1)
    return longest * CHARACTER + 2 * PAD, (1 + len(box.lines)) * LINE + PAD


def _row(boxes: Sequence[Box], y: float) -> list[Placed]:
    placed: list[Placed] = []
    x = float(PAD)
    for box in boxes:
        width, height = _size(box)
        placed.append(Placed(box, x, y, width, height))
        x += width + GAP
    return placed


def _node(box: Box, pods: Sequence[Box], x: float, y: float) -> tuple[Placed, list[Placed]]:
    """The node around a grid of its pods, about as wide as it is high."""
    width, head = _size(box)
    if not pods:
        return Placed(box, x, y, width, head + PAD), []
    sizes = [_size(pod) for pod in pods]
    cell_width = max(size[0] for size in sizes)
    cell_height = max(size[1] for size in sizes)
    across = min(max(2, ceil(sqrt(len(pods)))), MOST_PODS_ACROSS, len(pods))
    inside = [
        Placed(
            pod,
            x + PAD + (number % across) * (cell_width + PAD),
            y + head + PAD + (number // across) * (cell_height + PAD),
            cell_width,
            cell_height,
        )
        for number, pod in enumerate(pods)
    ]
    full_width = max(width, PAD + across * (cell_width + PAD))
    return Placed(box, x, y, full_width, inside[-1].bottom + PAD - y), inside


# -- shapes ----------------------------------------------------------------------------------------


def _shapes(layout: _Layout) -> Iterator[str]:
    fabric = layout.fabric
    assert fabric is not None  # noqa: S101 - _lay_out always sets it
    for host in layout.internet:
        yield _line(host.middle, host.bottom, host.middle, fabric.y)
        yield from _rectangle(host, "internet")
    for node in layout.nodes:
        yield _line(node.middle, fabric.bottom, node.middle, node.y)
        yield from _rectangle(node, "node")
    yield from _rectangle(fabric, "fabric")
    for service, place in layout.services:
        yield '<g class="group">'
        for backend in service.backends:
            yield _curve(place, layout.pods[backend])
        yield from _rectangle(place, "service outer" if service.outer else "service")
        yield "</g>"
    for pod in layout.pods.values():  # last: the lines to pods of an upper row run behind others
        yield from _rectangle(pod, "pod")


def _rectangle(place: Placed, kind: str) -> Iterator[str]:
    size = f'width="{place.width:.0f}" height="{place.height:.0f}"'
    yield f'<rect class="{kind}" x="{place.x:.0f}" y="{place.y:.0f}" {size}/>'
    for number, line in enumerate((place.box.name, *place.box.lines)):
        name = ' class="name"' if number == 0 else ""
        y = place.y + PAD / 2 + LINE * (number + 1) - 3
        yield f'<text{name} x="{place.x + PAD:.0f}" y="{y:.0f}">{escape(line)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="link" x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}"/>'


def _curve(service: Placed, pod: Placed) -> str:
    bend = (service.y + pod.bottom) / 2
    return (
        f'<path class="backend" d="M{service.middle:.0f} {service.y:.0f}'
        f" C{service.middle:.0f} {bend:.0f} {pod.middle:.0f} {bend:.0f}"
        f' {pod.middle:.0f} {pod.bottom:.0f}"/>'
    )
