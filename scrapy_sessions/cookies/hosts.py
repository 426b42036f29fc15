"""Hosts and public suffixes: which hosts may share a cookie, and which belong to one site.

The public suffix list is the one that ``tldextract`` bundles. It is never fetched from the network or cached on disk.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tldextract import TLDExtract

# The characters of host names and IP addresses. A host with other characters neither sets nor gets cookies: exported,
# it could not be separated from the syntax around it. A colon is allowed in IPv6 addresses only: the domain of a cookie
# has no port, so a cookie of "host:port" would never be sent.
_HOST = re.compile(r"[a-z0-9_%-]+(?:\.[a-z0-9_%-]+)*\.?")
_IPV6 = r"[0-9a-f:.]+(?:%[a-z0-9_.%-]+)?"


@lru_cache(maxsize=1)
def _extractor() -> TLDExtract:
    # Imported here: it imports an HTTP client, and parsing its list takes 50 ms. A process without cookies (a command,
    # a worker) doesn't pay for either.
    from tldextract import TLDExtract  # noqa: PLC0415

    return TLDExtract(suffix_list_urls=(), include_psl_private_domains=True, cache_dir=None)


def is_canonical(host: str) -> bool:
    """Whether *host* has the form used in cookies: lower case, ASCII (IDNA), no leading dot, no brackets."""
    return _HOST.fullmatch(host) is not None or (":" in host and _is_ipv6(host))


def _is_ipv6(host: str) -> bool:
    try:
        return re.fullmatch(_IPV6, host) is not None and bool(IPv6Address(host))
    except ValueError:
        return False


@lru_cache(maxsize=4096)
def canonical_host(host: str) -> str | None:
    """Return *host* in lower case and ASCII (IDNA), an IPv6 address without brackets; ``None`` if it isn't a host."""
    if host[:1] == "[" and host[-1:] == "]":
        host = host[1:-1]
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    host = host.lower()
    return host if is_canonical(host) else None


def is_ip(host: str) -> bool:
    """Whether the canonical *host* is an IP address.

    A name whose last label is a number counts as an IP address, as in the URL standard.
    """
    return ":" in host or host.rstrip(".").rpartition(".")[2].isdigit()


@lru_cache(maxsize=4096)
def is_sharable(domain: str) -> bool:
    """Whether a cookie of the canonical *domain* may be sent to its subdomains.

    It may not if *domain* is a public suffix (``co.uk``, ``github.io``), a single label or an IP address.
    """
    name = domain.rstrip(".")
    return "." in name and not is_ip(name) and bool(_extractor()(name).domain)


@lru_cache(maxsize=4096)
def site_of(host: str) -> str:
    """Return the registrable domain of the canonical *host* (``www.shop.co.uk``: ``shop.co.uk``), else *host* itself.

    If the list doesn't contain the top-level domain, its default rule applies: the last two labels.
    """
    name = host.rstrip(".")
    if is_ip(name):
        return name
    parts = _extractor()(name)
    if not parts.suffix:
        return ".".join(name.split(".")[-2:])
    return f"{parts.domain}.{parts.suffix}" if parts.domain else name
