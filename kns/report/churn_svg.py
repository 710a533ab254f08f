"""`kns churn` as a picture: what was answered and lost over time, events, and who answered."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from html import escape

from kns.experiment.churn.model import BackendSpan, ChurnResult, Event, KindResult, Loss
from kns.report.churn import KIND_WORDS, causes_text, title

WIDTH, LEFT, RIGHT, TOP = 960, 190, 24, 56
#: heights of a kind's bars, of a backend's line and of a line of text
BARS, LINE, LINE_HEIGHT = 40, 18, 16
#: columns of the bars
COLUMNS = 186
#: distances of the time axis' marks, in seconds: the first of which at most twelve fit
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600)
STYLE = """\
svg { --ink: #1f2328; --soft: #59636e; --paper: #ffffff; --good: #1a7f37; --bad: #cf222e;
  --line: #0969da; --grid: #d1d9e0 }
@media (prefers-color-scheme: dark) {
  svg { --ink: #f0f6fc; --soft: #9198a1; --paper: #0d1117; --good: #3fb950; --bad: #ff7b72;
    --line: #58a6ff; --grid: #3d444d }
}
text { font: 12px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: var(--ink);
  white-space: pre }
.title { font-size: 15px; font-weight: bold } .soft { fill: var(--soft) }
.paper { fill: var(--paper) } .good { fill: var(--good) } .bad { fill: var(--bad) }
.who { fill: var(--line) } .grid { stroke: var(--grid) }
.event { stroke: var(--bad); stroke-dasharray: 4 3 }
"""


def churn_svg(result: ChurnResult) -> str:
    """The picture as one SVG document. Pointing at a bar tells its numbers."""
    kinds, backends = result.kinds, result.backends
    bottom = TOP + len(kinds) * (BARS + 12) + len(backends) * LINE + 14
    height = bottom + 34 + LINE_HEIGHT * (len(result.events) + sum(map(len, result.losses[1:])))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="100%" viewBox="0 0 {WIDTH} {height}">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
        *_head(result),
        *_axis(result, bottom),
    ]
    top = TOP
    for kind in kinds:
        lines += _bars(result, kind, top)
        top += BARS + 12
    for backend in backends:
        lines += _lane(result, backend, top)
        top += LINE
    lines += [*_events(result, bottom), "</svg>"]
    return "\n".join(lines) + "\n"


def _x(result: ChurnResult, at: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * min(max(at / (result.seconds or 1.0), 0.0), 1.0)


def _text(x: float, y: float, text: str, name: str = "", anchor: str = "start") -> str:
    words = escape(text)
    return f'<text class="{name}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def _head(result: ChurnResult) -> Iterator[str]:
    ends, path, sent = title(result)
    yield _text(12, 22, f"{ends}   {path}", "title")
    yield _text(12, 40, sent, "soft")


def _axis(result: ChurnResult, bottom: float) -> Iterator[str]:
    step = next((s for s in STEPS if result.seconds / s <= 12), STEPS[-1])
    for number in range(int(result.seconds / step) + 1):
        x = _x(result, number * step)
        yield f'<line class="grid" x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{bottom:.1f}"/>'
        yield _text(x, bottom + 14, f"{number * step:g} s", "soft", "middle")


def _bars(result: ChurnResult, kind: KindResult, top: float) -> Iterator[str]:
    answered, lost = [0] * COLUMNS, [0] * COLUMNS
    for item in kind.exchanges:
        column = min(int(item.at / (result.seconds or 1.0) * COLUMNS), COLUMNS - 1)
        (answered if item.answered else lost)[column] += 1
    wide = (WIDTH - LEFT - RIGHT) / COLUMNS
    yield _text(12, top + 16, KIND_WORDS[kind.kind])
    share = f"{kind.answered:,} of {len(kind.exchanges):,}"
    yield _text(12, top + 32, share, "bad" if kind.lost else "soft")
    base, bars = top + BARS, []
    for number, (good, bad) in enumerate(zip(answered, lost, strict=True)):
        x, tall = LEFT + number * wide, BARS * good / (good + bad or 1)
        if good:
            bars.append(f"M{x:.1f} {base}v-{tall:.1f}h{wide - 0.5:.1f}v{tall:.1f}z")
        if bad:
            at = number * result.seconds / COLUMNS
            tip = escape(f"{at:.2f} s: {good} answered, {bad} lost")
            yield (
                f'<rect class="bad" x="{x:.1f}" y="{top:.1f}"'
                f' width="{wide - 0.5:.1f}" height="{BARS - tall:.1f}"><title>{tip}</title></rect>'
            )
    yield f'<path class="good" d="{"".join(bars)}"/>'


def _lane(result: ChurnResult, backend: BackendSpan, top: float) -> Iterator[str]:
    """A mark for each time in which the backend answered."""
    who = (backend.name, backend.address)
    wide = (WIDTH - LEFT - RIGHT) / COLUMNS
    columns = {
        min(max(int(item.ended / (result.seconds or 1.0) * COLUMNS), 0), COLUMNS - 1)
        for item in result.exchanges
        if (item.backend, item.server) == who
    }
    tip = escape(f"{backend.name} {backend.address}: {backend.first:.2f} to {backend.last:.2f} s")
    yield f"<g><title>{tip}</title>"
    yield _text(12, top + 12, backend.name[:22])
    for first in sorted(n for n in columns if n - 1 not in columns):
        size = next(n for n in itertools.count() if first + n not in columns)
        x, width = LEFT + first * wide, wide * size
        yield f'<rect class="who" x="{x:.1f}" y="{top + 5:.1f}" width="{width:.1f}" height="7"/>'
    yield "</g>"


def _events(result: ChurnResult, bottom: float) -> Iterator[str]:
    _before, *losses = result.losses
    y = bottom + 34
    for number, (event, lost) in enumerate(zip(result.events, losses, strict=True), start=1):
        x = _x(result, event.at)
        yield f'<line class="event" x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{bottom:.1f}"/>'
        yield _text(x + 2, TOP - 8, str(number), "bad")
        for line, name in _lines(number, event, lost):
            yield _text(12, y, line, name)
            y += LINE_HEIGHT


def _lines(number: int, event: Event, lost: Sequence[Loss]) -> Iterator[tuple[str, str]]:
    """An event, and under it what it cost; each with its class."""
    yield f"{number:>3}  {event.at:.2f} s  {event.text}", ""
    for item in lost:
        words = f"{KIND_WORDS[item.kind]}: lost {causes_text(item.causes)}"
        yield f"     {words}; {item.start:.2f} s to {item.end:.2f} s", "bad"
