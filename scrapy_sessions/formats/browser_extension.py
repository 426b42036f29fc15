"""The JSON that cookie extensions of browsers copy and paste, EditThisCookie and Cookie-Editor for two: a list of
cookies with the field names of the browsers' own ``cookies`` interface for extensions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from scrapy_sessions.cookies.parse import SameSite
from scrapy_sessions.formats.fields import Fields, items, made, parse_json
from scrapy_sessions.models import Cookie

__all__ = ["dump", "load"]

_SAME_SITE: dict[str, SameSite | None] = {
    "no_restriction": "None",
    "none": "None",
    "lax": "Lax",
    "strict": "Strict",
    "unspecified": None,
    "": None,
}
_WORDS: dict[SameSite | None, str] = {
    "None": "no_restriction",
    "Lax": "lax",
    "Strict": "strict",
    None: "unspecified",
}
_STORE = "0"  # the browser's ordinary cookie store; another one is that of a private window


def load(text: str, *, now: float = 0.0) -> list[Cookie]:
    """Return the cookies of *text*, taken as changed at *now* (UNIX seconds).

    Raises :exc:`~scrapy_sessions.exceptions.FormatError`, which names the JSON path.
    """
    return [_cookie(fields, now) for fields in items(parse_json(text), "cookies")]


def _cookie(fields: Fields, now: float) -> Cookie:
    same_site = "" if fields.content.get("sameSite") is None else fields.text("sameSite").lower()
    if same_site not in _SAME_SITE:
        fields.fail("sameSite", "it must be no_restriction, lax, strict or unspecified")
    domain = fields.text("domain")
    return made(
        fields.path,
        name=fields.text("name"),
        value=fields.text("value"),
        domain=domain,
        host_only=fields.flag("hostOnly", not domain.startswith(".")),
        path=fields.text("path", "/"),
        expires=None if fields.flag("session") else fields.number("expirationDate"),
        secure=fields.flag("secure"),
        http_only=fields.flag("httpOnly"),
        same_site=_SAME_SITE[same_site],
        partition_key=_partition(fields),
        now=now,
    )


def _partition(fields: Fields) -> str | None:
    if fields.content.get("partitionKey") is None:
        return None
    return fields.child("partitionKey").text("topLevelSite", "") or None


def dump(cookies: Iterable[Cookie]) -> str:
    """Return *cookies* as text."""
    return json.dumps([_fields(cookie) for cookie in cookies], indent=2) + "\n"


def _fields(cookie: Cookie) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "domain": cookie.domain if cookie.host_only else f".{cookie.domain}",
        "hostOnly": cookie.host_only,
        "httpOnly": cookie.http_only,
        "name": cookie.name,
        "path": cookie.path,
        "sameSite": _WORDS[cookie.same_site],
        "secure": cookie.secure,
        "session": cookie.expires is None,
        "storeId": _STORE,
        "value": cookie.value,
    }
    if cookie.expires is not None:
        fields["expirationDate"] = cookie.expires
    if cookie.partition_key is not None:
        fields["partitionKey"] = {"topLevelSite": cookie.partition_key}
    return fields
