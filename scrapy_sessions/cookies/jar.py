"""The cookie jar of a live session."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple, NoReturn
from urllib.parse import ParseResult, SplitResult

from pydantic import ValidationError

from scrapy_sessions.cookies.hosts import canonical_host
from scrapy_sessions.cookies.index import CookieIndex
from scrapy_sessions.cookies.parse import SameSite
from scrapy_sessions.cookies.reasons import refused
from scrapy_sessions.cookies.rules import Origin, accept, check, shadows
from scrapy_sessions.cookies.stored import StoredCookie, encode_cookie, encode_cookies
from scrapy_sessions.exceptions import CookieConflict, InvalidCookie
from scrapy_sessions.models import Cookie
from scrapy_sessions.safe_repr import safe_repr

_creation_order = attrgetter("created", "seq")


class _Encoded(NamedTuple):
    """The cookies as JSON. It is valid from *since* until before *until* (UNIX seconds), when a cookie expires."""

    since: float
    until: float
    cookies: bytes

    def __repr__(self) -> str:
        return safe_repr(self, "since", "until")

    def with_replacement(self, old: StoredCookie, new: StoredCookie) -> _Encoded | None:
        """Return this with *new* in place of *old*; ``None`` if *old* isn't in it."""
        piece = encode_cookie(old)
        start = self.cookies.find(piece)
        if start < 0:
            return None
        cookies = b"%b%b%b" % (self.cookies[:start], encode_cookie(new), self.cookies[start + len(piece) :])
        until = self.until if new.expires is None else min(self.until, new.expires)
        return _Encoded(self.since, until, cookies)


class SessionCookieJar:
    """The cookies of one session: sites set them, requests send them, a spider reads and edits them.

    It follows RFC 6265bis, and Scrapy where the RFC leaves a choice. It contains at most 180 cookies of one registrable
    domain, and 3,000 in all: beyond, expired cookies are removed first, then those without Secure, then the least
    recently sent or set ones. It is not thread-safe; no method does I/O. Times are UNIX seconds. As a domain to look
    for, ``shop.example`` and ``.shop.example`` are the same.

    :param clock: returns the current time
    :param on_change: called once after each call that changed what is saved; neither for the use of a cookie nor by
        :meth:`restore`
    :param on_refused: called with a key of :data:`~scrapy_sessions.cookies.REFUSAL_REASONS` for every cookie that was
        refused or evicted; methods that raise don't call it

    >>> jar = SessionCookieJar()
    >>> jar.set("sid", "31d4d96e", domain="shop.example", secure=True)
    >>> jar["sid"]
    '31d4d96e'
    """

    __slots__ = ("_clock", "_index", "_encoded", "_on_change", "_on_refused", "_replaced", "_version")

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
        self._index = CookieIndex()
        self._version = 0
        self._encoded: _Encoded | None = None  # None: invalid
        # The one cookie that was replaced since the last encoding, as it was then and as it is now.
        self._replaced: tuple[StoredCookie, StoredCookie] | None = None
        self.restore(cookies)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} cookies>"

    @property
    def version(self) -> int:
        """A number that grows with every change of content: an equal number means equal content."""
        return self._version

    # -- requests and responses

    def header(self, url: SplitResult | ParseResult) -> bytes | None:
        """Return the value of the ``Cookie`` header for a request to *url*, ``None`` if no cookie is sent there.

        It has at most 16 KiB. If the cookies need more, Secure and host-only ones are preferred, then the older ones.
        """
        return self._index.header(url, self._clock(), self)

    def sent_to(self, url: SplitResult | ParseResult, name: str) -> list[Cookie]:
        """Return the cookies called *name* of a request to *url*, in the order of its header. It counts as no use."""
        return [entry.cookie() for entry in self._index.sent_to(url, name, self._clock())]

    def store(self, headers: Iterable[bytes | str], url: SplitResult | ParseResult, *, explicit: bool = False) -> None:
        """Store the ``Set-Cookie`` *headers* of a response from *url*. Never raises for their content.

        Each refused cookie is reported to ``on_refused``; the others are stored.

        :param explicit: the user gave the cookies with a request to *url*: Secure cookies are then accepted for an
            unencrypted connection, all other rules apply
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
                if not (origin.secure or explicit) and self._shadows_secure(entry, now):
                    raise refused("secure_overwrite")
            except InvalidCookie as error:
                self._report_refused(error.reason)
            else:
                changed |= self._set_entry(entry, now)
        if changed:
            self._changed()

    def _shadows_secure(self, new: StoredCookie, now: float) -> bool:
        return any(
            shadows(new, old) and not old.is_expired(now) for old in self._index.secure_named(new.name, new.domain)
        )

    def report_left_out(self, origin: Origin, entries: Sequence[StoredCookie]) -> None:
        """Report that a header for *origin* was built without *entries*, because it would be too large."""

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
        return len(self._index.live(self._clock()))

    def __iter__(self) -> Iterator[Cookie]:
        """Iterate over a copy of the unexpired cookies, in the order of their creation."""
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
        cross_site_ancestor: bool = False,
    ) -> None:
        """Set a cookie. An expired one deletes the cookie that it would replace.

        :param host_only: True: for exactly this host; by default False for a *domain* with a leading dot, else True

        Raises :exc:`~scrapy_sessions.exceptions.InvalidCookie` for a cookie that a site couldn't set either.
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
                cross_site_ancestor=cross_site_ancestor,
            )
        except ValidationError as error:
            fields = ", ".join(str(each["loc"][0]) for each in error.errors(include_input=False))
            message = f"The cookie was refused (malformed): {fields} of a wrong type or value"
            raise InvalidCookie(message, "malformed") from None
        self.add(cookie)

    def __setitem__(self, name: str, value: str) -> NoReturn:
        raise TypeError(f"A cookie needs a domain: use set({name!r}, …, domain=…) instead of an assignment")

    def add(self, cookie: Cookie) -> None:
        """Set *cookie*, as :meth:`set` does; its ``created`` is kept unless it replaces a cookie.

        Raises :exc:`~scrapy_sessions.exceptions.InvalidCookie` for a cookie that a site couldn't set either.
        """
        entry = StoredCookie.of(cookie)
        reason = check(entry)
        if reason is not None:
            raise refused(reason)
        if self._add_entry(entry, self._clock()):
            self._changed()

    def update(self, cookies: Iterable[Cookie]) -> None:
        """Set *cookies* as :meth:`add` does, but report those that it would refuse to ``on_refused``."""
        now = self._clock()
        changed = False
        for entry in map(StoredCookie.of, cookies):
            reason = check(entry)
            if reason is None:
                changed |= self._add_entry(entry, now)
            else:
                self._report_refused(reason)
        if changed:
            self._changed()

    def delete(self, name: str, *, domain: str | None = None, path: str | None = None) -> int:
        """Delete the cookies *name*, of exactly this *domain* and *path* if given, and return their number."""
        return self._delete(self._find(name, domain, path))

    def clear(self, domain: str | None = None) -> int:
        """Delete all cookies, or those of exactly this *domain*, and return their number."""
        return self._delete(self._index.live(self._clock(), domain))

    def clear_session_cookies(self) -> int:
        """Delete the cookies without an expiry, as a browser does when it is closed, and return their number."""
        return self._delete([entry for entry in self._index.live(self._clock()) if entry.expires is None])

    # -- records

    def dump(self) -> list[Cookie]:
        """Return the unexpired cookies, in the order of their creation."""
        return [entry.cookie() for entry in sorted(self._index.live(self._clock()), key=_creation_order)]

    def encoded(self) -> bytes:
        """Return the cookies of :meth:`dump`, encoded by :func:`~scrapy_sessions.cookies.stored.encode_cookies`.

        While the cookies are unchanged it returns the same object.
        """
        now = self._clock()
        if self._encoded is not None and self._replaced is not None:
            self._encoded, self._replaced = self._encoded.with_replacement(*self._replaced), None
        if self._encoded is None or not self._encoded.since <= now < self._encoded.until:
            live, since, until = self._index.live_until(now)
            self._encoded = _Encoded(since, until, encode_cookies(sorted(live, key=_creation_order)))
            self._replaced = None
        return self._encoded.cookies

    def restore(self, cookies: Iterable[Cookie]) -> None:
        """Replace the whole content with *cookies*, those of a record.

        Expired cookies are left out, and so are those that :meth:`add` would refuse; each of the latter is reported to
        ``on_refused``.
        """
        now = self._clock()
        self._version += 1
        self._encoded = None
        self._index.clear()
        for entry in map(StoredCookie.of, cookies):
            reason = check(entry)
            if reason is not None:
                self._report_refused(reason)
            elif not entry.is_expired(now):
                self._report_evicted(self._index.insert(entry, self._index.get(entry.identity), now))

    # -- changing

    def _find(self, name: str, domain: str | None, path: str | None) -> list[StoredCookie]:
        live = self._index.live(self._clock(), domain)
        return [entry for entry in live if entry.name == name and path in {None, entry.path}]

    def _set_entry(self, new: StoredCookie, now: float) -> bool:
        """Insert *new*, or delete what it replaces if it has expired. Return whether the content changed."""
        identity = new.identity
        old = self._index.get(identity)
        if old is not None and old.is_expired(now):
            self._index.remove(old)
            self._version += 1  # so that it stays deleted if the clock is set back
            self._encoded = None
            old = None
        if new.is_expired(now):
            if old is None:
                return False
            self._index.remove(old)
            self._encoded = None
            return True
        if old is not None:
            if new.same_content(old):
                self._index.touch(old)
                return False
            new.created, new.seq = old.created, old.seq
            self._record_replacement(old, new)
        else:
            self._encoded = None
        self._report_evicted(self._index.insert(new, old, now))
        return True

    def _add_entry(self, new: StoredCookie, now: float) -> bool:
        new.created = new.created or now
        new.updated = now
        return self._set_entry(new, now)

    def _record_replacement(self, old: StoredCookie, new: StoredCookie) -> None:
        if self._replaced is None:
            self._replaced = old, new
        elif self._replaced[1] is old:
            self._replaced = self._replaced[0], new
        else:  # two replacements: encoding all cookies is then as fast as finding these
            self._encoded = None

    def _report_evicted(self, entries: list[StoredCookie]) -> None:
        for _ in entries:
            self._report_refused("evicted")

    def _delete(self, entries: list[StoredCookie]) -> int:
        for entry in entries:
            self._index.remove(entry)
        if entries:
            self._encoded = None
            self._changed()
        return len(entries)

    def _changed(self) -> None:
        self._version += 1
        if self._on_change is not None:
            self._on_change()

    def _report_refused(self, reason: str) -> None:
        if self._on_refused is not None:
            self._on_refused(reason)
