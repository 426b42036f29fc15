"""Charts as inline SVG.

Widths and places across are percentages, heights are pixels: a chart fits any screen, and its text keeps its size. No
element has a style attribute, as the page's Content-Security-Policy allows none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scrapy_sessions.report.format import count, duration, time_ticks, value_ticks
from scrapy_sessions.report.markup import Html, tag

__all__ = ["Bar", "Lane", "Line", "Point", "bars", "curves", "lanes", "legend", "proportions"]

_BOTTOM = 22.0  # pixels below a plot, for the labels of its ticks
_TOP = 8.0
_BELOW = frozenset({"failed", "lost"})
_AXIS = 46  # pixels beside a plot, for the labels of its values


class Bar(NamedTuple):
    """One bar: ``parts`` are its pieces from below, each a value and the class of its colour."""

    start: float
    parts: Sequence[tuple[float, str]]
    title: str


class Line(NamedTuple):
    """A line in the colour of the class *colour*: its points are places and values."""

    colour: str
    points: Sequence[tuple[float, float]]


class Point(NamedTuple):
    """A point at *time*, as high as its *value*, in the colour of the class *colour*."""

    time: float
    value: float
    colour: str
    title: str


class Lane(NamedTuple):
    """A session's life from *start* to *end*, with marks: each a time, the class of its shape and colour, a title."""

    label: str
    colour: str
    start: float
    end: float
    title: str
    marks: Sequence[tuple[float, str, str]]


def legend(*entries: tuple[str, str]) -> Html:
    """Name the colours: each of *entries* is a class and a name."""
    return tag("ul", [tag("li", _sample(colour), name) for colour, name in entries], class_="legend")


def bars(
    label: str,
    series: Sequence[Bar],
    *,
    width: float,
    line: Line | None = None,
    points: Sequence[Point] = (),
    height: float = 220.0,
    seconds: bool = False,
) -> Html:
    """Bars over time, *width* seconds wide each, and *points* before them. With *seconds* the values are durations."""
    starts = [bar.start for bar in series] + [point.time - point.time % width for point in points]
    start, end = min(starts), max(starts) + width
    highest = max(
        [sum(value for value, _ in bar.parts) for bar in series]
        + [value for _, value in (line.points if line else ())]
        + [point.value for point in points]
    )
    ticks = value_ticks(highest)
    plot = _Plot(start, end, ticks[-1], height)
    slot = 100 * width / (end - start)
    drawn = []
    for bar in series:
        left, base, pieces = plot.x(bar.start), 0.0, []
        for value, colour in bar.parts:
            if value > 0:
                top = plot.y(base + value)
                pieces.append(
                    tag(
                        "rect",
                        x=_percent(left + slot * 0.08),
                        y=top,
                        width=_percent(slot * 0.84),
                        height=plot.y(base) - top,
                        class_=f"f {colour}",
                    )
                )
                base += value
        # The whole column tells its numbers, also where its bar is too low to be met by a mouse.
        column = tag("rect", x=_percent(left), y=0, width=_percent(slot), height=height, class_="hit")
        title = tag("title", bar.title)
        drawn.append(tag("g", title, column, pieces, data_from=bar.start, data_to=bar.start + width))
    for point in points:
        dot = tag("circle", cx=_percent(plot.x(point.time)), cy=plot.y(point.value), r=4, class_=point.colour)
        drawn.append(tag("g", tag("title", point.title), dot, data_from=point.time))
    labels = [(value, _axis_label(value, seconds)) for value in ticks]
    over = plot.line(line) if line is not None else None
    return _figure(label, plot, labels, time_ticks(start, end), [*drawn, over])


def curves(
    label: str, lines: Sequence[Line], *, end: float, ticks: Sequence[tuple[float, str]], height: float = 220.0
) -> Html:
    """Falling steps from 100% on, from 0 to *end* across."""
    plot = _Plot(0.0, end, 1.0, height)
    labels = [(share / 100, f"{share}%") for share in (0, 25, 50, 75, 100)]
    return _figure(label, plot, labels, ticks, [plot.steps(line) for line in lines])


def lanes(label: str, series: Sequence[Lane], *, start: float, end: float) -> Html:
    """One lane for each session, over time."""
    row, bar = 36.0, 8.0
    plot = _Plot(start, end, 1.0, row * len(series) + 4)
    ticks = time_ticks(start, end)
    drawn = []
    for number, lane in enumerate(series):
        top = row * number + 18
        left, right = plot.x(max(lane.start, start)), plot.x(min(lane.end, end))
        drawn.append(
            tag(
                "g",
                tag("title", lane.title),
                tag("text", lane.label, x=2, y=top - 5, class_="lane"),
                tag("line", x1=0, x2="100%", y1=top + bar / 2, y2=top + bar / 2, class_="rail"),
                tag(
                    "rect",
                    x=_percent(left),
                    y=top,
                    width=_percent(max(right - left, 0.4)),
                    height=bar,
                    rx=4,
                    class_=f"f {lane.colour}",
                ),
                data_from=lane.start,
                data_to=lane.end,
            )
        )
        for time, shape, title in lane.marks:
            if start <= time <= end:
                # Below the bar, as it comes within the same minute as the login that follows.
                below = 10.0 if shape in _BELOW else 0.0
                mark = _mark(shape, _percent(plot.x(time)), top + bar / 2 + below)
                drawn.append(tag("g", tag("title", title), mark, data_from=time))
    return _figure(label, plot, [], ticks, drawn, class_="lanes")


def proportions(label: str, rows: Sequence[tuple[str, Sequence[tuple[float, str, str]]]]) -> Html:
    """A group of bars across for each of *rows*: its name, and the value, colour and title of each bar."""
    highest = max((value for _, group in rows for value, _, _ in group), default=0.0) or 1.0
    drawn, top = [], 0.0
    for name, group in rows:
        drawn.append(tag("text", name, x=0, y=top + 14, class_="name"))
        top += 19
        for value, colour, title in group:
            share = 82 * value / highest  # the rest is for the number
            drawn.append(
                tag(
                    "g",
                    tag("title", title),
                    tag("rect", x=0, y=top, width="100%", height=13, class_="hit"),
                    tag("rect", x=0, y=top, width=_percent(max(share, 0.3)), height=13, rx=2, class_=f"f {colour}")
                    if value
                    else None,
                    tag("text", count(value), x=_percent(share), y=top + 11, dx=6, class_="number"),
                )
            )
            top += 16
        top += 5
    drawing = tag("svg", drawn, width="100%", height=top, role="img", aria_label=label, class_="plot")
    return tag("div", drawing, class_="chart")


class _Plot:
    """The place of a chart: from *start* to *end* across, from 0 to *highest* up."""

    def __init__(self, start: float, end: float, highest: float, height: float) -> None:
        self._start, self._span = start, (end - start) or 1.0
        self._highest = highest or 1.0
        self.height = height

    def x(self, value: float) -> float:
        """In percent."""
        return 100 * (value - self._start) / self._span

    def y(self, value: float) -> float:
        """In pixels from above."""
        return round(self.height - (self.height - _TOP) * value / self._highest, 2)

    def line(self, line: Line) -> Html:
        """A line from point to point."""
        return self._path(line.colour, [(self.x(x), self.y(y)) for x, y in line.points])

    def steps(self, line: Line) -> Html:
        """A line that goes across, then down."""
        points: list[tuple[float, float]] = []
        for x, y in line.points:
            if points:
                points.append((self.x(x), points[-1][1]))
            points.append((self.x(x), self.y(y)))
        return self._path(line.colour, points)

    def _path(self, colour: str, points: Sequence[tuple[float, float]]) -> Html:
        drawn = "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points)
        # A path knows no percentages: an inner picture is stretched to the width, its line keeps its own.
        path = tag("path", d=drawn, class_=f"l {colour}", vector_effect="non-scaling-stroke")
        return tag(
            "svg",
            path,
            x=0,
            y=0,
            width="100%",
            height=self.height,
            viewBox=f"0 0 100 {self.height:g}",
            preserveAspectRatio="none",
        )


def _figure(
    label: str,
    plot: _Plot,
    values: Sequence[tuple[float, str]],
    across: Sequence[tuple[float, str]],
    drawn: Sequence[Html | None],
    class_: str = "",
) -> Html:
    height = plot.height + _BOTTOM
    grid = [tag("line", x1=0, x2="100%", y1=plot.y(value), y2=plot.y(value), class_="grid") for value, _ in values]
    axis = [tag("text", text, x=_AXIS - 8, y=plot.y(value) + 4, class_="value") for value, text in values]
    stakes = []
    for place, text in across:
        x = plot.x(place)
        anchor = "start" if x < 4 else "end" if x > 96 else "middle"
        stakes += [
            tag("line", x1=_percent(x), x2=_percent(x), y1=0, y2=plot.height + 4, class_="stake"),
            tag("text", text, x=_percent(x), y=plot.height + 17, text_anchor=anchor, class_="tick"),
        ]
    return tag(
        "div",
        tag("svg", axis, width=_AXIS, height=height, aria_hidden="true", class_="axis") if axis else None,
        tag("svg", grid, stakes, list(drawn), width="100%", height=height, role="img", aria_label=label, class_="plot"),
        class_=f"chart {class_}".strip(),
    )


def _mark(shape: str, x: str, y: float) -> Html:
    # The shapes differ too, for those who can't tell the colours.
    paths = {
        "login": "M0-5A5 5 0 1 0 0 5A5 5 0 1 0 0-5Z",
        "failed": "M0-5L5 4H-5Z",
        "lost": "M0-5L5 0L0 5L-5 0Z",
        "blocked": "M-5-5L5 5M5-5L-5 5",
        "end": "M-2-7H2V7H-2Z",
        "born": "M-5-6L6 0L-5 6Z",
    }
    return tag("svg", tag("path", d=paths[shape], class_=f"mark m-{shape}"), x=x, y=y, overflow="visible")


def _sample(colour: str) -> Html:
    if colour.startswith("m-"):
        mark = tag("g", _mark(colour.removeprefix("m-"), "8", 8.0))
    elif colour.startswith("p "):
        mark = tag("circle", cx=8, cy=8, r=4, class_=colour)
    elif colour.startswith("l "):
        mark = tag("line", x1=0, x2=16, y1=8, y2=8, class_=colour)
    else:
        mark = tag("rect", x=2, y=2, width=12, height=12, rx=3, class_=f"f {colour}")
    return tag("svg", mark, width=16, height=16, aria_hidden="true")


def _axis_label(value: float, seconds: bool) -> str:
    if seconds:
        return duration(value)
    for limit, letter in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:g}"


def _percent(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") + "%"
