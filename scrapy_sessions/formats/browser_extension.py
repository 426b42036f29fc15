"""The JSON that cookie extensions of browsers copy and paste, such as EditThisCookie and Cookie-Editor.

It is a list of cookies with the field names of the browsers' own ``cookies`` interface for extensions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from scrapy_sessions.cookies.parse import SameSite
from scrapy_sessions.formats.cookie_fields import dotted_domain, has_cross_site_ancestor
from scrapy_sessions.models import Cookie

__all__ = ["dump"]

_SAME_SITE: dict[SameSite | None, str] = {
    "None": "no_restriction",
    "Lax": "lax",
    "Strict": "strict",
    None: "unspecified",
}
_STORE = "0"  # the browser's ordinary cookie store; another one is that of a private window


def dump(cookies: Iterable[Cookie]) -> str:
    """Return *cookies* as text."""
    return json.dumps([_fields(cookie) for cookie in cookies], indent=2) + "\n"


def _fields(cookie: Cookie) -> dict[str, Any]:
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
    if cookie.partition_key is not None:
        fields["partitionKey"] = {
            "topLevelSite": cookie.partition_key,
            "hasCrossSiteAncestor": has_cross_site_ancestor(cookie),
        }
    return fields
