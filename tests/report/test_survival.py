"""Survival curves: sessions that have not ended, and sessions observed late."""

from __future__ import annotations

import pytest

from scrapy_sessions.report.survival import Step, median, survival

# The remission times, in weeks, of the 21 patients treated with 6-MP (Freireich et al. 1963): +, still in remission.
FREIREICH = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+"


def test_the_textbook_curve() -> None:
    """The estimate is that of the example that textbooks print."""
    lifetimes = [(-1.0, float(each.rstrip("+")), not each.endswith("+")) for each in FREIREICH.split()]
    steps = survival(lifetimes)
    assert [(step.time, round(step.share, 3), step.at_risk) for step in steps[1:-1]] == [
        (6, 0.857, 21),
        (7, 0.807, 17),
        (10, 0.753, 15),
        (13, 0.690, 12),
        (16, 0.627, 11),
        (22, 0.538, 7),
        (23, 0.448, 6),
    ]
    assert steps[0] == Step(0.0, 1.0, 21)
    assert steps[-1].time == 35  # the curve goes on to the last age seen
    assert median(steps) == 23


def test_a_session_observed_late_counts_only_from_then_on() -> None:
    """A session first observed at the age of 10 doesn't count among those that could have ended at 5."""
    steps = survival([(-1.0, 5.0, True), (-1.0, 20.0, False), (10.0, 20.0, False)])
    assert [(step.time, step.share) for step in steps] == [(0.0, 1.0), (5.0, 0.5), (20.0, 0.5)]


@pytest.mark.parametrize("lifetimes", [[], [(10.0, 5.0, True)]], ids=["none", "ended before it was observed"])
def test_nothing_to_measure(lifetimes: list[tuple[float, float, bool]]) -> None:
    """Without sessions there is no curve, and no median."""
    assert survival(lifetimes) == []
    assert median([]) is None


def test_a_lifetime_of_zero_counts() -> None:
    """Sessions that ended when they were created lower the curve at 0."""
    assert survival([(-1.0, 0.0, True), (-1.0, 9.0, False)])[1] == Step(0.0, 0.5, 2)


def test_many_ends_make_no_more_steps_than_a_chart_shows() -> None:
    """A curve of many ends is thinned out, and keeps its end."""
    steps = survival([(-1.0, float(n), True) for n in range(1, 5001)], most=50)
    assert len(steps) == 50
    assert steps[-1] == Step(5000.0, 0.0, 1)
    assert median(steps) == pytest.approx(2500, rel=0.05)
