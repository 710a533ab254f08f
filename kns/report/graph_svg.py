"""The picture of a lab as SVG, and as an HTML page: pointing at a service shows its pods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from kns.report.graph import NO_ENDPOINTS, Box, Picture
from kns.report.graph_layout import (
    CHARACTER,
    LINE,
    NAME_CHARACTER,
    PAD,
    Layout,
    NodePlace,
    Path,
    PodPlace,
    Rectangle,
    ServicePlace,
    lay_out,
)

#: lines of services that run side by side are told apart by these; more begin anew
COLOURS = 8
STYLE = """\
svg { --ink: #1f2328; --soft: #59636e; --paper: #ffffff; --node: #f6f8fa; --pod: #ffffff;
  --bar: #d1d9e0; --wire: #59636e; --way: #9a6700; --bad: #cf222e;
  --c0: #0969da; --c1: #bc4c00; --c2: #1a7f37; --c3: #8250df;
  --c4: #bf3989; --c5: #0f766e; --c6: #7d4e00; --c7: #4d5f7a }
@media (prefers-color-scheme: dark) {
  svg { --ink: #f0f6fc; --soft: #9198a1; --paper: #0d1117; --node: #151b23; --pod: #212830;
    --bar: #3d444d; --wire: #9198a1; --way: #d29922; --bad: #ff7b72;
    --c0: #58a6ff; --c1: #ffa657; --c2: #56d364; --c3: #bc8cff;
    --c4: #ff9bce; --c5: #39d0c8; --c6: #e3b341; --c7: #a5b4cf }
}
text { font: 13px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: var(--ink) }
.name { font-weight: bold; font-size: 15px }
.title { font-size: 18px; font-weight: bold }
.soft { fill: var(--soft) }
.note { fill: var(--bad); font-weight: bold }
.way-in { fill: var(--way) }
rect { stroke: var(--soft); fill: var(--pod); rx: 6px }
.paper { fill: var(--paper); stroke: none; rx: 0 }
.node { fill: var(--node) }
.bar { fill: var(--bar); stroke: none; rx: 3px }
.wire, .way, .line { fill: none; stroke: var(--wire); stroke-width: 2 }
.way { stroke: var(--way); stroke-dasharray: 6 4 }
.line { stroke-width: 2.2; stroke-linejoin: round }
.empty { stroke: var(--bad) !important; stroke-dasharray: 3 4 }
.service { stroke-width: 2 }
.isolated { stroke: var(--bad); stroke-width: 2 }
"""
HOVER = """\
body { margin: 0; background: #ffffff }
@media (prefers-color-scheme: dark) { body { background: #0d1117 } }
svg:has(.group:hover) .line { opacity: .12 }
svg .group:hover .line { opacity: 1; stroke-width: 3.5 }
"""


def html(drawn: Picture) -> str:
    """A page with the picture."""
    head = f"<meta charset=utf-8><title>{escape(drawn.title)}</title><style>{HOVER}</style>"
    return (
        f"<!doctype html>\n<html lang=en><head>{head}</head>\n<body>\n{svg(drawn)}</body></html>\n"
    )


def svg(drawn: Picture) -> str:
    """The picture as one SVG element, as wide as there is room."""
    layout = lay_out(drawn)
    view = f'viewBox="0 0 {layout.width:.0f} {layout.height:.0f}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="100%" {view}>',
        f"<style>{STYLE}{_colours()}</style>",
        f'<rect class="paper" x="0" y="0" width="{layout.width:.0f}"'
        f' height="{layout.height:.0f}"/>',
        _text(PAD, PAD + 16, drawn.title, "title"),
        *_world(drawn, layout),
        *_legend(drawn, layout),
        *(shape for node in layout.nodes for shape in _node(node, layout.underlay)),
        *_services(drawn, layout),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _colours() -> str:
    return "".join(
        f".k{number} .line, .k{number} .service {{ stroke: var(--c{number}) }}\n"
        for number in range(COLOURS)
    )


# -- the world outside -----------------------------------------------------------------------------


def _world(drawn: Picture, layout: Layout) -> Iterator[str]:
    bars = (
        (layout.internet_bar, f"internet0 {drawn.internet_network}"),
        (layout.underlay, f"underlay {drawn.underlay}"),
    )
    for host, place in zip(drawn.internet, layout.internet, strict=True):
        yield _path(((place.middle, place.bottom), (place.middle, layout.internet_bar.y)), "wire")
        yield from _box(place, host, "internet")
    router = layout.router
    yield _path(((router.middle, layout.internet_bar.bottom), (router.middle, router.y)), "wire")
    yield _path(((router.middle, router.bottom), (router.middle, layout.underlay.y)), "wire")
    yield from _box(router, Box("fabric", "router", (drawn.router,)), "router")
    for place, words in bars:
        yield _rectangle(place, "bar")
        yield _text(place.x + PAD, place.y + LINE, words, room=place.width - 2 * PAD)


def _legend(drawn: Picture, layout: Layout) -> Iterator[str]:
    x, y = layout.legend
    rows = [("wire", "a link: veth pair, cable"), ("line k0", "a service and who is behind it")]
    if any(item.outer for item in drawn.services):
        rows.append(("way", "the way in from outside"))
    if any(item.note == NO_ENDPOINTS for item in drawn.services):
        rows.append(("line empty", "nobody is behind it"))
    for number, (kind, words) in enumerate(rows):
        level = y + LINE * 1.3 * (number + 0.5)
        colour = ' style="stroke: var(--c0)"' if kind == "line k0" else ""
        yield (
            f'<path class="{kind.removesuffix(" k0")}"{colour}'
            f' d="M{x:.0f} {level:.0f}H{x + 44:.0f}"/>'
        )
        yield _text(x + 54, level + 4, words, "soft")
    level = y + LINE * 1.3 * (len(rows) + 0.5)
    yield f'<rect class="bar" x="{x:.0f}" y="{level - 6:.0f}" width="44" height="12"/>'
    yield _text(x + 54, level + 4, "a bridge", "soft")


# -- nodes -----------------------------------------------------------------------------------------


def _node(placed: NodePlace, underlay: Rectangle) -> Iterator[str]:
    place, bridge = placed.place, placed.bridge
    yield from _box(place, placed.node.box, "node")
    wire = place.right - 3 * PAD
    yield _path(((wire, underlay.bottom), (wire, bridge.y)), "wire")
    yield _rectangle(bridge, "bar")
    yield _text(bridge.x + PAD, bridge.y + LINE, placed.node.bridge, room=bridge.width - 2 * PAD)
    for pod in placed.pods:
        yield from _pod(pod)


def _pod(placed: PodPlace) -> Iterator[str]:
    pod = placed.pod
    if placed.link:
        yield _path(placed.link, "wire")
    box = pod.box
    if pod.in_node:
        box = Box(box.id, box.name, ("host network", *box.lines[1:]))
    kind = "pod isolated" if pod.isolated else "pod"
    yield from _box(placed.place, box, kind, pod.members)


# -- services --------------------------------------------------------------------------------------


def _services(drawn: Picture, layout: Layout) -> Iterator[str]:
    yield from (_path(line, "wire") for line in layout.ingress_lines)
    yield from _way_in(layout)
    for number, item in enumerate(layout.services):
        yield f'<g class="group k{number % COLOURS}">'
        yield from _service(item)
        yield "</g>"
    for ingress, place in zip(drawn.ingresses, layout.ingresses, strict=True):
        yield from _label(place, ingress.box, "ingress", " ".join(ingress.box.lines))


def _service(item: ServicePlace) -> Iterator[str]:
    place, service = item.place, item.service
    yield _path(item.lane, "line empty" if service.note == NO_ENDPOINTS else "line")
    yield from (_path(line, "line") for line in item.lines)
    first, *rest = service.box.lines
    outside = (f"← {address}" for address in service.addresses)
    words = " ".join((first, *outside, *rest))
    yield from _label(place, service.box, "service", words)
    if service.note:
        kind = "note" if service.note == NO_ENDPOINTS else "soft"
        end = item.lane[-1][0] + PAD / 2
        yield _text(end, place.y + place.height / 2 + 5, service.note, kind)


def _label(place: Rectangle, box: Box, kind: str, words: str) -> Iterator[str]:
    """A box of one line: the name, and as many words as have room."""
    yield _rectangle(place, kind)
    x, y = place.x + PAD, place.y + place.height / 2 + 5
    room = place.width - 2 * PAD
    own = max(room - len(words) * CHARACTER - PAD, room / 3)
    yield _text(x, y, box.name, "name", room=own)
    x += min(len(box.name) * NAME_CHARACTER, own) + PAD
    yield _text(x, y, words, "soft", room=place.right - x - PAD / 2)


def _way_in(layout: Layout) -> Iterator[str]:
    """From the internet down the margin to each service that is reached from outside."""
    if not layout.way_in:
        return
    yield _path(layout.way_in, "way")
    side = layout.way_in[-1][0]
    for item in layout.services:
        if item.service.outer:
            place = item.place
            level = place.y + place.height / 2
            yield _path(((side, level), (place.x, level)), "way")
            yield f'<path class="way-in" d="M{place.x:.0f} {level:.0f}l-8 -5v10z"/>'


# -- shapes ----------------------------------------------------------------------------------------


def _box(place: Rectangle, box: Box, kind: str, members: Sequence[str] = ()) -> Iterator[str]:
    room = place.width - 2 * PAD
    yield f'<g class="box" id="{box.id}">'
    if len(members) > 1:
        yield f"<title>{escape(' '.join(members))}</title>"
    yield _rectangle(place, kind)
    y = place.y + PAD / 2 + LINE - 3
    for number, line in enumerate((box.name, *box.lines)):
        if y > place.bottom - 4:
            break
        yield _text(place.x + PAD, y, line, "name" if number == 0 else "soft", room=room)
        y += LINE
    yield "</g>"


def _rectangle(place: Rectangle, kind: str) -> str:
    size = f'width="{place.width:.0f}" height="{place.height:.0f}"'
    return f'<rect class="{kind}" x="{place.x:.0f}" y="{place.y:.0f}" {size}/>'


def _text(x: float, y: float, text: str, kind: str = "", room: float = 0) -> str:
    """A text; where it has no room it is cut, and a title has the whole of it."""
    width = NAME_CHARACTER if kind == "name" else CHARACTER
    shown = _cut(text, room / width) if room else text
    title = f"<title>{escape(text)}</title>" if shown != text else ""
    name = f' class="{kind}"' if kind else ""
    return f'<text{name} x="{x:.0f}" y="{y:.0f}">{title}{escape(shown)}</text>'


def _cut(text: str, most: float) -> str:
    return text if len(text) <= most else f"{text[: max(int(most) - 1, 1)]}…"


def _path(corners: Path, kind: str) -> str:
    first, *rest = corners
    steps = "".join(f"L{x:.0f} {y:.0f}" for x, y in rest)
    return f'<path class="{kind}" d="M{first[0]:.0f} {first[1]:.0f}{steps}"/>'
