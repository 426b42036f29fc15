"""Which cookies a jar accepts, and where they are sent (RFC 6265bis, sections 5.1 and 5.7)."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import ParseResult, SplitResult

from scrapy_sessions.cookies.hosts import canonical_host, is_canonical, is_ip, is_sharable, site_of
from scrapy_sessions.cookies.parse import MAX_PAIR_SIZE, encode, parse_set_cookie
from scrapy_sessions.cookies.reasons import refused
from scrapy_sessions.cookies.stored import StoredCookie
from scrapy_sessions.json_limits import fault_of
from scrapy_sessions.models import FORBIDDEN_CHARACTER

_SCHEMES = {"http": False, "https": True, "ws": False, "wss": True}
_FORBIDDEN = re.compile(FORBIDDEN_CHARACTER)


class Origin(NamedTuple):
    """The scheme and host that set a cookie or get it."""

    secure: bool
    host: str

    @classmethod
    def of(cls, url: SplitResult | ParseResult) -> Origin | None:
        """Return the origin of *url*, ``None`` if it has no cookies (``data:``, ``file:``, no host)."""
        return _origin(url.scheme, url.hostname or "")

    @property
    def site(self) -> str:
        """The partition key of this origin. Partitioned cookies are Secure, so the scheme is always https."""
        return f"https://{site_of(self.host)}"


@lru_cache(maxsize=1024)
def parents_of(host: str) -> tuple[str, ...]:
    """Return the parent domains of the canonical *host*, nearest first; an IP address has none."""
    if is_ip(host):
        return ()
    labels = host.split(".")
    return tuple(".".join(labels[start:]) for start in range(1, len(labels)))


@lru_cache(maxsize=1024)
def _origin(scheme: str, hostname: str) -> Origin | None:
    secure = _SCHEMES.get(scheme)
    host = canonical_host(hostname)
    return None if secure is None or host is None else Origin(secure, host)


def domain_matches(host: str, domain: str) -> bool:
    """Whether *domain* is *host* or a parent of it (section 5.1.3). Both are canonical."""
    return host == domain or (host.endswith(domain) and host[-len(domain) - 1] == "." and not is_ip(host))


def request_path(url: SplitResult | ParseResult) -> str:
    """Return the path of *url* for matching: never empty, including the parameters of its last segment."""
    path = url.path
    if not path.startswith("/"):
        return "/"
    return f"{path};{url.params}" if isinstance(url, ParseResult) and url.params else path


def path_matches(request_path: str, path: str) -> bool:
    """Whether *path* is *request_path* or a directory above it (section 5.1.4)."""
    if not request_path.startswith(path):
        return False
    return len(request_path) == len(path) or path.endswith("/") or request_path[len(path)] == "/"


def shadows(new: StoredCookie, old: StoredCookie) -> bool:
    """Whether *new*, set over an unencrypted connection, would overwrite or shadow the Secure cookie *old*."""
    return (
        old.secure
        and old.name == new.name
        and (domain_matches(new.domain, old.domain) or domain_matches(old.domain, new.domain))
        and path_matches(new.path, old.path)
    )


def check(entry: StoredCookie) -> str | None:
    """Return the reason to refuse *entry*, wherever it comes from; ``None``: it is valid."""
    name, value = entry.name, entry.value
    if (
        _FORBIDDEN.search(name)
        or _FORBIDDEN.search(value)
        or ";" in name
        or ";" in value
        or "=" in name
        or name.strip(" \t") != name
        or value.strip(" \t") != value
        or not (name or value)
        or not entry.path.startswith("/")
        or _FORBIDDEN.search(entry.path)
        or not is_canonical(entry.domain)
        or not math.isfinite((entry.expires or 0.0) + entry.created + entry.updated)
        or (entry.extra is not None and fault_of(entry.extra) is not None)
    ):
        return "malformed"
    if len(encode(name)) + len(encode(value)) > MAX_PAIR_SIZE:
        return "too_large"
    if not entry.traits.host_only and not is_sharable(entry.domain):
        return "public_suffix"
    return _violation(entry)


def accept(
    header: bytes | str, url: SplitResult | ParseResult, origin: Origin, now: float, explicit: bool
) -> StoredCookie:
    """Return the cookie of *header*, a ``Set-Cookie`` value of a response from *url*.

    *explicit*: the user gave the cookie with a request. Whether it shadows another one (:func:`shadows`) is checked by
    the jar. Raises :exc:`~scrapy_sessions.exceptions.InvalidCookie`.
    """
    parsed = parse_set_cookie(header, now)
    domain, host_only = (origin.host, True) if parsed.domain is None else _scope(parsed.domain, origin.host)
    path = parsed.path or _default_path(url)
    if parsed.secure and not origin.secure and not explicit:
        raise refused("insecure_secure")
    entry = StoredCookie(
        parsed.name,
        parsed.value,
        domain,
        host_only,
        path,
        parsed.expires,
        parsed.secure,
        parsed.http_only,
        parsed.same_site,
        origin.site if parsed.partitioned else None,
        now,
        now,
    )
    reason = _violation(entry)
    # In a response, __Host- requires an explicit Path. A spider that gives its cookie as {name: value} takes the path
    # from the URL, as in Scrapy.
    if reason is None and parsed.path is None and not explicit and _prefix(entry) == "__host-":
        reason = "prefix"
    if reason is not None:
        raise refused(reason)
    return entry


def _scope(attribute: str, host: str) -> tuple[str, bool]:
    domain = canonical_host(attribute)
    if "." not in host and domain == f"{host}.local":
        # http.cookiejar, and so Scrapy, appends ".local" to a host without a dot.
        domain = host
    if domain == host:
        return host, not is_sharable(host)
    if domain is None or not domain_matches(host, domain):
        raise refused("domain_mismatch")
    if not is_sharable(domain):
        raise refused("public_suffix")
    return domain, False


def _default_path(url: SplitResult | ParseResult) -> str:
    path = url.path
    end = path.rfind("/") if path.startswith("/") else 0
    if end <= 0:
        return "/"
    path = path[:end]
    if _FORBIDDEN.search(path):
        raise refused("malformed")
    return path


def _prefix(entry: StoredCookie) -> str | None:
    # A nameless cookie is sent as its value alone, which may look like a name with a prefix.
    pair = entry.name or entry.value
    if not pair.startswith("__"):
        return None
    prefix = pair[:9].lower()
    if prefix == "__secure-":
        return prefix
    return "__host-" if prefix.startswith("__host-") else None


def _violation(entry: StoredCookie) -> str | None:
    prefix = _prefix(entry)
    if prefix is not None:
        if not entry.name or not entry.secure:
            return "prefix"
        if prefix == "__host-" and not (entry.traits.host_only and entry.path == "/"):
            return "prefix"
    if entry.traits.partition_key is not None and not entry.secure:
        return "partitioned"
    return None
