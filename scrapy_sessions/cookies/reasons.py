"""Why a jar refuses a cookie. The words are counted in the stats, and the docs list them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from scrapy_sessions.exceptions import InvalidCookie

__all__ = ["REFUSAL_REASONS", "refused"]

REFUSAL_REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "domain_mismatch": "its Domain is neither the host that set it nor a parent of it, or is no domain name",
        "evicted": "it was dropped, as the least recently used one, when its domain or the jar was full",
        "insecure_secure": "it is Secure and came over an unencrypted connection",
        "malformed": "it is empty, or has a part that no cookie may have (a control character, a path without a /)",
        "partitioned": "it is Partitioned without being Secure",
        "prefix": "it is named __Host- or __Secure- without keeping what that name promises",
        "public_suffix": "it would be shared by all under a public suffix, a single label or an IP address",
        "secure_overwrite": "it came over an unencrypted connection and would hide a Secure cookie",
        "too_large": "its name and value have more than 4096 bytes together",
    }
)
"""Every reason for which a jar refuses or drops a cookie, and its meaning in one line."""


def refused(reason: str) -> InvalidCookie:
    """Return the exception for a cookie refused for *reason*. Its message holds nothing of the cookie."""
    return InvalidCookie(f"The cookie was refused ({reason}): {REFUSAL_REASONS[reason]}", reason)
