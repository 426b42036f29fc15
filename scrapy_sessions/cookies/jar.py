"""The live cookie jar of a session."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple, NoReturn
from urllib.parse import ParseResult, SplitResult

from pydantic import ValidationError

from scrapy_sessions.cookies.hosts import canonical_host
from scrapy_sessions.cookies.index import CookieIndex
from scrapy_sessions.cookies.parse import SameSite
from scrapy_sessions.cookies.reasons import refused
from scrapy_sessions.cookies.rules import Origin, accept, check, hides
from scrapy_sessions.cookies.stored import StoredCookie, encode_entries, encode_entry
from scrapy_sessions.exceptions import CookieConflict, InvalidCookie
from scrapy_sessions.models import Cookie

__all__ = ["SessionCookieJar"]

_creation_order = attrgetter("created", "seq")


class _Encoded(NamedTuple):
    """The cookies as JSON, as they are from *since* until before *until* (UNIX seconds)."""

    since: float
    until: float
    cookies: bytes


class SessionCookieJar:
    """The cookies of one session: what sites set, what requests send, and what a spider reads and edits.

    RFC 6265bis, and Scrapy's semantics wherever that leaves room. At most 180 cookies of one domain, and 3,000 in all:
    beyond, expired ones leave first, then the least recently sent or set. For one thread; no call does I/O. Times are
    UNIX seconds. Wherever a domain is asked for, ``shop.example`` and ``.shop.example`` name the same one.

    :param clock: what time it is
    :param on_change: called after content changed in a way worth saving, once a call; not for a mere use of a cookie,
        and not by :meth:`restore`
    :param on_refused: called with a key of :data:`~scrapy_sessions.cookies.REFUSAL_REASONS` for every cookie that was
        refused or evicted; methods that raise don't call it

    >>> jar = SessionCookieJar()
    >>> jar.set("sid", "31d4d96e", domain="shop.example", secure=True)
    >>> jar["sid"]
    '31d4d96e'
    """

    __slots__ = ("_clock", "_content", "_encoded", "_on_change", "_on_refused", "_replaced", "_version")

    def __init__(
        self,
        cookies: Iterable[Cookie] = (),
        *,
        clock: Callable[[], float] = time.time,
        on_change: Callable[[], None] | None = None,
        on_refused: Callable[[str], None] | None = None,
    ) -> None:
        self._clock = clock
        self._on_change = on_change
        self._on_refused = on_refused
        self._content = CookieIndex()
        self._version = 0
        self._encoded: _Encoded | None = None  # None: to be worked out anew
        self._replaced: tuple[StoredCookie, StoredCookie] | None = (
            None  # the one cookie that is another since, and what it was
        )
        self.restore(cookies)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} cookies>"

    @property
    def version(self) -> int:
        """A number that grows with every change of content: equal numbers, equal content."""
        return self._version

    # -- requests and responses

    def header(self, url: SplitResult | ParseResult) -> bytes | None:
        """Return the value of the ``Cookie`` header for a request to *url*, ``None`` if no cookie goes there."""
        return self._content.header(url, self._clock())

    def store(self, headers: Iterable[bytes | str], url: SplitResult | ParseResult, *, explicit: bool = False) -> None:
        """Take in the ``Set-Cookie`` *headers* of a response from *url*. Never raises for what they hold.

        What is refused costs that cookie only, and is told to ``on_refused``.

        :param explicit: the cookies are the user's own, given with a request to *url*: whether the connection is
            encrypted doesn't matter to them, everything else does
        """
        origin: Origin | None = None
        now = 0.0
        changed = False
        for header in headers:
            if origin is None:
                origin = Origin.of(url)
                if origin is None:
                    return
                now = self._clock()
            try:
                entry = accept(header, url, origin, now, explicit)
                if not (origin.secure or explicit) and self._hides_secure(entry, now):
                    raise refused("secure_overwrite")
            except InvalidCookie as error:
                self._refuse(error.reason)
            else:
                changed |= self._put(entry, now)
        if changed:
            self._changed()

    def _hides_secure(self, new: StoredCookie, now: float) -> bool:
        return any(hides(new, old) and not old.is_expired(now) for old in self._content.akin(new.name, new.domain))

    # -- reading

    def __getitem__(self, name: str) -> str:
        """Return the value of the cookie *name*.

        Raises :exc:`KeyError` if there is none, and :exc:`~scrapy_sessions.exceptions.CookieConflict` if there are
        several with different values.
        """
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def get(
        self, name: str, default: str | None = None, *, domain: str | None = None, path: str | None = None
    ) -> str | None:
        """Return the value of the cookie *name*, of exactly this *domain* and *path* if given, else *default*.

        Raises :exc:`~scrapy_sessions.exceptions.CookieConflict` if several with different values fit.
        """
        found = self._find(name, domain, path)
        if len({entry.value for entry in found}) > 1:
            places = ", ".join(sorted({f"{entry.domain}{entry.path}" for entry in found}))
            raise CookieConflict(
                f"Several cookies named {name!r} with different values fit ({places}): name one with "
                f"get({name!r}, domain=…, path=…)"
            )
        return found[0].value if found else default

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._find(name, None, None))

    def __len__(self) -> int:
        return len(self._content.live(self._clock()))

    def __iter__(self) -> Iterator[Cookie]:
        """Iterate over the unexpired cookies as they are now, in the order of their creation."""
        return iter(self.dump())

    # -- editing

    def set(
        self,
        name: str,
        value: str,
        *,
        domain: str,
        path: str = "/",
        host_only: bool | None = None,
        expires: float | None = None,
        secure: bool = False,
        http_only: bool = False,
        same_site: SameSite | None = None,
        partition_key: str | None = None,
    ) -> None:
        """Set a cookie. One that has expired already deletes the one it would replace.

        :param host_only: by default False for a *domain* with a leading dot, else True: this host alone

        Raises :exc:`~scrapy_sessions.exceptions.InvalidCookie` for what a site couldn't set either.
        """
        if host_only is None:
            host_only = not domain.startswith(".")
        try:
            cookie = Cookie(
                name=name,
                value=value,
                domain=canonical_host(domain.removeprefix(".")) or "",
                host_only=host_only,
                path=path,
                expires=expires,
                secure=secure,
                http_only=http_only,
                same_site=same_site,
                partition_key=partition_key,
            )
        except ValidationError as error:
            fields = ", ".join(str(each["loc"][0]) for each in error.errors(include_input=False))
            message = f"The cookie was refused (malformed): {fields} of a wrong type or value"
            raise InvalidCookie(message, "malformed") from None
        self.add(cookie)

    def __setitem__(self, name: str, value: str) -> NoReturn:
        raise TypeError(f"A cookie needs a domain: use set({name!r}, …, domain=…) instead of an assignment")

    def add(self, cookie: Cookie) -> None:
        """Set *cookie*, as :meth:`set` does; its ``created`` is kept unless it replaces one.

        Raises :exc:`~scrapy_sessions.exceptions.InvalidCookie` for what a site couldn't set either.
        """
        entry = StoredCookie.of(cookie)
        reason = check(entry)
        if reason is not None:
            raise refused(reason)
        now = self._clock()
        entry.created = entry.created or now
        entry.updated = now
        if self._put(entry, now):
            self._changed()

    def delete(self, name: str, *, domain: str | None = None, path: str | None = None) -> int:
        """Delete the cookies *name*, of exactly this *domain* and *path* if given, and return how many there were."""
        return self._delete(self._find(name, domain, path))

    def clear(self, domain: str | None = None) -> int:
        """Delete all cookies, or those of exactly this *domain*, and return how many there were."""
        return self._delete(self._content.live(self._clock(), domain))

    def clear_session_cookies(self) -> int:
        """Delete the cookies without an expiry, as a browser does when it is closed, and return how many."""
        return self._delete([entry for entry in self._content.live(self._clock()) if entry.expires is None])

    # -- records

    def dump(self) -> list[Cookie]:
        """Return the unexpired cookies, in the order of their creation."""
        return [entry.cookie() for entry in sorted(self._content.live(self._clock()), key=_creation_order)]

    def encoded(self) -> bytes:
        """Return what :meth:`dump` does, as :func:`~scrapy_sessions.cookies.stored.encode_entries` writes it.

        The object is the same as before unless the cookies have changed.
        """
        now = self._clock()
        if self._encoded is not None and self._replaced is not None:
            self._encoded, self._replaced = _patched(self._encoded, *self._replaced), None
        if self._encoded is None or not self._encoded.since <= now < self._encoded.until:
            live, since, until = self._content.live_until(now)
            self._encoded = _Encoded(since, until, encode_entries(sorted(live, key=_creation_order)))
            self._replaced = None
        return self._encoded.cookies

    def restore(self, cookies: Iterable[Cookie]) -> None:
        """Make *cookies*, those of a record, the whole content.

        Expired ones are left out; those that :meth:`add` would refuse too, each told to ``on_refused``.
        """
        now = self._clock()
        self._version += 1
        self._encoded = None
        self._content.clear()
        for entry in map(StoredCookie.of, cookies):
            reason = check(entry)
            if reason is not None:
                self._refuse(reason)
            elif not entry.is_expired(now):
                self._evicted(self._content.insert(entry, self._content.get(entry.identity), now))

    # -- changing

    def _find(self, name: str, domain: str | None, path: str | None) -> list[StoredCookie]:
        live = self._content.live(self._clock(), domain)
        return [entry for entry in live if entry.name == name and path in {None, entry.path}]

    def _put(self, new: StoredCookie, now: float) -> bool:
        """Put *new* in its place and return whether the content is another one now."""
        identity = new.identity
        old = self._content.get(identity)
        if old is not None and old.is_expired(now):
            self._content.remove(old)
            self._version += 1  # should the clock be set back, it doesn't come back
            self._encoded = None
            old = None
        if new.is_expired(now):
            if old is None:
                return False
            self._content.remove(old)
            self._encoded = None
            return True
        if old is not None:
            if new.says_the_same(old):
                self._content.touch(old)
                return False
            new.created, new.seq = old.created, old.seq
            self._note_replacement(old, new)
        else:
            self._encoded = None
        self._evicted(self._content.insert(new, old, now))
        return True

    def _note_replacement(self, old: StoredCookie, new: StoredCookie) -> None:
        if self._replaced is None:
            self._replaced = old, new
        elif self._replaced[1] is old:
            self._replaced = self._replaced[0], new
        else:  # two cookies: the others are then encoded as fast as these are found
            self._encoded = None

    def _evicted(self, entries: list[StoredCookie]) -> None:
        for _ in entries:
            self._refuse("evicted")

    def _delete(self, doomed: list[StoredCookie]) -> int:
        for entry in doomed:
            self._content.remove(entry)
        if doomed:
            self._encoded = None
            self._changed()
        return len(doomed)

    def _changed(self) -> None:
        self._version += 1
        if self._on_change is not None:
            self._on_change()

    def _refuse(self, reason: str) -> None:
        if self._on_refused is not None:
            self._on_refused(reason)


def _patched(encoded: _Encoded, old: StoredCookie, new: StoredCookie) -> _Encoded | None:
    """Return *encoded* with *new* in the place of *old*; ``None`` if that isn't there."""
    piece = encode_entry(old)
    start = encoded.cookies.find(piece)
    if start < 0:
        return None
    cookies = b"%b%b%b" % (encoded.cookies[:start], encode_entry(new), encoded.cookies[start + len(piece) :])
    until = encoded.until if new.expires is None else min(encoded.until, new.expires)
    return _Encoded(encoded.since, until, cookies)
