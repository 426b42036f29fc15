"""Puppeteer's lists of cookies, as ``browser.cookies()`` returns them and ``browser.setCookie(...list)`` takes them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from scrapy_sessions.formats.cookie_fields import dotted_domain, has_cross_site_ancestor
from scrapy_sessions.models import Cookie

__all__ = ["dump"]


def dump(cookies: Iterable[Cookie]) -> str:
    """Return *cookies* as text."""
    return json.dumps([_fields(cookie) for cookie in cookies], indent=2) + "\n"


def _fields(cookie: Cookie) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": cookie.name,
        "value": cookie.value,
        "domain": dotted_domain(cookie),
        "path": cookie.path,
        "expires": -1 if cookie.expires is None else cookie.expires,
        "size": len(cookie.name) + len(cookie.value),
        "httpOnly": cookie.http_only,
        "secure": cookie.secure,
        "session": cookie.expires is None,
    }
    if cookie.same_site is not None:
        fields["sameSite"] = cookie.same_site
    if cookie.partition_key is not None:
        fields["partitionKey"] = {
            "sourceOrigin": cookie.partition_key,
            "hasCrossSiteAncestor": has_cross_site_ancestor(cookie),
        }
    return fields
