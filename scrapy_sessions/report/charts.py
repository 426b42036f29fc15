"""The geometry of the charts, which ``templates/charts.html`` draws as inline SVG.

Horizontal positions are percentages, vertical ones are pixels: a chart fits any screen, and its text keeps its size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from scrapy_sessions.report.format import duration, time_ticks, value_ticks

_TOP = 8.0  # pixels above the highest value
_LANE = 36.0  # pixels from one lane to the next


class Bar(NamedTuple):
    """A bar. ``parts`` are its segments from the bottom, each a value and a CSS class."""

    start: float
    parts: Sequence[tuple[float, str]]
    title: str


class Line(NamedTuple):
    """A line with the CSS class *colour*. A point is a position and a value."""

    colour: str
    points: Sequence[tuple[float, float]]


class Point(NamedTuple):
    """A point with the CSS class *colour*, at *time* and *value*."""

    time: float
    value: float
    colour: str
    title: str


class Lane(NamedTuple):
    """A session from *start* to *end*, with marks: each a time, the name of its shape, and a title."""

    label: str
    colour: str
    start: float
    end: float
    title: str
    marks: Sequence[tuple[float, str, str]]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart from *start* to *end* and from 0 to *highest*. *kind* is the name of its macro.

    *values* are the labels on the left, *across* those below, each with its position. The *series* of ``"bars"``, each
    *width* seconds wide, are in the background of *points* and a *line*.
    """

    kind: Literal["bars", "curves", "lanes"]
    label: str
    start: float
    end: float
    across: Sequence[tuple[float, str]]
    series: Sequence[Bar | Line | Lane]
    values: Sequence[tuple[float, str]] = ()
    highest: float = 1.0
    height: float = 220.0
    width: float = 0.0
    points: Sequence[Point] = ()
    line: Line | None = None

    @property
    def slot(self) -> float:
        """The width of a bar and the gap after it, in percent."""
        return 100 * self.width / (self.end - self.start)

    def x(self, value: float) -> float:
        """The position of *value* in percent."""
        return 100 * (value - self.start) / ((self.end - self.start) or 1.0)

    def y(self, value: float) -> float:
        """The position of *value* in pixels from the top."""
        return round(self.height - (self.height - _TOP) * value / self.highest, 2)

    def path(self, line: Line) -> str:
        """The SVG path of *line*. Curves have horizontal and vertical pieces only."""
        points: list[tuple[float, float]] = []
        for x, y in ((self.x(x), self.y(y)) for x, y in line.points):
            if self.kind == "curves" and points:
                points.append((x, points[-1][1]))
            points.append((x, y))
        return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points)

    def pieces(self, bar: Bar) -> Iterator[tuple[float, float, str]]:
        """The segments of *bar* from the bottom: top and height in pixels, and CSS class."""
        base = 0.0
        for value, colour in bar.parts:
            if value > 0:
                top = self.y(base + value)
                yield top, self.y(base) - top, colour
                base += value

    def marks(self, lane: Lane) -> list[tuple[float, str, str]]:
        """The marks of *lane* in the time of the chart."""
        return [mark for mark in lane.marks if self.start <= mark[0] <= self.end]


@dataclass(frozen=True, slots=True)
class Proportions:
    """Horizontal bars in groups. A row is the name of a group, and the value, CSS class and title of each bar."""

    label: str
    rows: Sequence[tuple[str, Sequence[tuple[float, str, str]]]]

    @property
    def highest(self) -> float:
        return max((value for _, group in self.rows for value, _, _ in group), default=0.0) or 1.0

    @property
    def height(self) -> float:
        return sum(24 + 16 * len(group) for _, group in self.rows)


def bars(
    label: str,
    series: Sequence[Bar],
    *,
    width: float,
    line: Line | None = None,
    points: Sequence[Point] = (),
    seconds: bool = False,
) -> Chart:
    """Return a chart of bars over time. With *seconds* the values are durations."""
    starts = [bar.start for bar in series] + [point.time - point.time % width for point in points]
    start, end = min(starts), max(starts) + width
    highest = max(
        [sum(value for value, _ in bar.parts) for bar in series]
        + [value for _, value in (line.points if line else ())]
        + [point.value for point in points]
    )
    ticks = value_ticks(highest)
    values = [(value, duration(value) if seconds else _short(value)) for value in ticks]
    across = time_ticks(start, end)
    return Chart(
        "bars", label, start, end, across, series, values, highest=ticks[-1], width=width, points=points, line=line
    )


def curves(label: str, lines: Sequence[Line], *, end: float, ticks: Sequence[tuple[float, str]]) -> Chart:
    """Return a chart of curves that fall from 100%, from 0 to *end*."""
    values = [(share / 100, f"{share}%") for share in (0, 25, 50, 75, 100)]
    return Chart("curves", label, 0.0, end, ticks, lines, values)


def lanes(label: str, series: Sequence[Lane], *, start: float, end: float) -> Chart:
    """Return a chart of lanes from *start* to *end*."""
    return Chart("lanes", label, start, end, time_ticks(start, end), series, height=_LANE * len(series) + 4)


def _short(value: float) -> str:
    for limit, letter in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:g}"
