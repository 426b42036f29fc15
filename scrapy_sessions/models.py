"""The records: plain data with a schema version."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from typing_extensions import TypedDict

from scrapy_sessions.exceptions import InvalidSessionId
from scrapy_sessions.json_limits import MAX_COUNT

__all__ = [
    "EVERYWHERE",
    "SCHEMA_VERSION",
    "Cookie",
    "ExpiryReason",
    "Metrics",
    "PersistentSession",
    "Profile",
    "SessionInfo",
    "SiteLogin",
    "Status",
    "check_header",
    "check_line",
    "check_proxy",
    "check_session_id",
    "expiry",
]

SCHEMA_VERSION = 1
"""The schema of the records written by this version."""

EVERYWHERE = "*"
"""The key of the profile's headers in :attr:`PersistentSession.headers`: they are sent to every origin."""

Status = Literal["new", "ready", "retired"]
ExpiryReason = Literal["idle_timeout", "max_age", "max_uses"]

_MAX_ID_LENGTH = 255
_CREDENTIAL_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # token, RFC 9110 section 5.6.2
_HEADER_VALUE_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_MESSAGE_HEADERS = frozenset({"connection", "content-length", "host", "transfer-encoding"})


def check_session_id(value: object) -> str:
    """Return *value* if it is a session id: a string of 1 to 255 printable characters.

    Raises :exc:`~scrapy_sessions.exceptions.InvalidSessionId` otherwise.
    """
    if not isinstance(value, str):
        raise InvalidSessionId(
            f"A session id must be a string, not {type(value).__name__} ({value!r:.80}): use str(), or the meta key "
            f"'cookiejar' for keys of other types"
        )
    if not value:
        raise InvalidSessionId("A session id must not be empty: leave the meta key out, or set it to None, instead")
    if len(value) > _MAX_ID_LENGTH:
        raise InvalidSessionId(
            f"A session id must have at most {_MAX_ID_LENGTH} characters, this one has {len(value)}: {value[:40]!r}…"
        )
    if not value.isprintable():
        raise InvalidSessionId(f"A session id must have printable characters only: {value!r}")
    return value


def check_header(name: str, value: str) -> None:
    """Raise :exc:`ValueError` if *name* and *value* aren't a valid header (RFC 9110, section 5). It quotes no value."""
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a header name (RFC 9110, section 5.1)")
    if _HEADER_VALUE_FORBIDDEN.search(value):
        raise ValueError(f"the value of the header {name!r} contains control characters")


def _check_profile_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        check_header(name, value)
        if name.lower() in _CREDENTIAL_HEADERS:
            raise ValueError(
                f"{name!r} is a credential, and a profile's headers are sent to every site: set it on the session, "
                f"bound to its origin, with session.headers.set()"
            )
        if name.lower() in _MESSAGE_HEADERS:
            raise ValueError(f"{name!r} belongs to a single request, which sets it itself, not to an identity")
    return headers


def check_proxy(proxy: object) -> str:
    """Return *proxy* if it is the URL of a proxy, else raise :exc:`ValueError`, which doesn't quote it."""
    fault = ""
    if not isinstance(proxy, str):
        raise ValueError(f"a proxy is a string, not {type(proxy).__name__}")
    try:
        parts = urlsplit(proxy)
        if not parts.scheme or not parts.hostname or parts.port == 0:
            fault = "a proxy is a URL, as in 'http://proxy.example:8080'"
    except ValueError:  # which may quote the password
        fault = "its host or port can't be read"
    if fault or _HEADER_VALUE_FORBIDDEN.search(proxy):
        raise ValueError(fault or "control characters are not allowed in a proxy's URL")
    return proxy


def check_line(value: str) -> str:
    """Return *value* if it can be the value of a header, else raise :exc:`ValueError`."""
    if _HEADER_VALUE_FORBIDDEN.search(value):
        raise ValueError("control characters are not allowed in a header value")
    return value


def _hidden(pairs: Iterable[tuple[str | None, Any]], shown: frozenset[str]) -> list[tuple[str | None, Any]]:
    return [pair for pair in pairs if pair[0] in shown]


# Larger numbers are no counts: stores have 64 bits for the next one, and JSON elsewhere has 53 for this one.
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]


class _Record(BaseModel):
    # Unknown fields are kept, so that an older version doesn't destroy fields that a newer one added without a new
    # schema. Validation errors must not quote their input, which may be a password or a cookie's value.
    model_config = ConfigDict(extra="allow", hide_input_in_errors=True, defer_build=True)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return _hidden(super().__repr_args__(), frozenset(type(self).model_fields))  # no unknown fields


class Cookie(_Record):
    """One cookie with all its attributes (RFC 6265bis, section 5.7).

    It is immutable: a jar replaces it. ``value`` is text if the site's bytes were UTF-8; each other byte is stored as
    one private-use character (U+EF80 to U+EFFF), so that the same bytes are sent back to the site.

    :param name: may be empty: then only the value is sent
    :param domain: lower case, ASCII (IDNA), without a leading dot
    :param host_only: True: for exactly this host; False: for its subdomains, too
    :param expires: UNIX time in seconds (UTC), ``None`` for a session cookie
    :param same_site: as the site set it; a crawl sends every cookie as a top-level navigation would
    :param partition_key: the top-level site of a partitioned cookie (CHIPS), e.g. ``"https://shop.example"``
    :param cross_site_ancestor: of a partitioned cookie: whether its frame had an ancestor of another site. Such a
        cookie isn't sent with a top-level navigation, and so not by a crawl
    :param created: UNIX time of the first cookie under this name, domain and path
    :param updated: UNIX time of the last change
    """

    model_config = ConfigDict(frozen=True)

    name: str
    value: str
    domain: str
    host_only: bool = True
    path: str = "/"
    expires: float | None = None
    secure: bool = False
    http_only: bool = False
    same_site: Literal["Strict", "Lax", "None"] | None = None
    partition_key: str | None = None
    cross_site_ancestor: bool = False
    created: float = 0.0
    updated: float = 0.0

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return _hidden(super().__repr_args__(), frozenset({"name", "domain", "path", "expires"}))


class Profile(BaseModel):
    """A named identity, one entry of ``SESSIONS_PROFILES``. A session gets it when it is created, and keeps it.

    ``headers`` are sent to every site, so they may contain no credential. ``proxy`` is a URL as in Scrapy's ``proxy``
    meta key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    user_agent: Annotated[str, AfterValidator(check_line)] | None = None
    language: Annotated[str, AfterValidator(check_line)] | None = None
    timezone: str | None = None
    viewport_width: Annotated[int, Field(gt=0)] | None = None
    viewport_height: Annotated[int, Field(gt=0)] | None = None
    headers: Annotated[dict[str, str], AfterValidator(_check_profile_headers)] = {}
    proxy: Annotated[str, AfterValidator(check_proxy)] | None = Field(default=None, repr=False)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, sorted(value) if name == "headers" else value


class Metrics(_Record):
    """The counters of a session. They only grow.

    :param requests: requests sent, including every redirect hop and retry
    :param responses: responses received, by status (``{"200": 12}``), without cached ones
    :param bytes: bytes received, after decoding of the transfer encoding
    :param latency: the sum of the download latencies, in seconds
    """

    requests: Count = 0
    responses: dict[Annotated[str, Field(pattern=r"^[0-9]+$")], Count] = {}
    logins: Count = 0
    failures: Count = 0
    bytes: Count = 0
    latency: Annotated[float, Field(ge=0)] = 0.0


class SiteLogin(TypedDict):
    """A login at one site.

    :param time: when, in UNIX seconds
    :param generation: the generation that it began
    :param hosts: where its requests went
    """

    time: float
    generation: int
    hosts: list[str]


class PersistentSession(_Record):
    """The record of a session: the data that is saved, listed and exported.

    Times are UNIX seconds (UTC), durations are seconds; a limit of 0 means no limit.

    :param headers: by origin (``"https://shop.example"``, ``"http://shop.example:8080"``); the key ``"*"`` has the
        profile's headers, which are sent to every origin
    :param actions_performed: ``"GET https://shop.example/p/1 200"``, the newest last, bounded by
        ``SESSIONS_HISTORY_LIMIT``; URLs in it, and ``last_url``, have the names of their query parameters, but the
        values only with ``SESSIONS_HISTORY_QUERY``
    :param data: JSON data of the spider
    :param logged_in: its logins, by the name of the site (``SessionConfig.site``)
    :param generation: grows at every login
    :param revision: grows at every save; 0: never saved
    """

    session_id: Annotated[str, AfterValidator(check_session_id)]
    namespace: str = "default"
    pool: str | None = None
    profile_name: str | None = None
    user_agent: str | None = None
    language: str | None = None
    timezone: str | None = None
    viewport_width: int | None = None
    viewport_height: int | None = None
    headers: dict[str, dict[str, str]] = {}
    proxy: str | None = None
    start_time: float = 0.0
    last_activity: float = 0.0
    pages_visited: Count = 0
    actions_performed: list[str] = []
    last_url: str | None = None
    cookies: list[Cookie] = []
    local_storage: dict[str, dict[str, str]] = {}
    session_storage: dict[str, dict[str, str]] = {}
    data: dict[str, JsonValue] = {}
    status: Status = "new"
    retired_reason: str | None = None
    logged_in: dict[str, SiteLogin] = {}
    idle_timeout: Annotated[float, Field(ge=0)] = 1800.0
    max_age: Annotated[float, Field(ge=0)] = 0.0
    max_uses: Count = 0
    generation: Count = 0
    revision: Count = 0
    metrics: Metrics = Metrics.model_construct()
    schema_version: int = SCHEMA_VERSION

    @property
    def expiry(self) -> tuple[float, ExpiryReason] | None:
        """The time when the session expires (UNIX seconds) and the limit by which it does; ``None``: never."""
        return expiry(self, self.metrics.requests)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        shown = frozenset({"session_id", "namespace", "pool", "status", "generation", "revision"})
        return _hidden(super().__repr_args__(), shown)


class _Limited(Protocol):
    start_time: float
    last_activity: float
    idle_timeout: float
    max_age: float
    max_uses: int


def expiry(session: _Limited, requests: int) -> tuple[float, ExpiryReason] | None:
    """Return when *session*, after so many *requests*, expires (UNIX seconds) and by which limit; ``None``: never."""
    found: tuple[float, ExpiryReason] | None = None
    if session.idle_timeout:
        found = (session.last_activity + session.idle_timeout, "idle_timeout")
    if session.max_age:
        aged: tuple[float, ExpiryReason] = (session.start_time + session.max_age, "max_age")
        found = aged if found is None else min(found, aged)
    if session.max_uses and requests >= session.max_uses:
        used: tuple[float, ExpiryReason] = (session.last_activity, "max_uses")
        found = used if found is None else min(found, used)
    return found


class SessionInfo(TypedDict):
    """A stored session without its record, as in a listing. Times are UNIX seconds (UTC)."""

    session_id: str
    namespace: str
    pool: str | None
    profile_name: str | None
    status: Status
    start_time: float
    last_activity: float
    pages_visited: int
    actions_count: int
    is_active: bool
    storage: str
