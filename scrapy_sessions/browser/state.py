"""A session's cookies and storages in Playwright's terms, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from scrapy_sessions.cookies.scope import dotted_domain, has_cross_site_ancestor
from scrapy_sessions.models import Cookie

Storages: TypeAlias = "dict[str, dict[str, str]]"
"""Texts by origin and key."""

Databases: TypeAlias = "dict[str, list[Any]]"
"""The databases of IndexedDB by origin, each as Playwright's storage state contains it."""


def protocol_fields(cookie: Cookie) -> dict[str, Any]:
    """Return the fields of *cookie* in the DevTools protocol, which Playwright and Puppeteer share."""
    fields: dict[str, Any] = {
        "name": cookie.name,
        "value": cookie.value,
        "domain": dotted_domain(cookie),
        "path": cookie.path,
        "expires": -1 if cookie.expires is None else cookie.expires,
        "httpOnly": cookie.http_only,
        "secure": cookie.secure,
    }
    if cookie.same_site is not None:
        fields["sameSite"] = cookie.same_site
    return fields


def to_playwright(cookie: Cookie) -> dict[str, Any]:
    """Return *cookie* as Playwright's ``context.cookies()`` does and ``context.add_cookies()`` expects it."""
    fields = protocol_fields(cookie)
    if cookie.partition_key is not None:
        fields["partitionKey"] = cookie.partition_key
        # Playwright's default is true, with which the cookie of a visit to its own site is never sent.
        fields["_crHasCrossSiteAncestor"] = has_cross_site_ancestor(cookie)
    return fields


def from_playwright(fields: Mapping[str, Any]) -> Cookie:
    """Return a cookie of ``context.cookies()``. An absent SameSite is ``"Lax"`` there."""
    domain: str = fields["domain"]
    return Cookie(
        name=fields["name"],
        value=fields["value"],
        domain=domain.removeprefix("."),
        host_only=not domain.startswith("."),
        path=fields["path"],
        expires=None if fields["expires"] == -1 else fields["expires"],
        secure=fields["secure"],
        http_only=fields["httpOnly"],
        same_site=fields.get("sameSite"),
        partition_key=fields.get("partitionKey") or None,
        cross_site_ancestor=fields.get("_crHasCrossSiteAncestor") or False,
    )


def to_origins(local_storage: Mapping[str, Mapping[str, str]], indexed_db: Mapping[str, list[Any]]) -> list[Any]:
    """Return the storages as the ``origins`` of a storage state. An origin without content is left out."""
    origins = []
    for origin in {**local_storage, **indexed_db}:
        entries, databases = local_storage.get(origin), indexed_db.get(origin)
        if entries or databases:
            stored = [{"name": name, "value": value} for name, value in (entries or {}).items()]
            origins.append(
                {"origin": origin, "localStorage": stored, **({"indexedDB": databases} if databases else {})}
            )
    return origins


def from_origins(origins: Iterable[Mapping[str, Any]]) -> tuple[Storages, Databases]:
    """Return the local storage and IndexedDB in the ``origins`` of a storage state."""
    local_storage: Storages = {}
    indexed_db: Databases = {}
    for each in origins:
        if each.get("localStorage"):
            local_storage[each["origin"]] = {entry["name"]: entry["value"] for entry in each["localStorage"]}
        if each.get("indexedDB"):
            indexed_db[each["origin"]] = each["indexedDB"]
    return local_storage, indexed_db
