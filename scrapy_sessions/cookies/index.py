"""The cookies in a jar: indexed by domain, bounded in number."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from heapq import nsmallest
from itertools import chain, groupby
from operator import attrgetter
from urllib.parse import ParseResult, SplitResult

from scrapy_sessions.cookies.header_cache import HeaderCache, ReportLeftOut
from scrapy_sessions.cookies.hosts import canonical_host, site_of
from scrapy_sessions.cookies.rules import Origin, parents_of, request_path
from scrapy_sessions.cookies.stored import Identity, StoredCookie, iter_linked

MAX_COOKIES = 3000
"""The maximum number of cookies in a jar."""

MAX_COOKIES_PER_SITE = 180
"""The maximum number of cookies of one registrable domain, its subdomains included."""

_MANY = 50  # cookies of one site: beyond, they are evicted before those of other sites (RFC 6265bis, sections 5.7, 6.1)

_FEW_DOMAINS = 64  # up to this number, all are searched; beyond, the jar builds an index of its Secure cookies
_MAX_ORIGINS = 64  # bounds the cached headers: a jar with more origins between two changes has no hot one


@lru_cache(maxsize=1024)
def _shared(key: tuple[str, str]) -> tuple[str, str]:
    """Return *key* as an object that the jars of all sessions share."""
    return key


def _reverse(domain: str) -> str:
    """Return *domain* reversed, with a dot at its end: the key of each of its subdomains begins with it."""
    return f"{domain[::-1]}."


_by_value = attrgetter("traits.secure", "used")


def _surplus(entries: Iterable[StoredCookie]) -> set[StoredCookie]:
    """Return the cookies of *entries* that their sites have beyond :data:`_MANY`: the least valuable ones of each."""
    by_site: dict[str, list[StoredCookie]] = {}
    for entry in entries:
        by_site.setdefault(site_of(entry.domain), []).append(entry)
    return {entry for each in by_site.values() for entry in nsmallest(len(each) - _MANY, each, key=_by_value)}


class CookieIndex:
    """The cookies of a jar. Expired ones stay until their place is needed.

    Every insertion and removal invalidates the cached headers. Uses are ordered by ticks, because a clock may be set
    back.
    """

    __slots__ = ("_headers", "_count", "_domains", "_secure", "_sites", "_tick")

    def __init__(self) -> None:
        self._domains: dict[
            str, dict[str, StoredCookie]
        ] = {}  # by domain, then name; entry.next links others of that name
        self._headers: dict[tuple[str, str], HeaderCache] = {}
        # By name, the domains of the Secure cookies in the form of _reverse, sorted, one for each cookie. None: not
        # needed so far. A crawl that uses https only never needs it.
        self._secure: dict[str, list[str]] | None = None
        # The number of cookies of each site. None: not needed so far, because no site can be full.
        self._sites: Counter[str] | None = None
        self._count = 0
        self._tick = 0

    def header(self, url: SplitResult | ParseResult, now: float, jar: ReportLeftOut) -> bytes | None:
        """Return the value of the ``Cookie`` header for a request to *url* at *now*.

        Each header that leaves cookies out is reported to *jar*.
        """
        if not self._domains:
            return None
        # The key is the scheme and the unparsed netloc, so that a request with a cached header parses no host.
        key = (url.scheme, url.netloc)
        headers = self._headers.get(key)
        if headers is None or not headers.since <= now < headers.until:
            origin = Origin.of(url)
            if origin is None:
                return None
            if headers is not None or len(self._headers) >= _MAX_ORIGINS:
                self._drop_headers()
            headers = HeaderCache(self._domains, origin, now, jar)
            self._headers[_shared(key)] = headers
        self._tick += 1
        return headers.header(url, self._tick, jar)

    def sent_to(self, url: SplitResult | ParseResult, name: str, now: float) -> list[StoredCookie]:
        """Return the cookies called *name* of a request to *url* at *now*, in the order of its header."""
        origin = Origin.of(url)
        if origin is None:
            return []
        domains = [each for each in (origin.host, *parents_of(origin.host)) if name in self._domains.get(each, ())]
        named = {domain: {name: self._domains[domain][name]} for domain in domains}
        return HeaderCache(named, origin, now).entries_for(request_path(url)) if named else []

    def get(self, identity: Identity) -> StoredCookie | None:
        entry = self._domains.get(identity[0], {}).get(identity[1])
        while entry is not None and entry.identity != identity:
            entry = entry.next
        return entry

    def entries(self) -> Iterator[StoredCookie]:
        for entries in self._domains.values():
            yield from iter_linked(entries)

    def secure_named(self, name: str, domain: str) -> Iterator[StoredCookie]:
        """Yield the Secure cookies called *name* of *domain*, its parents and its subdomains, and maybe others.

        The cost depends on their number, not on the size of the jar.
        """
        for place in self._related_domains(name, domain):
            entry = self._domains[place].get(name)
            while entry is not None:
                yield entry
                entry = entry.next

    def _related_domains(self, name: str, domain: str) -> Iterable[str]:
        if len(self._domains) <= _FEW_DOMAINS:
            return self._domains
        if self._secure is None:
            self._secure = {}
            for entry in self.entries():
                self._index_secure(entry)
        known = self._secure.get(name)
        if known is None:
            return ()
        start = _reverse(domain)
        # "/" is the character after ".": every key that begins with the start sorts before it.
        below = known[bisect_left(known, start) : bisect_left(known, f"{start[:-1]}/")]
        above = [each for each in parents_of(domain) if each in self._domains]
        return chain(above, (each[-2::-1] for each, _ in groupby(below)))  # groupby works: they are sorted

    def _index_secure(self, entry: StoredCookie) -> None:
        if self._secure is not None and entry.secure:
            insort(self._secure.setdefault(entry.name, []), _reverse(entry.domain))

    def _unindex_secure(self, entry: StoredCookie) -> None:
        if self._secure is not None and entry.secure:
            known = self._secure[entry.name]
            del known[bisect_left(known, _reverse(entry.domain))]
            if not known:
                del self._secure[entry.name]

    def live(self, now: float, domain: str | None = None) -> list[StoredCookie]:
        """Return the unexpired cookies, of exactly *domain* if given (with or without a leading dot)."""
        if domain is None:
            entries: Iterable[StoredCookie] = self.entries()
        else:
            entries = iter_linked(self._domains.get(canonical_host(domain.removeprefix(".")) or "", {}))
        return [entry for entry in entries if not entry.is_expired(now)]

    def live_until(self, now: float) -> tuple[list[StoredCookie], float, float]:
        """Return the cookies that are unexpired at *now*, and the times from and before which the answer is valid."""
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
        """Insert *entry* in place of *old*, the cookie with its identity, and return the cookies evicted for it.

        An entry that has ticks (``seq``, ``used``) keeps them.
        """
        self._drop_headers()
        self._tick += 1
        entry.seq = entry.seq or self._tick
        entry.used = entry.used or self._tick
        if old is not None:
            self._unlink(old)
        entries = self._domains.setdefault(entry.domain, {})
        entry.next = entries.get(entry.name)
        entries[entry.name] = entry
        self._count += 1
        self._index_secure(entry)
        if self._sites is not None:
            self._sites[site_of(entry.domain)] += 1
        if old is not None or self._count <= MAX_COOKIES_PER_SITE:  # replaced: the number of cookies is unchanged
            return []
        return self._make_room(entry, now)

    def touch(self, entry: StoredCookie) -> None:
        """Record a use of *entry*."""
        self._tick += 1
        entry.used = self._tick

    def remove(self, entry: StoredCookie) -> None:
        self._drop_headers()
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
        if self._sites is not None:
            self._sites[site_of(entry.domain)] -= 1
        self._unindex_secure(entry)

    def clear(self) -> None:
        self._drop_headers()
        self._domains.clear()
        self._secure = self._sites = None
        self._count = 0

    def _make_room(self, new: StoredCookie, now: float) -> list[StoredCookie]:
        """Remove what is beyond the limits after *new* was inserted, and return the unexpired cookies among it.

        Expired cookies are removed first, then those without Secure, then the least recently used ones (RFC 6265bis,
        section 5.7). A site that is full loses its own cookies only.
        """
        if self._sites is None:
            self._sites = Counter(site_of(entry.domain) for entry in self.entries())
        evicted: list[StoredCookie] = []
        site = site_of(new.domain)
        if self._sites[site] > MAX_COOKIES_PER_SITE:
            domains = [domain for domain in self._domains if site_of(domain) == site]
            live = self._remove_expired(chain.from_iterable(iter_linked(self._domains[each]) for each in domains), now)
            evicted = nsmallest(len(live) - MAX_COOKIES_PER_SITE, live, key=_by_value)
            for entry in evicted:
                self.remove(entry)
        if self._count > MAX_COOKIES:
            live = self._remove_expired(self.entries(), now)
            # A tenth is removed at once: a crawl of many sites in one session would otherwise search the whole jar at
            # every new cookie.
            number = max(len(live) - MAX_COOKIES * 9 // 10, 0)
            if not new.secure:  # maybe from an unencrypted connection: it must never evict a Secure cookie
                live = [entry for entry in live if not entry.secure]
                number = min(number, len(live) // 10 + 1)
            surplus = _surplus(live)
            more = nsmallest(number, live, key=lambda entry: (entry.secure, entry not in surplus, entry.used))
            for entry in more:
                self.remove(entry)
            evicted += more
        return evicted

    def _remove_expired(self, entries: Iterable[StoredCookie], now: float) -> list[StoredCookie]:
        """Remove the expired ones of *entries*, and return the others."""
        live: list[StoredCookie] = []
        for entry in list(entries):
            if entry.is_expired(now):
                self.remove(entry)
            else:
                live.append(entry)
        return live

    def _drop_headers(self) -> None:
        for headers in self._headers.values():
            headers.record_use()
        self._headers.clear()
