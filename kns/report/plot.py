"""Line plots with logarithmic axes, as SVG text. No I/O, no fonts but the reader's own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

#: colours that people with a colour vision deficiency tell apart (Okabe and Ito)
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
WIDTH, HEIGHT = 460, 340
LEFT, RIGHT, TOP, BOTTOM = 70, 15, 40, 50
#: how far the axes reach beyond the outermost points, as a factor
MARGIN = 1.3


@dataclass(frozen=True, slots=True)
class Line:
    """A named line of points; lines of one name share a colour. Dashed lines have no legend."""

    name: str
    points: tuple[tuple[float, float], ...]
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of logarithmic axes with its lines. Points must be above zero."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Maps values from `low` to `high` to pixels, logarithmically."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def decades(self) -> Iterator[float]:
        for power in range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1):
            yield 10.0**power

    def minor(self) -> Iterator[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for power in range(first, last + 1):
            for digit in range(2, 10):
                value = digit * 10.0**power
                if self.low <= value <= self.high:
                    yield value


def plot_svg(panels: Sequence[Panel], caption: str) -> str:
    """The panels side by side, and a caption below them."""
    names = list(dict.fromkeys(line.name for panel in panels for line in panel.lines))
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
    width, height = WIDTH * len(panels), HEIGHT + 30
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for index, panel in enumerate(panels):
        lines.append(f'<g transform="translate({index * WIDTH},0)">')
        lines += _panel(panel, colours)
        lines.append("</g>")
    lines.append(
        f'<text x="{width / 2:.0f}" y="{height - 12}" text-anchor="middle" fill="#555">'
        f"{escape(caption)}</text>"
    )
    lines.append("</svg>")
    return "\n".join(lines) + "\n"


def _panel(panel: Panel, colours: dict[str, str]) -> Iterator[str]:
    points = [point for line in panel.lines for point in line.points]
    x = _axis([point[0] for point in points], LEFT, WIDTH - RIGHT)
    y = _axis([point[1] for point in points], HEIGHT - BOTTOM, TOP)
    title = escape(panel.title)
    yield f'<text x="{WIDTH / 2}" y="20" text-anchor="middle" font-size="14">{title}</text>'
    yield from _grid(x, y)
    yield _label(panel.x_label, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 15)
    yield _label(panel.y_label, 18, (TOP + HEIGHT - BOTTOM) / 2, rotate=True)
    for line in panel.lines:
        yield from _line(line, x, y, colours[line.name])
    yield from _legend(panel, colours)


def _axis(values: Sequence[float], start: float, end: float) -> _Axis:
    low, high = (min(values), max(values)) if values else (1.0, 10.0)
    return _Axis(low / MARGIN, high * MARGIN, start, end)


def _grid(x: _Axis, y: _Axis) -> Iterator[str]:
    for value in x.minor():
        yield _rule(x.at(value), TOP, x.at(value), HEIGHT - BOTTOM, "#f0f0f0")
    for value in y.minor():
        yield _rule(LEFT, y.at(value), WIDTH - RIGHT, y.at(value), "#f0f0f0")
    for value in x.decades():
        yield _rule(x.at(value), TOP, x.at(value), HEIGHT - BOTTOM, "#ccc")
        yield _label(number_text(value), x.at(value), HEIGHT - BOTTOM + 16)
    for value in y.decades():
        yield _rule(LEFT, y.at(value), WIDTH - RIGHT, y.at(value), "#ccc")
        text = number_text(value)
        yield f'<text x="{LEFT - 6}" y="{y.at(value) + 4:.1f}" text-anchor="end">{text}</text>'
    yield (
        f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH - RIGHT - LEFT}"'
        f' height="{HEIGHT - BOTTOM - TOP}" fill="none" stroke="#888"/>'
    )


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _label(text: str, x: float, y: float, *, rotate: bool = False) -> str:
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if rotate else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle"{turn}>{escape(text)}</text>'


def _line(line: Line, x: _Axis, y: _Axis, colour: str) -> Iterator[str]:
    path = " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in line.points)
    dash = ' stroke-dasharray="4 3" stroke-width="1.2"' if line.dashed else ' stroke-width="2"'
    yield f'<polyline points="{path}" fill="none" stroke="{colour}"{dash}/>'
    if not line.dashed:
        for a, b in line.points:
            yield f'<circle cx="{x.at(a):.1f}" cy="{y.at(b):.1f}" r="3" fill="{colour}"/>'


def _legend(panel: Panel, colours: dict[str, str]) -> Iterator[str]:
    names = dict.fromkeys(line.name for line in panel.lines if not line.dashed)
    for index, name in enumerate(names):
        top = TOP + 16 + 16 * index
        colour = colours[name]
        yield f'<rect x="{LEFT + 10}" y="{top - 9}" width="12" height="4" fill="{colour}"/>'
        yield f'<text x="{LEFT + 28}" y="{top - 3}">{escape(name)}</text>'


def number_text(value: float) -> str:
    """A power of ten as people read it: `0.01`, `1`, `10,000`."""
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
