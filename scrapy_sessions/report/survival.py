"""Survival curves after Kaplan and Meier."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple


class Step(NamedTuple):
    """From the age *time* (seconds) on, *share* of the sessions survive. *at_risk* were observed just before."""

    time: float
    share: float
    at_risk: int


def survival(lifetimes: Iterable[tuple[float, float, bool]], most: int = 200) -> list[Step]:
    """Return the curve of *lifetimes* with at most *most* steps. The last step is at the highest observed age.

    A lifetime is the age when observation began (below 0: at creation), the age at the end or the last observation,
    and whether it ended. One that did not end is censored at its last age; one observed late counts only from then on.
    """
    observed = [(entry, max(exit_, 0.0), ended) for entry, exit_, ended in lifetimes if exit_ > entry]
    if not observed:
        return []
    entries = sorted(entry for entry, _, _ in observed)
    exits = sorted(exit_ for _, exit_, _ in observed)
    ends = Counter(exit_ for _, exit_, ended in observed if ended)
    steps, share = [Step(0.0, 1.0, len(observed))], 1.0
    for time in sorted(ends):
        at_risk = bisect_left(entries, time) - bisect_left(exits, time)
        share *= 1 - ends[time] / at_risk
        steps.append(Step(time, share, at_risk))
    if len(steps) > most:
        steps = [steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)]
    if exits[-1] > steps[-1].time:
        steps.append(Step(exits[-1], share, 1))
    return steps


def median(steps: Iterable[Step]) -> float | None:
    """Return the median lifetime in seconds; ``None`` if more than half were in use when last observed."""
    return next((step.time for step in steps if step.share <= 0.5), None)
