"""The records: plain data with a schema version."""

# Without "from __future__ import annotations": pydantic would evaluate each annotation at the start of a crawl.

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator
from typing_extensions import NotRequired, TypedDict

from scrapy_sessions.durations import in_seconds
from scrapy_sessions.exceptions import InvalidSessionId
from scrapy_sessions.json_limits import MAX_COUNT
from scrapy_sessions.request_meta import check_meta

__all__ = [
    "BUDGET_WINDOWS",
    "EVERYWHERE",
    "PROXY_TOKEN",
    "SCHEMA_VERSION",
    "Cookie",
    "ExpiryReason",
    "Metrics",
    "PersistentSession",
    "Profile",
    "ProxyRotation",
    "SessionInfo",
    "SiteLogin",
    "Status",
    "Window",
    "budget_end",
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

PROXY_TOKEN = "{token}"  # noqa: S105  # a placeholder
"""In the proxy of a profile: replaced by random letters and digits of each session."""

Status = Literal["new", "ready", "retired"]
ExpiryReason = Literal["idle_timeout", "max_age", "max_uses"]

_MAX_ID_LENGTH = 255
_CREDENTIAL_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_HEADER_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # token, RFC 9110 section 5.6.2
_MESSAGE_HEADERS = frozenset({"connection", "content-length", "host", "transfer-encoding"})

FORBIDDEN_CHARACTER = r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]"
"""A regular expression of the characters that neither a header nor a cookie may contain."""


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
    if not re.fullmatch(_HEADER_NAME, name):
        raise ValueError(f"{name!r} is not a header name (RFC 9110, section 5.1)")
    if re.search(FORBIDDEN_CHARACTER, value):
        raise ValueError(f"the value of the header {name!r} contains control characters")


def check_no_message_header(name: str) -> None:
    """Raise :exc:`ValueError` if *name* is a header that each request sets itself."""
    if name.lower() in _MESSAGE_HEADERS:
        raise ValueError(f"{name!r} belongs to a single request, which sets it itself, not to an identity")


def _check_profile_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        check_header(name, value)
        if name.lower() in _CREDENTIAL_HEADERS:
            raise ValueError(
                f"{name!r} is a credential, and a profile's headers are sent to every site: set it on the session, "
                f"bound to its origin, with session.headers.set()"
            )
        check_no_message_header(name)
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
    if fault or re.search(FORBIDDEN_CHARACTER, proxy):
        raise ValueError(fault or "control characters are not allowed in a proxy's URL")
    return proxy


def check_line(value: str) -> str:
    """Return *value* if it can be the value of a header, else raise :exc:`ValueError`."""
    if re.search(FORBIDDEN_CHARACTER, value):
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
    meta key; each new session has eight random characters of its own in place of ``{token}`` in it, and other ones
    after each ``proxy_lifetime`` (seconds; 0: always the same). ``meta`` contains keys for the meta of every request,
    with JSON values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    user_agent: Annotated[str, AfterValidator(check_line)] | None = None
    language: Annotated[str, AfterValidator(check_line)] | None = None
    timezone: str | None = None
    viewport_width: Annotated[int, Field(gt=0)] | None = None
    viewport_height: Annotated[int, Field(gt=0)] | None = None
    headers: Annotated[dict[str, str], AfterValidator(_check_profile_headers)] = {}
    proxy: Annotated[str, AfterValidator(check_proxy)] | None = Field(default=None, repr=False)
    proxy_lifetime: Annotated[float, BeforeValidator(in_seconds), Field(ge=0, allow_inf_nan=False)] = 0.0
    meta: Annotated[dict[str, Any], AfterValidator(check_meta)] = {}

    @model_validator(mode="after")
    def _lifetime_of_a_token(self) -> "Profile":
        if self.proxy_lifetime and PROXY_TOKEN not in (self.proxy or ""):
            raise ValueError(
                f"'proxy_lifetime' needs {PROXY_TOKEN} in 'proxy', the part that is drawn anew, as in "
                f"'http://customer-session-{PROXY_TOKEN}:password@proxy.example:8000'"
            )
        if 0 < self.proxy_lifetime < 1:
            raise ValueError("'proxy_lifetime' must be at least one second, or 0: as long as the session")
        return self

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, sorted(value) if name in {"headers", "meta"} else value


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


class Window(NamedTuple):
    """The time within which a budget bounds the requests: the last *length* seconds, counted by slots of *step*."""

    length: int
    step: int


BUDGET_WINDOWS: Mapping[str, Window] = MappingProxyType({"per_hour": Window(3600, 300), "per_day": Window(86400, 3600)})
"""The windows of ``SESSIONS_BUDGET``. A slot counts as long as any moment of it is within the window."""


def budget_end(limits: Mapping[str, int], used: Mapping[str, Mapping[int, int]]) -> float | None:
    """Return from when on a session may send again (UNIX seconds), perhaps past; ``None``: it is within its budget.

    :param limits: by the name of their window
    :param used: how many requests were sent, by window and slot
    """
    ends: list[float] = []
    for name, window in BUDGET_WINDOWS.items():
        limit, slots = limits.get(name, 0), used.get(name, {})
        left = limit
        for slot in sorted(slots, reverse=True) if limit else ():
            left -= slots[slot]
            if left <= 0:  # when this slot has left the window, there are fewer than the limit
                ends.append((slot + 1) * window.step + window.length)
                break
    return max(ends, default=None)


class SiteLogin(TypedDict):
    """A login at one site.

    :param time: when, in UNIX seconds
    :param generation: the generation that it began
    :param hosts: where its requests went
    :param renew_at: when it is to be renewed, in UNIX seconds; without it, when the site has forgotten it
    """

    time: float
    generation: int
    hosts: list[str]
    renew_at: NotRequired[float]


class ProxyRotation(TypedDict):
    """How the proxy of a session changes.

    :param template: the URL of its profile's proxy, with ``{token}``
    :param seed: what the tokens are derived from
    :param lifetime: after how many seconds another token is used
    :param since: when the first one was used, in UNIX seconds
    """

    template: str
    seed: str
    lifetime: Annotated[float, Field(ge=1, allow_inf_nan=False)]
    since: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PersistentSession(_Record):
    """The record of a session: the data that is saved, listed and exported.

    Times are UNIX seconds (UTC), durations are seconds; a limit of 0 means no limit.

    :param headers: by origin (``"https://shop.example"``, ``"http://shop.example:8080"``); the key ``"*"`` has the
        profile's headers, which are sent to every origin
    :param proxy: with a ``proxy_rotation``, the one at the time of the save
    :param proxy_rotation: how its proxy changes, if its profile has a ``proxy_lifetime``. It is ignored if ``proxy`` is
        not made of its template
    :param meta: the keys of its profile for the meta of its requests
    :param actions_performed: ``"GET https://shop.example/p/1 200"``, the newest last, bounded by
        ``SESSIONS_HISTORY_LIMIT``; URLs in it, and ``last_url``, have the names of their query parameters, but the
        values only with ``SESSIONS_HISTORY_QUERY``
    :param local_storage: of a browser, by origin, like the other storages
    :param indexed_db: by origin, a list of databases as in Playwright's ``storage_state(indexed_db=True)``
    :param data: JSON data of the spider
    :param logged_in: its logins, by the name of the site (``SessionConfig.site``)
    :param budget: how many requests it may send, by window, as ``SESSIONS_BUDGET``
    :param budget_used: how many requests of its budget it has sent: by window, and by the number of the slot, which is
        five minutes (``per_hour``) or an hour (``per_day``) since 1970; ``None``: it has no budget
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
    proxy_rotation: ProxyRotation | None = None
    meta: dict[str, JsonValue] = {}
    start_time: float = 0.0
    last_activity: float = 0.0
    pages_visited: Count = 0
    actions_performed: list[str] = []
    last_url: str | None = None
    cookies: list[Cookie] = []
    local_storage: dict[str, dict[str, str]] = {}
    session_storage: dict[str, dict[str, str]] = {}
    indexed_db: dict[str, list[JsonValue]] = {}
    data: dict[str, JsonValue] = {}
    status: Status = "new"
    retired_reason: str | None = None
    logged_in: dict[str, SiteLogin] = {}
    idle_timeout: Annotated[float, Field(ge=0)] = 1800.0
    max_age: Annotated[float, Field(ge=0)] = 0.0
    max_uses: Count = 0
    budget: dict[str, Count] = {}
    budget_used: dict[str, dict[Annotated[str, Field(pattern=r"^[0-9]{1,12}$")], Count]] | None = None
    generation: Count = 0
    revision: Count = 0
    metrics: Metrics = Metrics.model_construct()
    schema_version: int = SCHEMA_VERSION

    @property
    def expiry(self) -> tuple[float, ExpiryReason] | None:
        """The time when the session expires (UNIX seconds) and the limit by which it does; ``None``: never."""
        return expiry(self, self.metrics.requests)

    @property
    def rests_until(self) -> float | None:
        """Until when its budget is used up (UNIX seconds), which may be past; ``None``: it isn't."""
        used = {name: {int(slot): n for slot, n in slots.items()} for name, slots in (self.budget_used or {}).items()}
        return budget_end(self.budget, used)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        shown = frozenset({"session_id", "namespace", "pool", "status", "generation", "revision"})
        return _hidden(super().__repr_args__(), shown)


class _Limited(Protocol):
    start_time: float
    last_activity: float
    idle_timeout: float
    max_age: float
    max_uses: int

    @property
    def rests_until(self) -> float | None: ...


def expiry(session: _Limited, requests: int) -> tuple[float, ExpiryReason] | None:
    """Return when *session*, after so many *requests*, expires (UNIX seconds) and by which limit; ``None``: never."""
    found: tuple[float, ExpiryReason] | None = None
    if session.idle_timeout:
        # One that waits for its budget isn't idle: else it would begin anew, and be counted from 0.
        active, rests_until = session.last_activity, session.rests_until
        if rests_until is not None and rests_until > active:
            active = rests_until
        found = (active + session.idle_timeout, "idle_timeout")
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
