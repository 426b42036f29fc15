"""The tables of a report: readable as they are, sorted and filtered by the page's script, cards on a phone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from scrapy_sessions.report.data import CookieLife, Pool, Session, UrlTrouble
from scrapy_sessions.report.format import count, duration, iso, moment, percent
from scrapy_sessions.report.markup import Html, join, tag

__all__ = [
    "NOT_KNOWN",
    "NO_POOL",
    "Cell",
    "cookie_table",
    "number",
    "plain_table",
    "pool_table",
    "session_table",
    "text",
    "time_of",
    "url_table",
]

_SHORT = 20  # characters that stand in one line

NO_POOL = "(no pool)"
NOT_KNOWN = "\N{EN DASH}"


class Cell(NamedTuple):
    """What a cell shows, and what it is sorted by. A number stands on the right."""

    shown: str
    value: float | str


def text(shown: str, value: str | None = None) -> Cell:
    """A cell of text; *value* if it is to be sorted by another."""
    return Cell(shown, (shown if value is None else value).casefold())


def number(value: float | None, shown: str | None = None) -> Cell:
    """A cell of a number; ``None`` is not known."""
    return Cell(NOT_KNOWN, -1.0) if value is None else Cell(count(value) if shown is None else shown, value)


def time_of(time: float) -> Html:
    """A moment in UTC, which the script tells in the reader's time too."""
    return tag("time", moment(time), datetime=iso(time))


def pool_table(pools: Sequence[Pool], *, namespaces: bool) -> Html:
    """One row for each pool."""
    columns = ["Pool", "Namespace", "Sessions", "In use", "Retired", "Expired", "Removed", "Pages", "Responses"]
    columns += ["Errors", "Bans", "Failures", "Logins", "Failed logins", "Login time", "Last activity (UTC)"]
    rows = [
        [
            text(pool.name if pool.name is not None else NO_POOL),
            text(pool.namespace),
            number(pool.sessions),
            number(pool.states["new"] + pool.states["ready"]),
            *(number(pool.states[state]) for state in ("retired", "expired", "removed")),
            number(pool.pages),
            number(pool.answered),
            _errors(pool.errors, pool.answered),
            number(pool.blocked),
            number(pool.failures),
            number(pool.logins),
            number(pool.login_failures),
            _seconds(pool.login_time),
            _time(pool.last or None),
        ]
        for pool in pools
    ]
    return _sorting("pools", "Pools", *_without(columns, rows, () if namespaces else ("Namespace",)))


def session_table(sessions: Sequence[Session], *, namespaces: bool) -> Html:
    """One row for each session."""
    columns = ["Session", "Namespace", "Pool", "State", "Why", "Lived", "Pages", "Responses", "Errors"]
    columns += ["Bans", "Failures", "Logins", "Failed logins", "Login time", "Cookies", "Born (UTC)"]
    columns += ["Last activity (UTC)"]
    rows = [
        [
            text(session.key.session_id),
            text(session.key.namespace),
            text(session.pool if session.pool is not None else NO_POOL),
            text(tag("span", session.state, class_=f"state s-{session.state}"), session.state),
            text(session.reason or NOT_KNOWN, session.reason),
            _lived(session),
            number(session.pages),
            number(session.answered),
            _errors(session.errors, session.answered),
            number(session.blocked),
            number(session.failures),
            number(session.logins),
            number(session.login_failures),
            _seconds(session.login_time),
            number(session.cookies),
            _time(session.born),
            _time(session.last),
        ]
        for session in sessions
    ]
    return _sorting("sessions", "Sessions", *_without(columns, rows, () if namespaces else ("Namespace",)))


def url_table(urls: Sequence[UrlTrouble]) -> Html:
    """One row for each URL at which something went wrong."""
    columns = ["URL", "Errors", "Statuses", "Sessions", "Bans"]
    rows = [
        [
            text(trouble.url),
            number(trouble.statuses.total()),
            text(_statuses(trouble.statuses)),
            number(trouble.sessions),
            number(trouble.bans),
        ]
        for trouble in urls
    ]
    return _sorting("urls", "URLs with errors or bans", columns, rows)


def cookie_table(cookies: Sequence[CookieLife]) -> Html:
    """One row for each name and domain. No value."""
    columns = ["Cookie", "Domain", "Cookies", "With a date", "Dated to live", "Expired", "Age", "Oldest"]
    rows = [
        [
            text(life.name or "(no name)"),
            text(life.domain),
            number(life.count),
            number(life.dated),
            _seconds(life.lifetime / life.dated if life.dated else None),
            number(life.expired),
            _seconds(life.age / life.count),
            _seconds(life.oldest),
        ]
        for life in cookies
    ]
    return _sorting("cookies", "Cookies by name and domain", columns, rows)


def plain_table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Html:
    """The numbers of a chart."""
    return tag("table", *_content(caption, columns, rows), class_="plain")


def _sorting(name: str, caption: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Html:
    # Hidden without the script, which alone makes something of it.
    tools = tag(
        "div",
        tag("label", "Filter", tag("input", type="search", placeholder=f"in {len(rows)} rows", data_filter=name)),
        tag("label", "Sort by", tag("select", data_sort=name)),
        tag("output", aria_live="polite", data_count=name),
        class_="tools",
        hidden=True,
    )
    table = tag("table", *_content(caption, columns, rows), id=f"table-{name}", class_="sorting")
    more = tag("button", "Show all", type="button", class_="more", hidden=True, data_more=name)
    return join(tools, tag("div", table, class_="scroll", role="region", aria_label=caption, tabindex=0), more)


def _content(caption: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> tuple[Html, Html, Html]:
    numbers = (
        [bool(rows) and isinstance(cell.value, float | int) for cell in rows[0]] if rows else [False] * len(columns)
    )
    heads = [
        tag("th", tag("span", column), scope="col", class_="n" if is_number else None)
        for column, is_number in zip(columns, numbers, strict=True)
    ]
    lines = []
    for row in rows:
        cells = [tag("th", row[0].shown, scope="row", data_v=row[0].value)]
        cells += [
            tag("td", cell.shown, class_=_kind(cell), data_label=column, data_v=cell.value)
            for column, cell in zip(columns[1:], row[1:], strict=True)
        ]
        lines.append(tag("tr", cells))
    return tag("caption", caption), tag("thead", tag("tr", heads)), tag("tbody", lines)


def _kind(cell: Cell) -> str | None:
    if isinstance(cell.value, float | int):
        return "n"
    return "long" if not isinstance(cell.shown, Html) and len(cell.shown) > _SHORT else None


def _without(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], left_out: Sequence[str]
) -> tuple[list[str], list[list[Cell]]]:
    kept = [place for place, column in enumerate(columns) if column not in left_out]
    return [columns[place] for place in kept], [[row[place] for place in kept] for row in rows]


def _time(time: float | None) -> Cell:
    return number(None) if time is None else Cell(time_of(time), time)


def _seconds(seconds: float | None) -> Cell:
    return number(seconds, None if seconds is None else duration(seconds))


def _errors(errors: int, answered: int) -> Cell:
    return number(errors, f"{count(errors)} ({percent(errors, answered)})" if errors else "0")


def _lived(session: Session) -> Cell:
    if session.born is None:
        return number(None)
    return _seconds(max((session.ended or session.last) - session.born, 0.0))


def _statuses(statuses: Counter[int]) -> str:
    shown = [f"{status} \N{MULTIPLICATION SIGN} {count(n)}" for status, n in statuses.most_common(4)]
    return ", ".join(shown) + (", …" if len(statuses) > 4 else "") or NOT_KNOWN
