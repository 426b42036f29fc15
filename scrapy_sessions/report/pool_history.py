"""The section on pools over time: their pages, and their bans."""

from __future__ import annotations

from collections.abc import Sequence

from scrapy_sessions.report.charts import Bar, bars
from scrapy_sessions.report.data import Pool, Report
from scrapy_sessions.report.format import count, duration, moment
from scrapy_sessions.report.parts import Hint, Legend, Note, Part, details, number, pool_name, text, time

_COLOURS = ("c2", "c3", "c4", "login")
_OTHERS = ("c0", "other pools")


def pool_history(report: Report) -> list[Part]:
    """Pages and bans of the pools with most pages, and of the others together."""
    active = [pool for pool in report.pools if pool.hours]
    if not active:
        return [Note("The store contains no counters by hour yet: a crawl writes them.")]
    shown, others = active[: len(_COLOURS)], active[len(_COLOURS) :]
    groups = [(colour, _name(report, pool), [pool]) for colour, pool in zip(_COLOURS, shown, strict=False)]
    if others:
        groups.append((*_OTHERS, others))
    rows = [
        {
            "From (UTC)": time(bucket.start),
            "Pool": pool_name(pool.name),
            **({"Namespace": text(pool.namespace)} if len(report.activity) > 1 else {}),
            "Pages": number(pool.hours[bucket.start][0]),
            "Bans": number(pool.hours[bucket.start][1]),
        }
        for bucket in report.buckets
        for pool in active
        if any(pool.hours.get(bucket.start, ()))
    ]
    parts: list[Part] = [
        Legend([(colour, name) for colour, name, _ in groups]),
        _chart(report, groups, 0, "pages"),
        Hint(f"Pages by pool. One bar is {duration(report.bucket_seconds)}. Times are UTC."),
    ]
    if any(bans for pool in active for _, bans in pool.hours.values()):
        parts += [_chart(report, groups, 1, "bans"), Hint("Bans by pool: sessions that a site blocked.")]
    else:
        parts.append(Hint("There was no ban."))
    return [*parts, *details("The numbers", "Pages and bans by pool over time", rows)]


def _chart(report: Report, groups: Sequence[tuple[str, str, Sequence[Pool]]], which: int, what: str) -> Part:
    series = []
    for bucket in report.buckets:
        sums = [sum(pool.hours.get(bucket.start, (0, 0))[which] for pool in pools) for _, _, pools in groups]
        each = [f"{name} {count(value)}" for (_, name, _), value in zip(groups, sums, strict=True) if value]
        title = f"{moment(bucket.start)} UTC: {', '.join(each) or 'no'} {what}"
        parts = [(float(value), colour) for (colour, _, _), value in zip(groups, sums, strict=True)]
        series.append(Bar(bucket.start, parts, title))
    return bars(f"{what.capitalize()} by pool over time", series, width=report.bucket_seconds)


def _name(report: Report, pool: Pool) -> str:
    name = "(no pool)" if pool.name is None else pool.name
    return f"{pool.namespace}/{name}" if len(report.activity) > 1 else name
