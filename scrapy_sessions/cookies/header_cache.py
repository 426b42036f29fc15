"""The ``Cookie`` header: which cookies go to a URL, in which order, and what is kept of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from urllib.parse import ParseResult, SplitResult

from scrapy_sessions.cookies.parse import encode
from scrapy_sessions.cookies.rules import Origin, request_path
from scrapy_sessions.cookies.stored import StoredCookie, listed

__all__ = ["HeaderCache"]

_MAX_PATH_SETS = 64  # a site with a cookie for every folder would otherwise fill the memory with its headers

_creation = attrgetter("created", "seq")


class _Sent:
    """A finished header, the cookies in it, and the jar's tick of its last use."""

    __slots__ = ("entries", "used", "value")

    def __init__(self, entries: tuple[StoredCookie, ...]) -> None:
        # Encoded as one: character by character, it comes to the same.
        pairs = [f"{entry.name}={entry.value}" if entry.name else entry.value for entry in entries]
        self.value = encode("; ".join(pairs)) if pairs else None
        self.entries = entries
        self.used = 0

    def note_use(self) -> None:
        for entry in self.entries:
            entry.used = max(entry.used, self.used)


class HeaderCache:
    """The cookies of a jar for one scheme and host, whatever the path, and the headers made of them so far.

    It holds from ``since`` until before ``until`` (UNIX seconds), the moments at which a cookie expires, and as long
    as the jar isn't changed. A use is noted on the header, and reaches its cookies with :meth:`note_use`: marking
    each cookie at each request would cost more than the header itself.
    """

    __slots__ = ("_by_paths", "_entries", "_everywhere", "_paths", "since", "until")

    def __init__(self, domains: Mapping[str, Mapping[str, StoredCookie]], origin: Origin, now: float) -> None:
        self.since = float("-inf")
        self.until = float("inf")
        # Section 5.8.3: longer paths first, then the earlier created; then as they came, so that the order is the same
        # in every process and after every restore.
        entries = sorted(self._collect(domains, origin, now), key=_creation)
        if any(entry.path != "/" for entry in entries):
            entries.sort(key=_path_length, reverse=True)  # stable, in reverse too
        self._entries = tuple(entries)
        # Each with what a longer path begins with: the test of rules.path_matches, without a call for every path.
        paths = {entry.path: entry.path.removesuffix("/") + "/" for entry in self._entries if entry.path != "/"}
        self._paths = tuple(paths.items())
        self._everywhere = None if self._paths else _Sent(self._entries)
        self._by_paths: dict[tuple[str, ...], _Sent] = {}

    def _collect(
        self, domains: Mapping[str, Mapping[str, StoredCookie]], origin: Origin, now: float
    ) -> list[StoredCookie]:
        over_tls, host = origin
        found: list[StoredCookie] = []
        for domain in (host, *origin.parents):
            for entry in listed(domains[domain]) if domain in domains else ():
                host_only, _, secure, _, partition_key = entry.traits
                if (
                    (host_only and domain != host)
                    or (secure and not over_tls)
                    or (partition_key is not None and partition_key != origin.site)
                ):
                    continue
                expires = entry.expires
                if expires is not None:
                    if expires <= now:
                        self.since = max(self.since, expires)
                        continue
                    self.until = min(self.until, expires)
                found.append(entry)
        return found

    def header(self, url: SplitResult | ParseResult, tick: int) -> bytes | None:
        """Return the header for *url*, of this scheme and host, and note its use at *tick*."""
        sent = self._everywhere
        if sent is None:
            path = request_path(url)
            matching = tuple([each for each, folder in self._paths if path == each or path.startswith(folder)])
            sent = self._by_paths.get(matching)
            if sent is None:
                if len(self._by_paths) >= _MAX_PATH_SETS:
                    self.note_use()
                    self._by_paths.clear()
                chosen = {"/", *matching}
                sent = self._by_paths[matching] = _Sent(
                    tuple([entry for entry in self._entries if entry.path in chosen])
                )
        sent.used = tick
        return sent.value

    def note_use(self) -> None:
        """Hand the ticks of the last use on to the cookies."""
        if self._everywhere is not None:
            self._everywhere.note_use()
        for sent in self._by_paths.values():
            sent.note_use()


def _path_length(entry: StoredCookie) -> int:
    return len(entry.path)
