"""Playwright's storage state: the cookies and the local storage of a browser context."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, get_args

from scrapy_sessions.cookies.parse import SameSite
from scrapy_sessions.formats.fields import Fields, is_text, made, parse_json
from scrapy_sessions.models import Cookie

__all__ = ["State", "dump", "load", "read"]

_SAME_SITE: dict[str, SameSite] = {word: word for word in get_args(SameSite)}


class State(NamedTuple):
    """A storage state: cookies, local storage by origin, and how many entries of it are no text."""

    cookies: list[Cookie]
    local_storage: dict[str, dict[str, str]]
    left_out: int


def load(text: str, *, now: float = 0.0) -> list[Cookie]:
    """Return the cookies of *text*, taken as changed at *now* (UNIX seconds).

    Raises :exc:`~scrapy_sessions.exceptions.FormatError`, which names the JSON path.
    """
    return read(text, now=now).cookies


def read(text: str, *, now: float = 0.0) -> State:
    """Return all of *text* that a session can hold. Raises as :func:`load`."""
    state = Fields(parse_json(text), "")
    cookies = [_cookie(each, now) for each in state.items("cookies", needed=True)]
    local_storage: dict[str, dict[str, str]] = {}
    left_out = 0
    for origin in state.items("origins"):
        entries: dict[str, str] = {}
        for entry in origin.items("localStorage"):
            name, value = entry.text("name"), entry.text("value")
            if is_text(name) and is_text(value):
                entries[name] = value
            else:
                left_out += 1
        where = origin.text("origin")
        if not is_text(where):
            origin.fail("origin", "it is no text")
        if entries:
            local_storage[where] = entries
    return State(cookies, local_storage, left_out)


def _cookie(fields: Fields, now: float) -> Cookie:
    expires = fields.number("expires")
    same_site = fields.text("sameSite", "")
    if same_site and same_site not in _SAME_SITE:
        fields.fail("sameSite", "it must be Strict, Lax or None")
    return made(
        fields.path,
        name=fields.text("name"),
        value=fields.text("value"),
        domain=fields.text("domain"),
        path=fields.text("path", "/"),
        expires=None if expires == -1 else expires,
        secure=fields.flag("secure"),
        http_only=fields.flag("httpOnly"),
        same_site=_SAME_SITE.get(same_site),
        partition_key=fields.text("partitionKey", "") or None,
        now=now,
    )


def dump(cookies: Iterable[Cookie], local_storage: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """Return *cookies* and *local_storage* (by origin) as text. Session storage is in no storage state."""
    origins = [
        {"origin": origin, "localStorage": [{"name": name, "value": value} for name, value in entries.items()]}
        for origin, entries in (local_storage or {}).items()
        if entries
    ]
    return json.dumps({"cookies": [_fields(cookie) for cookie in cookies], "origins": origins}, indent=2) + "\n"


def _fields(cookie: Cookie) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": cookie.name,
        "value": cookie.value,
        "domain": cookie.domain if cookie.host_only else f".{cookie.domain}",
        "path": cookie.path,
        "expires": -1 if cookie.expires is None else cookie.expires,
        "httpOnly": cookie.http_only,
        "secure": cookie.secure,
    }
    if cookie.same_site is not None:
        fields["sameSite"] = cookie.same_site
    if cookie.partition_key is not None:
        fields["partitionKey"] = cookie.partition_key
    return fields
