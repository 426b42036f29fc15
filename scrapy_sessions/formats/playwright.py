"""Playwright's lists of cookies, as ``context.cookies()`` returns them and ``context.add_cookies()`` takes them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from scrapy_sessions.formats.cookie_fields import dotted_domain, has_cross_site_ancestor
from scrapy_sessions.models import Cookie

__all__ = ["dump", "to_playwright"]


def dump(cookies: Iterable[Cookie]) -> str:
    """Return *cookies* as text."""
    return json.dumps([to_playwright(cookie) for cookie in cookies], indent=2) + "\n"


def to_playwright(cookie: Cookie) -> dict[str, Any]:
    """Return *cookie* as Playwright has it."""
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
    if cookie.partition_key is not None:
        fields["partitionKey"] = cookie.partition_key
        # Without it, Playwright takes it for true, and the cookie of a visit to its own site is never sent.
        fields["_crHasCrossSiteAncestor"] = has_cross_site_ancestor(cookie)
    return fields
