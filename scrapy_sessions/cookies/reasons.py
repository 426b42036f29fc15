"""The reasons for which a jar refuses a cookie. They are counted in the stats and listed in the docs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from scrapy_sessions.exceptions import InvalidCookie

REFUSAL_REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "domain_mismatch": "its Domain is neither the host that set it nor a parent of it, or is no domain name",
        "evicted": "it was dropped because its site or the jar was full: those without Secure first, then unused ones",
        "insecure_secure": "it is Secure and came over an unencrypted connection",
        "malformed": "it is empty, or one of its parts is invalid (a control character, a path without a /)",
        "partitioned": "it is Partitioned without being Secure",
        "prefix": "its name begins with __Host- or __Secure-, but it lacks what that prefix requires",
        "public_suffix": "it would be sent to all hosts under a public suffix, a single label or an IP address",
        "secure_overwrite": "it came over an unencrypted connection and would shadow a Secure cookie",
        "too_large": "its name and value have more than 4096 bytes together",
    }
)
"""Every reason for which a jar refuses or drops a cookie, and its meaning in one line."""


def refused(reason: str) -> InvalidCookie:
    """Return the exception for a cookie refused for *reason*. Its message contains nothing from the cookie."""
    return InvalidCookie(f"The cookie was refused ({reason}): {REFUSAL_REASONS[reason]}", reason)
