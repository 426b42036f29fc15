"""The tables of a report: which columns each has, and what their cells show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from scrapy_sessions.report.data import CookieLife, Pool, Session, UrlTrouble
from scrapy_sessions.report.format import count, duration, moment, percent

__all__ = [
    "NOT_KNOWN",
    "NO_POOL",
    "Cell",
    "Row",
    "Table",
    "cookie_table",
    "number",
    "pool_table",
    "seconds",
    "session_table",
    "text",
    "time",
    "url_table",
]

_ONE_LINE = 20  # characters of a text that is never wrapped

NO_POOL = "(no pool)"
NOT_KNOWN = "\N{EN DASH}"


class Cell(NamedTuple):
    """What a cell shows, and the value that its column is sorted by."""

    shown: str
    value: float | str
    kind: Literal["", "time", "state"] = ""

    @property
    def is_number(self) -> bool:
        return isinstance(self.value, float | int)

    @property
    def is_long(self) -> bool:
        return not self.kind and not self.is_number and len(self.shown) > _ONE_LINE


Row: TypeAlias = dict[str, Cell]
"""The cells by the headings of their columns: the same for all rows of a table."""


class Table(NamedTuple):
    """A table with at least one row. One with a *name* can be sorted and filtered, and becomes cards on a phone."""

    caption: str
    rows: Sequence[Row]
    name: str = ""


def text(shown: str, value: str | None = None) -> Cell:
    """Return a cell of text, sorted by *value* if that is another."""
    return Cell(shown, (shown if value is None else value).casefold())


def number(value: float | None, shown: str | None = None) -> Cell:
    """Return a cell of a number; ``None``: not known."""
    return Cell(NOT_KNOWN, -1.0) if value is None else Cell(count(value) if shown is None else shown, value)


def seconds(value: float | None) -> Cell:
    """Return a cell of a duration."""
    return number(value, None if value is None else duration(value))


def time(value: float | None) -> Cell:
    """Return a cell of a moment in UTC; the page's script shows it in the reader's time too."""
    return number(None) if value is None else Cell(moment(value), value, "time")


def pool_table(pools: Iterable[Pool], *, namespaces: bool) -> Table:
    """One row for each pool."""
    rows = [
        {
            "Pool": text(pool.name if pool.name is not None else NO_POOL),
            "Namespace": text(pool.namespace),
            "Sessions": number(pool.sessions),
            "In use": number(pool.states["new"] + pool.states["ready"]),
            "Retired": number(pool.states["retired"]),
            "Expired": number(pool.states["expired"]),
            "Removed": number(pool.states["removed"]),
            "Pages": number(pool.pages),
            "Responses": number(pool.answered),
            "Errors": _errors(pool.errors, pool.answered),
            "Bans": number(pool.blocked),
            "Failures": number(pool.failures),
            "Logins": number(pool.logins),
            "Failed logins": number(pool.login_failures),
            "Login time": seconds(pool.login_time),
            "Last activity (UTC)": time(pool.last or None),
        }
        for pool in pools
    ]
    return Table("Pools", rows if namespaces else _without_namespace(rows), "pools")


def session_table(sessions: Iterable[Session], *, namespaces: bool) -> Table:
    """One row for each session."""
    rows = [
        {
            "Session": text(session.key.session_id),
            "Namespace": text(session.key.namespace),
            "Pool": text(session.pool if session.pool is not None else NO_POOL),
            "State": Cell(session.state, session.state, "state"),
            "Why": text(session.reason or NOT_KNOWN, session.reason),
            "Lived": _lived(session),
            "Pages": number(session.pages),
            "Responses": number(session.answered),
            "Errors": _errors(session.errors, session.answered),
            "Bans": number(session.blocked),
            "Failures": number(session.failures),
            "Logins": number(session.logins),
            "Failed logins": number(session.login_failures),
            "Login time": seconds(session.login_time),
            "Cookies": number(session.cookies),
            "Born (UTC)": time(session.born),
            "Last activity (UTC)": time(session.last),
        }
        for session in sessions
    ]
    return Table("Sessions", rows if namespaces else _without_namespace(rows), "sessions")


def url_table(urls: Iterable[UrlTrouble]) -> Table:
    """One row for each URL at which something went wrong."""
    rows = [
        {
            "URL": text(trouble.url),
            "Errors": number(trouble.statuses.total()),
            "Statuses": text(_statuses(trouble.statuses)),
            "Sessions": number(trouble.sessions),
            "Bans": number(trouble.bans),
        }
        for trouble in urls
    ]
    return Table("URLs with errors or bans", rows, "urls")


def cookie_table(cookies: Iterable[CookieLife]) -> Table:
    """One row for each name and domain, without values."""
    rows = [
        {
            "Cookie": text(life.name or "(no name)"),
            "Domain": text(life.domain),
            "Cookies": number(life.count),
            "With a date": number(life.dated),
            "Dated to live": seconds(life.lifetime / life.dated if life.dated else None),
            "Expired": number(life.expired),
            "Age": seconds(life.age / life.count),
            "Oldest": seconds(life.oldest),
        }
        for life in cookies
    ]
    return Table("Cookies by name and domain", rows, "cookies")


def _without_namespace(rows: Iterable[Row]) -> list[Row]:
    return [{heading: cell for heading, cell in row.items() if heading != "Namespace"} for row in rows]


def _errors(errors: int, answered: int) -> Cell:
    return number(errors, f"{count(errors)} ({percent(errors, answered)})" if errors else "0")


def _lived(session: Session) -> Cell:
    if session.born is None:
        return number(None)
    return seconds(max((session.ended or session.last) - session.born, 0.0))


def _statuses(statuses: Counter[int]) -> str:
    shown = [f"{status} \N{MULTIPLICATION SIGN} {count(n)}" for status, n in statuses.most_common(4)]
    return ", ".join(shown) + (", …" if len(statuses) > 4 else "") or NOT_KNOWN
