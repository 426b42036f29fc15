"""Selenium's lists of cookies, as ``driver.get_cookies()`` returns them. ``driver.add_cookie()`` takes each entry."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from scrapy_sessions.formats.cookie_fields import dotted_domain
from scrapy_sessions.models import Cookie

__all__ = ["dump"]


def dump(cookies: Iterable[Cookie]) -> str:
    """Return *cookies* as text. Expiries lose their fraction of a second; partitions are not in it."""
    return json.dumps([_fields(cookie) for cookie in cookies], indent=2) + "\n"


def _fields(cookie: Cookie) -> dict[str, Any]:
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
