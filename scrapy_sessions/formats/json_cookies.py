"""Cookies in JSON, as browser extensions, Playwright, Puppeteer and Selenium write their lists of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

from scrapy_sessions.browser.state import protocol_fields
from scrapy_sessions.cookies.parse import SameSite
from scrapy_sessions.cookies.scope import dotted_domain, has_cross_site_ancestor
from scrapy_sessions.models import Cookie

_SAME_SITE: dict[SameSite | None, str] = {
    "None": "no_restriction",
    "Lax": "lax",
    "Strict": "strict",
    None: "unspecified",
}
_STORE = "0"  # the browser's ordinary cookie store; another one is that of a private window


def dump(cookies: Iterable[Cookie], convert: Callable[[Cookie], dict[str, Any]]) -> str:
    """Return a list of *cookies* as text; *convert* is one of the functions below."""
    return json.dumps([convert(cookie) for cookie in cookies], indent=2) + "\n"


def to_extension(cookie: Cookie) -> dict[str, Any]:
    """Return *cookie* as the browsers' ``cookies`` interface for extensions does.

    EditThisCookie, Cookie-Editor and others copy and paste lists of these.
    """
    fields: dict[str, Any] = {
        "domain": dotted_domain(cookie),
        "hostOnly": cookie.host_only,
        "httpOnly": cookie.http_only,
        "name": cookie.name,
        "path": cookie.path,
        "sameSite": _SAME_SITE[cookie.same_site],
        "secure": cookie.secure,
        "session": cookie.expires is None,
        "storeId": _STORE,
        "value": cookie.value,
    }
    if cookie.expires is not None:
        fields["expirationDate"] = cookie.expires
    _add_partition(fields, cookie, "topLevelSite")
    return fields


def to_puppeteer(cookie: Cookie) -> dict[str, Any]:
    """Return *cookie* as Puppeteer's ``browser.cookies()`` does and ``browser.setCookie(...list)`` expects it."""
    fields = protocol_fields(cookie)
    fields["size"] = len(cookie.name) + len(cookie.value)
    fields["session"] = cookie.expires is None
    _add_partition(fields, cookie, "sourceOrigin")
    return fields


def to_selenium(cookie: Cookie) -> dict[str, Any]:
    """Return *cookie* as ``driver.get_cookies()`` does and ``driver.add_cookie()`` expects it.

    The expiry is in whole seconds. There are no partitions.
    """
    # A driver makes a cookie with a domain one for subdomains too, which a __Host- cookie can't be. It ignores the URL.
    bound = cookie.name.lower().startswith("__host-")
    fields: dict[str, Any] = {
        **({"url": f"https://{cookie.domain}/"} if bound else {"domain": dotted_domain(cookie)}),
        "httpOnly": cookie.http_only,
        "name": cookie.name,
        "path": cookie.path,
        "secure": cookie.secure,
        "value": cookie.value,
    }
    if cookie.expires is not None:
        fields["expiry"] = math.floor(cookie.expires)  # the driver refuses a fraction
    if cookie.same_site is not None:
        fields["sameSite"] = cookie.same_site
    return fields


def _add_partition(fields: dict[str, Any], cookie: Cookie, key: str) -> None:
    if cookie.partition_key is not None:
        fields["partitionKey"] = {key: cookie.partition_key, "hasCrossSiteAncestor": has_cross_site_ancestor(cookie)}
