"""What a spider touches of a live session."""

from __future__ import annotations

import time
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from weakref import ref

from scrapy_sessions.exceptions import InvalidData, SessionError
from scrapy_sessions.models import check_proxy
from scrapy_sessions.sessions.json_data import copy_json
from scrapy_sessions.sessions.runtime import Fetch, SessionRuntime

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from scrapy import Request
    from scrapy.http import Response

    from scrapy_sessions.cookies import SessionCookieJar
    from scrapy_sessions.models import PersistentSession, Profile, Status
    from scrapy_sessions.sessions.headers import SessionHeaders


class BrowserSession:
    """A session in use: its identity, state and cookies. Changes are saved while the crawl runs.

    Spiders get it from ``self.sessions``, programs from a :class:`~scrapy_sessions.SessionManager`.
    ``BrowserSession("alice")`` creates one that no manager keeps yet, for
    :meth:`~scrapy_sessions.SessionManager.restore_session` and :meth:`~scrapy_sessions.SessionManager.save_session`.

    :param profile: the identity of a new session
    :param idle_timeout: seconds, as ``SESSIONS_IDLE_TIMEOUT``; likewise *max_age* and *max_uses*; 0: no limit
    :param clock: returns UNIX seconds

    Raises :exc:`~scrapy_sessions.exceptions.InvalidSessionId`.
    """

    __slots__ = ("__weakref__", "_runtime")

    def __init__(
        self,
        session_id: str,
        *,
        namespace: str = "default",
        pool: str | None = None,
        profile_name: str | None = None,
        profile: Profile | None = None,
        idle_timeout: float = 1800.0,
        max_age: float = 0.0,
        max_uses: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._attach(
            SessionRuntime(
                session_id,
                namespace=namespace,
                pool=pool,
                profile_name=profile_name,
                profile=profile,
                idle_timeout=idle_timeout,
                max_age=max_age,
                max_uses=max_uses,
                clock=clock,
            )
        )

    def _attach(self, runtime: SessionRuntime) -> None:
        self._runtime = runtime
        runtime.view = ref(self)

    # Identity

    @property
    def id(self) -> str:
        """The ``session_id``."""
        return self._runtime.id

    @property
    def namespace(self) -> str:
        """The namespace: the spider's name by default (``SESSIONS_NAMESPACE``)."""
        return self._runtime.namespace

    @property
    def pool(self) -> str | None:
        """The name of its pool."""
        return self._runtime.pool

    @property
    def profile_name(self) -> str | None:
        """The name of the profile that it was created with."""
        return self._runtime.profile_name

    @property
    def user_agent(self) -> str | None:
        """The ``User-Agent`` of its requests."""
        return self._runtime.user_agent

    @property
    def language(self) -> str | None:
        """The ``Accept-Language`` of its requests."""
        return self._runtime.language

    @property
    def timezone(self) -> str | None:
        """The time zone in a browser, an IANA name."""
        return self._runtime.timezone

    @property
    def viewport_width(self) -> int | None:
        """The width of a browser's window, in CSS pixels."""
        return self._runtime.viewport_width

    @property
    def viewport_height(self) -> int | None:
        """The height of a browser's window, in CSS pixels."""
        return self._runtime.viewport_height

    @property
    def proxy(self) -> str | None:
        """The URL of its proxy, credentials included. Settable; ``None``: no proxy.

        With ``proxy_lifetime`` in its profile, it is another one after that time, until it is set.
        Setting it raises :exc:`~scrapy_sessions.exceptions.InvalidData` for text that is no URL of a proxy.
        """
        return self._runtime.current_proxy()

    @proxy.setter
    def proxy(self, url: str | None) -> None:
        fault = ""
        try:
            if url is not None:
                check_proxy(url)
        except ValueError as error:
            fault = str(error)
        if fault:
            raise InvalidData(f"The proxy of the session {self.id!r} can't be set: {fault}")
        self._runtime.set_proxy(url)
        self._runtime.changed()

    @property
    def meta(self) -> dict[str, Any]:
        """The keys of its profile for the meta of its requests, in a copy."""
        return copy_json(self._runtime.meta)

    # State

    @property
    def status(self) -> Status:
        """``"new"``: not used, or not logged in; ``"ready"``; ``"retired"``: out of use for good."""
        return self._runtime.status

    @property
    def retired_reason(self) -> str | None:
        """Why it was retired."""
        return self._runtime.retired_reason

    @property
    def generation(self) -> int:
        """How many logins, or calls of :meth:`new_generation`, it has seen."""
        return self._runtime.generation

    @property
    def start_time(self) -> float:
        """When it was created, in UNIX seconds."""
        return self._runtime.start_time

    @property
    def last_activity(self) -> float:
        """When its latest request left or response came, in UNIX seconds."""
        return self._runtime.last_activity

    @property
    def last_url(self) -> str | None:
        """The URL of its latest page, without the values of its query unless ``SESSIONS_HISTORY_QUERY`` is set."""
        return self._runtime.last_url

    @property
    def pages_visited(self) -> int:
        """How many pages it got: responses that are neither redirects, nor cached, nor followed by another try."""
        return self._runtime.pages_visited

    @property
    def actions(self) -> list[str]:
        """What it did, oldest first: ``"GET https://shop.example/p/1 200"``, and what :meth:`record` added.

        URLs in it have the names of their query parameters, not the values, unless ``SESSIONS_HISTORY_QUERY`` is set.
        """
        return self._runtime.history.texts()

    # Cookies, headers, data

    @property
    def cookies(self) -> SessionCookieJar:
        """The cookie jar."""
        # Whoever holds the jar holds the session, so that it is not loaded a second time.
        jar = self._runtime.jar
        jar.keeps_alive = self._runtime
        return jar

    @property
    def headers(self) -> SessionHeaders:
        """The secret headers, each bound to one origin."""
        headers = self._runtime.bound_headers
        headers.keeps_alive = self._runtime
        return headers

    @property
    def data(self) -> dict[str, Any]:
        """The spider's own JSON data, saved with the session. Change it as you like, in place too.

        Setting a key to a value that can't be saved raises :exc:`~scrapy_sessions.exceptions.InvalidData`: objects that
        aren't JSON, infinity and NaN, more than 100 levels, 640 digits of an integer, or 64 MiB. What is changed deeper
        inside is checked when the session is saved: the ``data`` is then saved as it was, which is logged.
        """
        return self._runtime.watched_data().current["data"]

    @property
    def local_storage(self) -> dict[str, dict[str, str]]:
        """The browser's ``localStorage`` by origin."""
        return self._runtime.watched_data().current["local_storage"]

    @property
    def session_storage(self) -> dict[str, dict[str, str]]:
        """The browser's ``sessionStorage`` by origin."""
        return self._runtime.watched_data().current["session_storage"]

    @property
    def indexed_db(self) -> dict[str, list[Any]]:
        """The browser's IndexedDB by origin: lists of databases, as in Playwright's ``storage_state()``."""
        return self._runtime.watched_data().current["indexed_db"]

    # What a spider does with it

    def record(self, text: str) -> None:
        """Add *text* to :attr:`actions`, its URLs without values."""
        self._runtime.record(text)

    async def fetch(self, request: Request) -> Response:
        """Download *request* in this session, through the downloader middlewares, and return the response.

        For errbacks and pipelines, whose output passes no spider middleware. Redirects are followed. Raises what the
        download raises, and :exc:`~scrapy_sessions.exceptions.SessionError` if no spider is running.
        """
        owner = self._runtime.owner
        if owner is None:
            raise SessionError(f"The session {self.id!r} belongs to no crawl: fetch() needs a running spider")
        return await owner.fetch(self._runtime, request)

    def alone(self) -> AbstractAsyncContextManager[Fetch]:
        """Return an async context within which no other request of the session is in flight.

        For steps that must follow each other, such as a form and its single-use token. It waits until the requests in
        flight have ended; the others wait until it is left. Login requests are not held back.

        .. code-block:: python

            async with session.alone() as fetch:
                form = await fetch(Request("https://shop.example/form"))
                await fetch(form2request(form.css("form"), {"amount": "1"}).to_scrapy(callback=None))

        Within the block :meth:`fetch` of this session is the same function. Raises
        :exc:`~scrapy_sessions.exceptions.SessionError` if no spider is running, and for a block within a block.
        """
        owner = self._runtime.owner
        if owner is None:
            raise SessionError(f"The session {self.id!r} belongs to no crawl: alone() needs a running spider")
        return owner.alone(self._runtime)

    def retire(self, reason: str) -> None:
        """Take the session out of use for good: no further request is sent in it. Its record stays, with *reason*.

        In a pool of anonymous sessions another takes its place. A session that is retired already keeps its reason.
        """
        self._runtime.retire(reason)

    def new_generation(self) -> None:
        """Begin a new generation, after a login by hand for example.

        Responses to requests that left before change neither its cookies nor its counters any more.
        """
        self._runtime.new_generation()

    def snapshot(self) -> PersistentSession:
        """Return the record of the session as it is now, a copy."""
        return self._runtime.snapshot()

    def __repr__(self) -> str:
        return f"<BrowserSession {self.id!r} of {self.namespace!r}: {self.status}, {len(self._runtime.jar)} cookies>"


runtime_of: Callable[[BrowserSession], SessionRuntime] = attrgetter("_runtime")
"""Return the live session behind a :class:`BrowserSession`."""


def view_of(runtime: SessionRuntime) -> BrowserSession:
    """Return the :class:`BrowserSession` of *runtime*: the same object as long as somebody holds it."""
    view: BrowserSession | None = runtime.view() if runtime.view is not None else None
    if view is None:
        view = BrowserSession.__new__(BrowserSession)
        view._attach(runtime)  # noqa: SLF001  # a constructor of its own
    return view
