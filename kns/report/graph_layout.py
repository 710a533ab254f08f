"""Where the things of a lab's picture stand. Pure.

    hosts of the internet
    ═══════════ internet0
              router
    ═══════════════════════════ underlay
       │ node ═══ cni0  │   │ node ═══ cni0  │
       │  pod  pod  pod │   │  pod  pod      │
    services ──────┴────┴────────┴─────
    Ingresses

A pod hangs on its node's bridge; a service has a lane of its own below the nodes. Between two
columns of pods is a gutter, in which the links from above run left and the services' lines from
below run right, each in its own place, so that no line runs behind a pod.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from kns.report.graph import NodeBox, Picture, PodBox, ServiceBox

#: a character of the monospace fonts, 13 and 15 pixels, is so wide
CHARACTER, NAME_CHARACTER = 7.9, 9.1
LINE = 17
PAD = 12
GAP = 22
#: the lane of a service, and how far apart lines run in a gutter
LANE, SLOT = 30, 7
POD_WIDTH = 158
#: the column of the services' names, and the margin left of it in which the way in runs
LABELS, MARGIN = 500, 40
RATIO = 16 / 9
#: above so many boxes pods are a name alone
MOST_TALL = 40


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """The horizontal middle."""
        return self.x + self.width / 2

    @property
    def right(self) -> float:
        """The right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.y + self.height


Point = tuple[float, float]
#: a line of horizontal and vertical pieces, by its corners
Path = tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class PodPlace:
    """A pod's rectangle and its link to the bridge."""

    pod: PodBox
    place: Rectangle
    link: Path


@dataclass(frozen=True, slots=True)
class NodePlace:
    """A node's rectangle, its bridge's and its pods."""

    node: NodeBox
    place: Rectangle
    bridge: Rectangle
    pods: tuple[PodPlace, ...]


@dataclass(frozen=True, slots=True)
class ServicePlace:
    """A service's label, its lane, and the lines from there to its pods."""

    service: ServiceBox
    place: Rectangle
    lane: Path
    lines: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The whole."""

    width: float
    height: float
    internet: tuple[Rectangle, ...]
    internet_bar: Rectangle
    router: Rectangle
    underlay: Rectangle
    nodes: tuple[NodePlace, ...]
    services: tuple[ServicePlace, ...]
    ingresses: tuple[Rectangle, ...]
    legend: Point
    #: the line from the internet to the services that are reached from outside
    way_in: Path
    #: how a line runs from each Ingress to each of its services, in their order
    ingress_lines: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Grid:
    """How the pods of a node stand: columns, each with its gutter's width at the right."""

    columns: tuple[tuple[PodBox, ...], ...]
    gutters: tuple[float, ...]

    @property
    def width(self) -> float:
        links = PAD * len(self.columns)
        return max(len(self.columns) * POD_WIDTH + sum(self.gutters) + links, 2 * POD_WIDTH)

    @property
    def rows(self) -> int:
        return max(map(len, self.columns), default=0)


def lay_out(picture: Picture) -> Layout:
    """The picture as near to 16:9 as it gets."""
    most = max((len(node.pods) for node in picture.nodes), default=1)
    tries = (_Builder(picture, across).layout() for across in range(1, max(most, 1) + 1))
    return min(tries, key=lambda item: abs(item.width / item.height - RATIO))


@dataclass(frozen=True, slots=True)
class _Builder:
    picture: Picture
    across: int

    @property
    def _pod_height(self) -> float:
        pods = [pod for node in self.picture.nodes for pod in node.pods]
        lines = max((len(pod.box.lines) for pod in pods), default=0)
        shown = 0 if len(pods) > MOST_TALL else min(lines, 3)
        return PAD + LINE * (1 + shown)

    def layout(self) -> Layout:
        picture = self.picture
        top = PAD + 20 + GAP
        hosts = max((len(host.lines) for host in picture.internet), default=0)
        host_height = PAD + LINE * (1 + hosts)
        internet_y = top + host_height + GAP
        router_y = internet_y + LINE + 6 + GAP
        underlay_y = router_y + 2 * LINE + PAD + GAP
        nodes_y = underlay_y + LINE + 6 + GAP
        left = self._margin + LABELS + GAP
        nodes = tuple(self._nodes(left, nodes_y))
        right = max([node.place.right for node in nodes] + [left + 4 * POD_WIDTH])
        floor = max([node.place.bottom for node in nodes] + [nodes_y + 190])
        services = tuple(self._services(nodes, floor + GAP))
        below = services[-1].place.bottom if services else floor
        ingresses = tuple(
            Rectangle(self._margin, below + GAP + number * LANE, LABELS, LANE - 4)
            for number in range(len(picture.ingresses))
        )
        bottom = ingresses[-1].bottom if ingresses else below
        middle = (left + right) / 2
        bar = Rectangle(left, internet_y, right - left, LINE + 6)
        return Layout(
            right + PAD,
            bottom + PAD,
            tuple(self._hosts(left, top, host_height)),
            bar,
            Rectangle(middle - 150, router_y, 300, 2 * LINE + PAD),
            Rectangle(left, underlay_y, right - left, LINE + 6),
            nodes,
            services,
            ingresses,
            (self._margin, underlay_y),
            self._way_in(bar, services),
            tuple(self._ingress_lines(ingresses, services)),
        )

    @property
    def _margin(self) -> float:
        """Left of the services: the way in, and a line in its own place for each Ingress."""
        return MARGIN + SLOT * len(self.picture.ingresses)

    def _way_in(self, bar: Rectangle, services: Sequence[ServicePlace]) -> Path:
        outer = [item.place for item in services if item.service.outer]
        if not outer:
            return ()
        level = bar.y + bar.height / 2
        last = outer[-1].y + outer[-1].height / 2
        return (bar.x, level), (PAD, level), (PAD, last)

    def _ingress_lines(
        self, ingresses: Sequence[Rectangle], services: Sequence[ServicePlace]
    ) -> Iterator[Path]:
        levels = {item.service.box.id: item.place.y + item.place.height / 2 for item in services}
        for number, place in enumerate(ingresses):
            side, start = place.x - SLOT * (number + 2), place.y + place.height / 2
            for service in self.picture.ingresses[number].services:
                level = levels[service]
                yield (place.x, start), (side, start), (side, level), (place.x, level)

    def _hosts(self, x: float, y: float, height: float) -> Iterator[Rectangle]:
        for host in self.picture.internet:
            longest = max(len(line) for line in (host.name, *host.lines))
            width = longest * NAME_CHARACTER + 2 * PAD
            yield Rectangle(x, y, width, height)
            x += width + GAP

    # -- nodes -------------------------------------------------------------------------------------

    def _nodes(self, x: float, y: float) -> Iterator[NodePlace]:
        grids = [self._grid(node) for node in self.picture.nodes]
        rows = max((grid.rows for grid in grids), default=0)
        head = PAD + LINE * 2 + 8
        bar = LINE + 6
        height = head + bar + GAP + rows * (self._pod_height + PAD) + PAD
        for node, grid in zip(self.picture.nodes, grids, strict=True):
            width = grid.width + 2 * PAD
            width = max(width, len(node.box.name) * NAME_CHARACTER + 2 * PAD)
            bridge = Rectangle(x + PAD, y + head, width - 2 * PAD, bar)
            pods = tuple(self._pods(grid, x + PAD, bridge))
            yield NodePlace(node, Rectangle(x, y, width, height), bridge, pods)
            x += width + GAP

    def _grid(self, node: NodeBox) -> _Grid:
        columns = min(self.across, len(node.pods)) or 1
        rows = ceil(len(node.pods) / columns)
        found = tuple(node.pods[start::columns] for start in range(columns)) if rows else ()
        gutters = tuple(PAD + SLOT * len(self._in_gutter(column)) for column in found)
        return _Grid(found, gutters)

    def _in_gutter(self, column: Sequence[PodBox]) -> list[str]:
        """The ids of the services with a line to a pod of the column."""
        own = {pod.box.id for pod in column}
        return [item.box.id for item in self.picture.services if own & set(item.backends)]

    def _pods(self, grid: _Grid, x: float, bridge: Rectangle) -> Iterator[PodPlace]:
        height = self._pod_height
        for column, gutter in zip(grid.columns, grid.gutters, strict=True):
            x += PAD
            for row, pod in enumerate(column):
                place = Rectangle(x, bridge.bottom + GAP + row * (height + PAD), POD_WIDTH, height)
                if row == 0:
                    link: Path = ((place.middle, bridge.bottom), (place.middle, place.y))
                else:
                    side = x - PAD / 2
                    level = place.y + height / 2
                    link = ((side, bridge.bottom), (side, level), (place.x, level))
                yield PodPlace(pod, place, () if pod.in_node else link)
            x += POD_WIDTH + gutter

    # -- services ----------------------------------------------------------------------------------

    def _services(self, nodes: Sequence[NodePlace], y: float) -> Iterator[ServicePlace]:
        columns: dict[float, list[PodPlace]] = {}
        for node in nodes:
            for pod in node.pods:
                columns.setdefault(pod.place.x, []).append(pod)
        for service in self.picture.services:
            place = Rectangle(self._margin, y, LABELS, LANE - 4)
            level = y + place.height / 2
            lines = tuple(self._lines(service, columns, level))
            end = max((line[0][0] for line in lines), default=place.right + GAP)
            yield ServicePlace(service, place, ((place.right, level), (end, level)), lines)
            y += LANE

    def _lines(
        self, service: ServiceBox, columns: dict[float, list[PodPlace]], level: float
    ) -> Iterator[Path]:
        for pods in columns.values():
            crowd = self._in_gutter([item.pod for item in pods])
            if service.box.id not in crowd:
                continue
            slot = crowd.index(service.box.id)
            side = pods[0].place.right + PAD / 2 + SLOT * (slot + 1) - SLOT / 2
            for item in pods:
                if item.pod.box.id in service.backends:
                    place = item.place
                    share = place.height * (slot + 1) / (len(crowd) + 1)
                    yield (side, level), (side, place.y + share), (place.right, place.y + share)
