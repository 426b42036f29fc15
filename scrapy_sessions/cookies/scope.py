"""Where a cookie is sent, as browsers and their tools write it: its domain and its partition."""

from __future__ import annotations

from scrapy_sessions.cookies.hosts import site_of
from scrapy_sessions.models import Cookie


def dotted_domain(cookie: Cookie) -> str:
    """Return the domain of *cookie* with a leading dot if subdomains get the cookie, as most formats have it."""
    return cookie.domain if cookie.host_only else f".{cookie.domain}"


def is_unpartitioned(cookie: Cookie) -> bool:
    """Whether a format without partitions can contain *cookie*: its partition is none, or that of its own site."""
    key = cookie.partition_key
    return key is None or (is_own_partition(cookie.domain, key) and not cookie.cross_site_ancestor)


def has_cross_site_ancestor(cookie: Cookie) -> bool:
    """Whether the partition of *cookie* has a cross-site ancestor: as stored, or because it is another site's."""
    return cookie.cross_site_ancestor or not is_unpartitioned(cookie)


def is_own_partition(domain: str, key: str) -> bool:
    """Whether *key* is the partition of the site that *domain* belongs to."""
    return key == f"https://{site_of(domain)}"
