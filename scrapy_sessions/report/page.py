"""The page: its head, its sections in order, and what it says of itself."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from string import Template

from scrapy_sessions.report import sections
from scrapy_sessions.report.data import Report
from scrapy_sessions.report.format import count, duration, iso, moment
from scrapy_sessions.report.logins import logins
from scrapy_sessions.report.markup import Html, join, tag
from scrapy_sessions.report.tables import cookie_table, pool_table, session_table, url_table

__all__ = ["GENERATOR", "render"]

GENERATOR = "scrapy_sessions report"
"""What the page says, in its first lines, made it."""


def render(report: Report) -> str:
    """Return the page of *report*: one HTML document that asks for nothing from outside."""
    style, script = _part("style.css"), _part("script.js")
    scope = _scope(report)
    return Template(_part("page.html")).substitute(
        generator=GENERATOR,
        policy=f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; img-src data:; "
        f"base-uri 'none'; form-action 'none'",
        title=join(f"Sessions of {report.location}"),
        style=style,
        script=script,
        scope=scope,
        body=_empty(report) if report.empty else _body(report),
        foot=_foot(report),
    )


def _body(report: Report) -> Html:
    namespaces = len({pool.namespace for pool in report.pools}) > 1
    shown = bool(report.sessions)
    parts: list[tuple[str, str, str, Html | None]] = [
        ("numbers", "Numbers", "In numbers", sections.numbers(report)),
        ("traffic", "Traffic", "Pages and responses", sections.traffic(report)),
        ("timeline", "Lives", "Lives of sessions", sections.timeline(report) if shown else None),
        ("survival", "Survival", "How long sessions last", sections.survival_chart(report) if shown else None),
        ("logins", "Logins", "How long logins take", logins(report) if report.analytics else None),
        ("trouble", "Trouble", "Errors and bans by session", sections.trouble(report) if shown else None),
        (
            "ages",
            "Cookies' life",
            "How long cookies live",
            sections.cookie_charts(report) if report.cookies else None,
        ),
        ("urls", "URLs", "Errors and bans by URL", _urls(report) if shown else None),
        ("pools", "Pools", "Pools", _pools(report, namespaces) if report.pools else None),
        ("sessions", "Sessions", "Sessions", _sessions(report, namespaces) if shown else None),
        ("cookies", "Cookies", "Cookies by name", _cookies(report) if report.cookies else None),
    ]
    there = [part for part in parts if part[-1] is not None]
    links = [tag("li", tag("a", short, href=f"#{name}")) for name, short, _, _ in there]
    wide = {"numbers", "traffic", "timeline", "urls", "pools", "sessions", "cookies"}
    return join(
        tag("nav", tag("ul", links), aria_label="Sections"),
        tag(
            "main",
            [
                tag(
                    "section",
                    tag("h2", title, id=f"{name}-title"),
                    content,
                    id=name,
                    aria_labelledby=f"{name}-title",
                    class_="wide" if name in wide else None,
                )
                for name, _, title, content in there
            ],
        ),
    )


def _scope(report: Report) -> Html:
    entries = [
        ("Store", report.location),
        ("Namespace", report.namespace if report.namespace is not None else "all"),
        ("Pool", report.pool if report.pool is not None else "all"),
        ("Since", _time(report.since) if report.since is not None else "the beginning"),
        ("Made", _time(report.made)),
    ]
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in entries], class_="scope")


def _time(time: float) -> Html:
    return tag("time", f"{moment(time)} UTC", datetime=iso(time))


def _urls(report: Report) -> Html:
    if not report.urls:
        return tag("p", "The histories of the sessions tell of no error.", class_="note")
    hint = "From the sessions' histories, which remember the latest actions only, and from bans that name a URL."
    return join(url_table(report.urls), _left_out(hint, report.urls_left_out, "URLs, with fewer errors,"))


def _pools(report: Report, namespaces: bool) -> Html:
    table = pool_table(report.pools, namespaces=namespaces)
    return join(table, _left_out("", report.pools_left_out, "pools, with fewer pages,"))


def _sessions(report: Report, namespaces: bool) -> Html:
    hint = "The numbers of a session are of its whole life; login times and bans are of the hours that the store keeps."
    left_out = report.totals.states.total() - len(report.sessions)
    table = session_table(report.sessions, namespaces=namespaces)
    return join(table, _left_out(hint, left_out, "sessions, less troubled and less active,"))


def _cookies(report: Report) -> Html:
    hint = "Durations are averages. Cookies without a date last until the session ends. Values are not in this report."
    table = cookie_table(report.cookies)
    return join(table, _left_out(hint, report.cookies_left_out, "less frequent ones"))


def _left_out(hint: str, number: int, what: str) -> Html | None:
    if number:
        hint = f"{hint} {count(number)} other {what} are left out here, and counted in the totals.".strip()
    return tag("p", hint, class_="hint") if hint else None


def _empty(report: Report) -> Html:
    narrowed = report.namespace is not None or report.pool is not None or report.since is not None
    words = (
        "No session matches what this report was asked for. Leave out --namespace, --pool or --since to see more."
        if narrowed
        else "This store has no sessions yet. Run a spider with the add-on switched on, then make the report again."
    )
    return tag("main", tag("section", tag("h2", "Nothing to show yet"), tag("p", words), class_="wide empty"))


def _foot(report: Report) -> Html:
    notes = [
        "This file loads nothing from the network. Times are UTC; hover over one to see it in your own time.",
        "It holds no cookie values, headers, proxies, storages or data of spiders.",
        "It shows the ids of sessions, and the paths of URLs without queries: look whether you may pass those on.",
    ]
    if report.since is not None:
        notes.append(
            f"Only sessions active in the {duration(report.made - report.since)} before it was made are in it."
        )
    if not report.analytics:
        notes.append("The store keeps no counters by hour and no events: bans, logins over time and ends are not told.")
    if report.totals.unreadable:
        notes.append(
            f"Records that can't be read, and are left out: {count(report.totals.unreadable)}. What to do says "
            f"'scrapy sessions doctor'."
        )
    if report.totals.quarantined:
        notes.append(f"Records set aside earlier, as they couldn't be read: {count(report.totals.quarantined)}.")
    made = f"Made by scrapy_sessions {version('scrapy-persistent-sessions')}."
    return join(*(tag("p", note) for note in (*notes, made)))


@cache
def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
