"""The cookies in a jar: indexed by domain, bounded in number."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from functools import lru_cache
from heapq import nsmallest
from itertools import chain, groupby
from operator import attrgetter
from urllib.parse import ParseResult, SplitResult

from scrapy_sessions.cookies.header_cache import HeaderCache
from scrapy_sessions.cookies.hosts import canonical_host
from scrapy_sessions.cookies.rules import Origin, parents_of
from scrapy_sessions.cookies.stored import Identity, StoredCookie, listed

__all__ = ["MAX_COOKIES", "MAX_COOKIES_PER_DOMAIN", "CookieIndex"]

MAX_COOKIES = 3000
"""How many cookies a jar holds."""

MAX_COOKIES_PER_DOMAIN = 180
"""How many of them may have the same domain."""

_FEW_DOMAINS = 64  # are asked for a name one by one; with more, a jar keeps an index of its Secure cookies
_MAX_ORIGINS = 64  # whose headers are kept; a jar that meets more origins than that between changes has no hot one


@lru_cache(maxsize=1024)
def _shared(key: tuple[str, str]) -> tuple[str, str]:
    """Return *key*, the same object in the jars of all sessions."""
    return key


def _upwards(domain: str) -> str:
    """Return *domain* from its end, as the index has it: what begins with it is that domain and all below it."""
    return f"{domain[::-1]}."


_last_use = attrgetter("used")


class CookieIndex:
    """What a jar holds, expired cookies included until their place is needed.

    Every insertion and removal makes the headers made so far void. Ticks, not times, order the uses: a clock may be
    set back.
    """

    __slots__ = ("_candidates", "_count", "_domains", "_secure", "_tick")

    def __init__(self) -> None:
        self._domains: dict[str, dict[str, StoredCookie]] = {}  # by name; entry.next leads to others of the same name
        self._candidates: dict[tuple[str, str], HeaderCache] = {}
        # Where the Secure cookies are, by name: their domains as _upwards writes them, sorted, one for each cookie.
        # None: not needed so far. A crawl over https alone never needs it.
        self._secure: dict[str, list[str]] | None = None
        self._count = 0
        self._tick = 0

    def header(self, url: SplitResult | ParseResult, now: float) -> bytes | None:
        """Return the value of the ``Cookie`` header for a request to *url* at *now*."""
        if not self._domains:
            return None
        # The scheme and the whole netloc, unparsed: that spares every request the parsing of its host.
        key = (url.scheme, url.netloc)
        candidates = self._candidates.get(key)
        if candidates is None or not candidates.since <= now < candidates.until:
            origin = Origin.of(url)
            if origin is None:
                return None
            if candidates is not None or len(self._candidates) >= _MAX_ORIGINS:
                self._forget_headers()
            candidates = HeaderCache(self._domains, origin, now)
            self._candidates[_shared(key)] = candidates
        self._tick += 1
        return candidates.header(url, self._tick)

    def get(self, identity: Identity) -> StoredCookie | None:
        entry = self._domains.get(identity[0], {}).get(identity[1])
        while entry is not None and entry.identity != identity:
            entry = entry.next
        return entry

    def entries(self) -> Iterator[StoredCookie]:
        for entries in self._domains.values():
            yield from listed(entries)

    def akin(self, name: str, domain: str) -> Iterator[StoredCookie]:
        """Yield the Secure cookies *name* of *domain*, of those above it and of those below, and maybe others.

        What it takes is bound by how many there are, not by how many cookies the jar holds.
        """
        for place in self._places(name, domain):
            entry = self._domains[place].get(name)
            while entry is not None:
                yield entry
                entry = entry.next

    def _places(self, name: str, domain: str) -> Iterable[str]:
        if len(self._domains) <= _FEW_DOMAINS:
            return self._domains
        if self._secure is None:
            self._secure = {}
            for entry in self.entries():
                self._note_secure(entry)
        known = self._secure.get(name)
        if known is None:
            return ()
        start = _upwards(domain)
        # "/" comes next after ".": before it stands all that begins with the start.
        below = known[bisect_left(known, start) : bisect_left(known, f"{start[:-1]}/")]
        above = [each for each in parents_of(domain) if each in self._domains]
        return chain(above, (each[-2::-1] for each, _ in groupby(below)))  # sorted: the equal ones are together

    def _note_secure(self, entry: StoredCookie) -> None:
        if self._secure is not None and entry.secure:
            insort(self._secure.setdefault(entry.name, []), _upwards(entry.domain))

    def _forget_secure(self, entry: StoredCookie) -> None:
        if self._secure is not None and entry.secure:
            known = self._secure[entry.name]
            del known[bisect_left(known, _upwards(entry.domain))]
            if not known:
                del self._secure[entry.name]

    def live(self, now: float, domain: str | None = None) -> list[StoredCookie]:
        """Return what hasn't expired, of exactly *domain* if given (with a leading dot or without)."""
        if domain is None:
            entries: Iterable[StoredCookie] = self.entries()
        else:
            entries = listed(self._domains.get(canonical_host(domain.removeprefix(".")) or "", {}))
        return [entry for entry in entries if not entry.is_expired(now)]

    def live_until(self, now: float) -> tuple[list[StoredCookie], float, float]:
        """Return what hasn't expired at *now*, and the times from and before which that is so."""
        live: list[StoredCookie] = []
        since, until = -math.inf, math.inf
        for entries in self._domains.values():
            for first in entries.values():
                entry: StoredCookie | None = first
                while entry is not None:
                    expires = entry.expires
                    if expires is not None and expires <= now:
                        since = max(since, expires)
                    else:
                        if expires is not None and expires < until:
                            until = expires
                        live.append(entry)
                    entry = entry.next
        return live, since, until

    def insert(self, entry: StoredCookie, old: StoredCookie | None, now: float) -> list[StoredCookie]:
        """Put *entry* in, in the place of *old*, the one with its identity, and return those that had to leave for it.

        An entry that comes with ticks (``seq``, ``used``) keeps them.
        """
        self._forget_headers()
        self._tick += 1
        entry.seq = entry.seq or self._tick
        entry.used = entry.used or self._tick
        if old is not None:
            self._unlink(old)
        entries = self._domains.setdefault(entry.domain, {})
        entry.next = entries.get(entry.name)
        entries[entry.name] = entry
        self._count += 1
        self._note_secure(entry)
        evicted: list[StoredCookie] = []
        if old is not None:  # there are no more than before
            return evicted
        if self._count > MAX_COOKIES_PER_DOMAIN:
            full = list(listed(entries))
            if len(full) > MAX_COOKIES_PER_DOMAIN:
                evicted += self._evict(full, MAX_COOKIES_PER_DOMAIN, now)
        if self._count > MAX_COOKIES:
            # A tenth at once: a crawl of many sites, in one session, would otherwise look through the whole jar at
            # every new cookie.
            evicted += self._evict(list(self.entries()), MAX_COOKIES - MAX_COOKIES // 10, now)
        return evicted

    def touch(self, entry: StoredCookie) -> None:
        """Note a use of *entry*."""
        self._tick += 1
        entry.used = self._tick

    def remove(self, entry: StoredCookie) -> None:
        self._forget_headers()
        self._unlink(entry)
        if not self._domains[entry.domain]:
            del self._domains[entry.domain]

    def _unlink(self, entry: StoredCookie) -> None:
        entries = self._domains[entry.domain]
        before = entries[entry.name]
        if before is not entry:
            while before.next is not entry:
                assert before.next is not None  # noqa: S101  # for the type checker: the entry is in the chain
                before = before.next
            before.next = entry.next
        elif entry.next is not None:
            entries[entry.name] = entry.next
        else:
            del entries[entry.name]
        self._count -= 1
        self._forget_secure(entry)

    def clear(self) -> None:
        self._forget_headers()
        self._domains.clear()
        self._secure = None
        self._count = 0

    def _evict(self, full: list[StoredCookie], bound: int, now: float) -> list[StoredCookie]:
        """Make room among *full* down to *bound* and return which unexpired ones left."""
        live: list[StoredCookie] = []
        for entry in full:
            if entry.is_expired(now):
                self.remove(entry)
            else:
                live.append(entry)
        evicted = nsmallest(len(live) - bound, live, key=_last_use)
        for entry in evicted:
            self.remove(entry)
        return evicted

    def _forget_headers(self) -> None:
        for candidates in self._candidates.values():
            candidates.note_use()
        self._candidates.clear()
