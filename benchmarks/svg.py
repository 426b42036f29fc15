"""The plot, as an SVG that reads on light and on dark pages alike. Written here: a library would be the largest part of
the bench's environment, for two lines and four axes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from benchmarks.figures import Curve

__all__ = ["plot"]

_WIDTH, _HEIGHT = 420, 300  # of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 24, 48, 48
# A page that embeds the file as an image gives it its colour scheme through the media query only.
_STYLE = """
    text { font: 12px system-ui, sans-serif; fill: #24292f; }
    .title { font-weight: 600; font-size: 13px; }
    .axis { stroke: #8c959f; stroke-width: 1; }
    .grid { stroke: #d0d7de; stroke-width: 1; }
    .curve { fill: none; stroke: #0969da; stroke-width: 2; }
    .point { fill: #0969da; }
    .level { stroke: #bc4c00; stroke-width: 1.5; stroke-dasharray: 6 4; }
    .level-name { fill: #bc4c00; }
    @media (prefers-color-scheme: dark) {
        text { fill: #e6edf3; }
        .axis { stroke: #7d8590; }
        .grid { stroke: #30363d; }
        .curve { stroke: #58a6ff; }
        .point { fill: #58a6ff; }
        .level { stroke: #f0883e; }
        .level-name { fill: #f0883e; }
    }
"""


def plot(curves: Sequence[Curve]) -> str:
    """Return an SVG with a panel for each of *curves*, over the number of sessions on a logarithmic axis."""
    width = _WIDTH * len(curves)
    told = "; ".join(
        f"{curve.name}: " + ", ".join(f"{value:.3g} {curve.unit} at {n}" for n, value in curve.points)
        for curve in curves
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" width="{width}" role="img">',
        "<title>Cost by number of stored sessions</title>",
        f"<desc>{escape(told)}</desc>",
        f"<style>{_STYLE}</style>",
    ]
    for number, curve in enumerate(curves):
        lines += [f'<g transform="translate({number * _WIDTH} 0)">', *_panel(curve), "</g>"]
    return "\n".join([*lines, "</svg>", ""])


def _panel(curve: Curve) -> Iterable[str]:
    level_name, level = curve.level
    top = _round_up(max(level, *(value for _, value in curve.points)) * 1.15)
    first, last = (math.log10(curve.points[place][0]) for place in (0, -1))
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def x(n: float) -> float:
        return _LEFT + (math.log10(n) - first) / ((last - first) or 1) * (right - _LEFT)

    def y(value: float) -> float:
        return bottom - value / top * (bottom - _TOP)

    yield f'<text class="title" x="{_LEFT}" y="24">{escape(curve.name)}, {_unit(curve.unit)}</text>'
    for step in range(5):
        value = top * step / 4
        kind = "grid" if step else "axis"
        yield f'<line class="{kind}" x1="{_LEFT}" y1="{y(value):.1f}" x2="{right}" y2="{y(value):.1f}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>'
    for n, _ in curve.points:
        yield f'<text x="{x(n):.1f}" y="{bottom + 20}" text-anchor="middle">{_short(n)}</text>'
    yield f'<text x="{(_LEFT + right) / 2}" y="{bottom + 40}" text-anchor="middle">stored sessions</text>'
    yield f'<line class="level" x1="{_LEFT}" y1="{y(level):.1f}" x2="{right}" y2="{y(level):.1f}"/>'
    # On the side of its line that the curve leaves free.
    above = level >= curve.points[-1][1]
    yield (
        f'<text class="level-name" x="{right}" y="{y(level) + (-6 if above else 16):.1f}" text-anchor="end">'
        f"{escape(level_name)}</text>"
    )
    places = [(x(n), y(value)) for n, value in curve.points]
    yield f'<polyline class="curve" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in places)}"/>'
    for (n, value), (a, b) in zip(curve.points, places, strict=True):
        told = f"{n} sessions: {value:.3g} {_unit(curve.unit)}"
        yield f'<circle class="point" cx="{a:.1f}" cy="{b:.1f}" r="3.5"><title>{escape(told)}</title></circle>'


def _round_up(value: float) -> float:
    """Return the next number that four even steps lead to."""
    size = 10 ** math.floor(math.log10(value))
    return next(size * part for part in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if size * part >= value)


def _short(n: int) -> str:
    return f"{n // 1_000_000}M" if n >= 1_000_000 else f"{n // 1000}k" if n >= 1000 else str(n)


def _unit(unit: str) -> str:
    return "µs" if unit == "us" else unit
