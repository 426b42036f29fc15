"""How a site treats sessions: how to log in, and what a response means for its session."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from enum import Enum
from functools import cached_property, lru_cache
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from scrapy_sessions.cookies.hosts import canonical_host, site_of
from scrapy_sessions.exceptions import SessionConfigurationError
from scrapy_sessions.models import check_header
from scrapy_sessions.sessions.browser_session import BrowserSession, runtime_of
from scrapy_sessions.sessions.headers import origin_of
from scrapy_sessions.settings import SessionsSettings

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response, TextResponse

    # typing.Self requires Python 3.11
    from typing_extensions import Self
    from url_matcher import Patterns, URLMatcher


__all__ = [
    "PROXY_REFUSES",
    "Fetch",
    "SessionConfig",
    "Verdict",
    "check_login",
    "is_config",
    "registered_config",
    "session_config",
]

Fetch = Callable[["Request"], Awaitable["TextResponse"]]
"""``response = await fetch(request)``, as :meth:`SessionConfig.login` gets it.

The type says ``TextResponse``, as the pages of a login are text: a type checker then accepts ``response.json()`` and
``response.css("form")``. A response of another kind, such as an image, is a plain ``Response``.
"""
_Config = TypeVar("_Config", bound="type[SessionConfig]")

PROXY_REFUSES = 407
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Verdict(Enum):
    """What one response looks like. What follows depends on whose fault it is: see :doc:`/explanation/verdicts`."""

    OK = "ok"
    """A good response."""
    SUSPECT = "suspect"
    """The request was refused, for the session's or for the page's sake."""
    EXPIRED = "expired"
    """The site doesn't accept the session's login any more."""
    BLOCKED = "blocked"
    """The site has banned the session."""


class SessionConfig:
    """How one site treats sessions. Override what differs from the defaults, which decide by the status of a response.

    The spider's ``session_config`` is used first, then a class registered for the URL with :func:`session_config`,
    then ``SESSIONS_CONFIG``, then this class. One object of each class serves the whole crawl.

    .. code-block:: python

        class Shop(SessionConfig):
            login_url = "https://shop.example/login"

            async def login(self, session, fetch):
                form = await fetch(Request(self.login_url))
                token = form.css("[name=csrf]::attr(value)").get()
                password = self.crawler.settings["SHOP_PASSWORDS"][session.id]
                data = {"csrf": token, "user": session.id, "password": password}
                await fetch(FormRequest(self.login_url, formdata=data))
    """

    login_url: str = ""
    """A redirect to this URL means that the login is lost; its query is ignored. Relative to the URL that redirects."""

    probe_url: str = ""
    """A page that only a logged-in session gets, asked for to find out whether a session is still logged in: a refused
    one, and each that ``scrapy sessions check`` looks at. It may be relative to :attr:`login_url`. Empty: such a
    page is found by itself, if there is one."""

    def __init__(self, crawler: Crawler) -> None:
        self.crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    @cached_property
    def settings(self) -> SessionsSettings:
        """The ``SESSIONS_*`` settings in force."""
        return SessionsSettings.from_settings(self.crawler.settings)

    @cached_property
    def remarkable_statuses(self) -> frozenset[int]:
        """The statuses that can have a verdict other than OK."""
        settings = self.settings
        listed = {*settings.expired_statuses, *settings.suspect_statuses, *settings.blocked_statuses}
        return frozenset(listed | _REDIRECTS | {PROXY_REFUSES})

    @cached_property
    def site(self) -> str:
        """The name of the site, under which a session keeps its login: the first URL pattern that the class is
        registered for, else the registrable domain of :attr:`login_url`, else empty."""
        patterns = self._patterns
        if patterns:
            return patterns[0]
        return next(iter(self._domains_of([self.login_url])), "")

    @cached_property
    def domains(self) -> frozenset[str]:
        """The registrable domains that belong to the site, as far as the class itself says."""
        patterns = [f"//{pattern.rpartition('//')[2]}" for pattern in self._patterns]
        return self._domains_of([*patterns, self.login_url, self.probe_url])

    @property
    def _patterns(self) -> list[str]:
        registered = _registered.get(type(self))
        return [] if registered is None else list(registered.include)

    @staticmethod
    def _domains_of(urls: list[str]) -> frozenset[str]:
        hosts = (urlsplit(url).hostname for url in urls)
        return frozenset(site_of(canonical_host(host) or host) for host in hosts if host)

    @cached_property
    def can_log_in(self) -> bool:
        """Whether :meth:`login` is overridden."""
        return type(self).login is not SessionConfig.login

    @cached_property
    def reads_body(self) -> bool:
        """Whether :meth:`check` is overridden: it then gets a decoded body."""
        return type(self).check is not SessionConfig.check

    @cached_property
    def sets_pace(self) -> bool:
        """Whether :meth:`delay` is overridden."""
        return type(self).delay is not SessionConfig.delay

    @cached_property
    def changes_requests(self) -> bool:
        """Whether :meth:`process_request` is overridden."""
        return type(self).process_request is not SessionConfig.process_request

    def pool(self, request: Request) -> str | None:
        """Return the name of the pool that *request* draws from; ``None``: the default pool.

        Called for requests without a session key only: ``session_id``, ``session_pool`` and ``cookiejar`` in the meta
        win, and so does ``SESSIONS_DEFAULT_ID``.

        .. code-block:: python

            def pool(self, request):
                return "staff" if "/admin/" in request.url else None
        """
        return None

    async def login(self, session: BrowserSession, fetch: Fetch) -> Verdict | bool | None:
        """Log *session* in. Called once for a new or expired session, however many requests wait for it.

        ``response = await fetch(request)`` sends any number of requests in the session. Redirects are followed,
        robots.txt and delays are obeyed, the HTTP cache is bypassed; the responses get no verdict. Tasks that the login
        starts, such as those of ``asyncio.gather()``, use *fetch*, too: there, ``session.fetch()`` waits for the login.
        The result is saved at once, before the requests that wait are sent.

        A login fails if it raises, or returns ``False`` or a verdict other than OK. It is tried again, up to
        ``SESSIONS_LOGIN_ATTEMPTS`` times; ``BLOCKED`` ends the attempts at once.

        .. code-block:: python

            async def login(self, session, fetch):
                page = await fetch(FormRequest(self.login_url, formdata={"user": session.id, "password": "..."}))
                return not page.css("form#login")
        """
        raise NotImplementedError

    def renew_at(self, session: BrowserSession) -> float | None:
        """Return when *session* is to be logged in again, in UNIX seconds; ``None``: when the site has forgotten it.

        Called after each :meth:`login`; not a coroutine function. From that moment on, requests wait until
        :meth:`login` has renewed the login. A moment less than a second ahead is ignored, with a warning.

        .. code-block:: python

            def renew_at(self, session):
                return session.data["token_expires"] - 60
        """
        return None

    # Any: an override may be a coroutine function, and one that isn't can still return what super().check() returns.
    def check(self, response: Response, request: Request) -> Verdict | Any:
        """Return the verdict for *response*. Override it to look at the page itself; it may be a coroutine function.

        It gets every response of a session as the site sent it, decompressed: redirects, too, and before a retry.
        Responses to login requests and from the HTTP cache are not checked. The default uses
        ``SESSIONS_BLOCKED_STATUSES`` (anonymous sessions only), then ``SESSIONS_EXPIRED_STATUSES`` and a redirect to
        :attr:`login_url`, then ``SESSIONS_SUSPECT_STATUSES``.

        :exc:`~scrapy.exceptions.CloseSpider` closes the spider. Any other exception is logged, and means OK.

        .. code-block:: python

            def check(self, response, request):
                if response.css("form#login"):
                    return Verdict.EXPIRED
                return super().check(response, request)
        """
        status = response.status
        if self.was_redirected_to_login(response, request):
            return Verdict.EXPIRED
        if status not in self.remarkable_statuses:
            return Verdict.OK
        settings = self.settings
        blocked = status in settings.blocked_statuses
        if blocked and self._is_anonymous(request):
            return Verdict.BLOCKED  # before the others: no status is listed by default
        if status in settings.expired_statuses or (status in _REDIRECTS and self.redirects_to_login(response)):
            return Verdict.EXPIRED
        # A status alone never retires a named session, whatever an override returns for it.
        if blocked or status in settings.suspect_statuses or status == PROXY_REFUSES:
            return Verdict.SUSPECT
        return Verdict.OK

    def _is_anonymous(self, request: Request) -> bool:
        pool: str | None = request.meta.get("session_pool")
        if pool is None:
            return False
        options = self.settings.pools.get(pool)
        return options is None or options.sessions is None

    def redirects_to_login(self, response: Response) -> bool:
        """Whether *response* redirects to :attr:`login_url`, compared as a browser would see it.

        These make no difference: the query, ``;jsessionid=…``, a default port, the case of the host, a slash at the
        end, percent-encoding of unreserved characters. A malformed ``Location`` is another URL.
        """
        location = response.headers.get("Location")
        if location is None:
            return False
        try:
            return self.is_login_page(urljoin(response.url, location.decode("latin-1").strip()))
        except ValueError:
            return False

    def was_redirected_to_login(self, response: Response, request: Request) -> bool:
        """Whether the download handler itself followed a redirect to :attr:`login_url`, as a browser does."""
        if response.url == request.url:
            return False
        return self.is_login_page(response.url) and not self.is_login_page(request.url)

    def is_login_page(self, url: str) -> bool:
        """Whether *url* is :attr:`login_url`. Raises :exc:`ValueError` for one that is malformed."""
        return bool(self.login_url) and _comparable(url) == _comparable(urljoin(url, self.login_url))

    def process_request(self, request: Request, session: BrowserSession) -> None:
        """Change *request* before it is sent in *session*.

        Called after the session's identity was applied, and again for each retry and redirect; headers that it sets
        replace those of the request and of the session, and are removed from the request when its response has come.
        Not a place for ``Cookie``: that header is written later, from the jar.

        It gets requests to every host that the session is used for: set a secret with :meth:`bind_header`.

        .. code-block:: python

            def process_request(self, request, session):
                if request.method == "POST":
                    self.bind_header(request, "X-CSRF-Token", session.data["csrf"])
        """

    def bind_header(self, request: Request, name: str, value: str, *, url: str | None = None) -> bool:
        """Set a secret header of *request* in :meth:`process_request`, if it goes to the origin of *url*.

        The origin is scheme, host and port, as for ``session.headers``. After a redirect to another one, the header is
        not sent. A request to a browser (``playwright``) doesn't get it either: scrapy-playwright sends the headers of
        a request to every site that the page loads.

        :param url: by default :attr:`login_url`
        :return: whether the header was set

        Raises :exc:`ValueError` for a header that is not valid, and
        :exc:`~scrapy_sessions.exceptions.SessionConfigurationError` without a *url* that has a scheme and a host.

        .. code-block:: python

            def process_request(self, request, session):
                self.bind_header(request, "X-Api-Key", self.key, url="https://api.shop.example")
        """
        check_header(name, value)
        try:
            origin = origin_of(self.login_url if url is None else url)
        except ValueError:
            raise SessionConfigurationError(
                f"{type(self).__qualname__}.bind_header() needs a login_url, or url=…, with a scheme and a host"
            ) from None
        if request.meta.get("playwright") or origin_of(request.url) != origin:
            return False
        request.headers[name] = value
        return True

    def delay(self, session: BrowserSession) -> float:
        """Return the seconds from a request of *session* to its next one.

        Overridden, it replaces ``SESSIONS_DELAY`` and the ``delay`` of the session's pool, which the default returns.
        ``DOWNLOAD_DELAY``, the delay of the site, holds in any case, and so do pauses that a site asks for.

        .. code-block:: python

            def delay(self, session):
                return random.uniform(2, 5)
        """
        own = runtime_of(session).delay
        return self.settings.delay if own is None else own


def _comparable(url: str) -> tuple[object, ...]:
    """Return the parts of *url* by which a login is recognised. Raises :exc:`ValueError` for one that is malformed."""
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme)
    path = re.sub(_UNRESERVED, lambda match: chr(int(match[1], 16)), re.sub(_SESSION_ID, "", parts.path))
    return parts.scheme, parts.username, parts.password, parts.hostname, port, path.rstrip("/")


_PORTS = {"http": 80, "https": 443}
_SESSION_ID = r"(?i);jsessionid=[^/;]*"
_UNRESERVED = r"(?i)%(2[de]|3\d|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])"  # RFC 3986, section 2.3

_registered: dict[type[SessionConfig], Patterns] = {}


@lru_cache(maxsize=16)  # a crawl meets few ports
def _matcher(scheme: str, port: int | None) -> URLMatcher:
    """Return the matcher for URLs with *port*, ``None``: the default one. A pattern without a port fits them all."""
    # Imported when a class is registered only: it loads the list of public suffixes.
    from url_matcher import Patterns, URLMatcher  # noqa: PLC0415

    def with_port(patterns: Iterable[str]) -> list[str]:
        return [re.sub(_PATTERN, lambda m: f"{m[1] or scheme + '://'}{m[2]}:{port}", pattern) for pattern in patterns]

    if port is None or port == _PORTS.get(scheme):
        return URLMatcher(_registered)
    return URLMatcher(
        {
            cls: Patterns(with_port(patterns.include), with_port(patterns.exclude), patterns.priority)
            for cls, patterns in _registered.items()
        }
    )


_PATTERN = r"^([a-zA-Z][a-zA-Z0-9.+-]*://)?(\[[^\]]*\]|[^/?#:\[]+)(?![^/?#])"
"""The start of a pattern that names a host and no port."""


def session_config(
    include: str | list[str], *, exclude: str | list[str] | None = None, priority: int = 500
) -> Callable[[_Config], _Config]:
    """Register a :class:`SessionConfig` for URLs that fit the patterns of *include* and none of *exclude*.

    Patterns are those of the library ``url-matcher``: ``"shop.example"``, ``"shop.example/account"``. One without a
    port fits every port. The highest *priority* wins, then the most specific pattern.

    .. code-block:: python

        @session_config("shop.example")
        class Shop(SessionConfig): ...
    """

    def register(cls: _Config) -> _Config:
        if not is_config(cls):
            raise SessionConfigurationError(f"@session_config: {cls!r} is not a subclass of SessionConfig")
        check_login(cls)
        from url_matcher import Patterns, URLMatcher  # noqa: PLC0415  # as above

        patterns = Patterns(_listed(include), _listed(exclude or []), priority=priority)
        URLMatcher({cls: patterns})  # raises for a pattern without a host
        _registered[cls] = patterns
        _matcher.cache_clear()
        _registered_for.cache_clear()
        return cls

    return register


def registered_configs() -> list[type[SessionConfig]]:
    """Return all classes that are registered."""
    return list(_registered)


def registered_config(url: str) -> type[SessionConfig] | None:
    """Return the class that is registered for *url*, if any."""
    return _registered_for(url) if _registered else None


@lru_cache(maxsize=4096)
def _registered_for(url: str) -> type[SessionConfig] | None:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:  # the request will fail with it
        port = None
    found: type[SessionConfig] | None = _matcher(parts.scheme, port).match(url)
    return found


def is_config(value: object) -> bool:
    """Whether *value* is a subclass of :class:`SessionConfig`."""
    return isinstance(value, type) and issubclass(value, SessionConfig)


def check_login(config: SessionConfig | type[SessionConfig]) -> None:
    """Raise :exc:`~scrapy_sessions.exceptions.SessionConfigurationError` for a ``login()`` that is no coroutine."""
    if not iscoroutinefunction(config.login):
        name = (config if isinstance(config, type) else type(config)).__qualname__
        raise SessionConfigurationError(f"{name}.login() must be a coroutine function: write 'async def login'")


def _listed(patterns: str | list[str]) -> list[Any]:
    return [patterns] if isinstance(patterns, str) else list(patterns)
