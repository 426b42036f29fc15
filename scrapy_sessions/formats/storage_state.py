"""Playwright's storage state: the cookies, local storage and IndexedDB of a browser context."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from scrapy_sessions.browser.state import to_origins, to_playwright
from scrapy_sessions.formats.contents import Contents, Reading, Source, read_entries
from scrapy_sessions.formats.cookie_list import find_list, read_cookies, shape_of, unread
from scrapy_sessions.formats.fields import Fields, is_text
from scrapy_sessions.json_limits import fault_of
from scrapy_sessions.models import Cookie

_KNOWN = frozenset({"cookies", "origins"})
_ORIGIN = frozenset({"origin", "localStorage", "indexedDB"})


def misfit(source: Source, reading: Reading) -> str | None:
    """Say why *source* isn't a storage state; ``None`` if it is."""
    content = source.document
    if not isinstance(content, dict) or not content.keys() & _KNOWN:
        return 'it has neither "cookies" nor "origins"'
    if "origins" in content:
        return None
    found = find_list(content)
    shape = shape_of(found[1]) if found is not None else None
    if content.keys() - _KNOWN or shape not in {None, "playwright"}:
        return 'it has no "origins", and its "cookies" are not Playwright\'s'
    return None


def read(source: Source, reading: Reading) -> Contents:
    """Return the cookies, local storage and IndexedDB of a storage state."""
    state = Fields(source.document, "")
    if "cookies" not in state:
        state.fail("cookies", "it is missing")
    contents = Contents(read_cookies(state.content["cookies"], "cookies", reading))
    for origin, entries, databases in read_entries(
        state.content.get("origins"), "origins", lambda f: _origin(f, reading), reading
    ):
        if entries:
            contents.local_storage[origin] = entries
        if databases:
            contents.indexed_db[origin] = databases
    contents.notes += unread(state.content, _KNOWN, "of the file")
    return contents


def _origin(fields: Fields, reading: Reading) -> tuple[str, dict[str, str], list[Any]]:
    origin = fields.text("origin")
    if not is_text(origin):
        fields.fail("origin", "it is no text")
    for name in fields.content.keys() - _ORIGIN:
        reading.remarks.add(f"the field {name:.40} is not read", fields.path)
    entries: dict[str, str] = {}
    stored = fields.content.get("localStorage")
    pairs = read_entries(
        stored, fields.place("localStorage"), lambda each: (each.text("name"), each.text("value")), reading
    )
    for name, value in pairs:
        if is_text(name) and is_text(value):
            entries[name] = value
        else:
            reading.remarks.add("an entry of local storage is no text and is left out", fields.path)
    databases = fields.items("indexedDB")
    fault = fault_of(databases)
    if fault is not None or not all(isinstance(each, dict) for each in databases):
        reading.remarks.add(f"IndexedDB is left out: {fault or 'it must be a list of objects'}", fields.path)
        databases = []
    return origin, entries, databases


def dump(
    cookies: Iterable[Cookie],
    local_storage: Mapping[str, Mapping[str, str]] | None = None,
    indexed_db: Mapping[str, list[Any]] | None = None,
) -> str:
    """Return *cookies* and the storages (by origin) as text. Session storage is in no storage state."""
    origins = to_origins(local_storage or {}, indexed_db or {})
    return json.dumps({"cookies": [to_playwright(cookie) for cookie in cookies], "origins": origins}, indent=2) + "\n"
