"""The ``Cookie`` header: which cookies are sent to a URL, in which order. Finished headers are cached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Protocol
from urllib.parse import ParseResult, SplitResult

from scrapy_sessions.cookies.parse import encode
from scrapy_sessions.cookies.rules import Origin, parents_of, path_matches, request_path
from scrapy_sessions.cookies.stored import StoredCookie, iter_linked

MAX_HEADER_SIZE = 16 * 1024
"""The largest value of a ``Cookie`` header, in bytes. Beyond, common servers answer 400 or 431: nginx and Apache accept
8 KiB by default, Node.js and IIS 16 KiB."""

_MAX_PATH_SETS = 64  # bounds the memory: a site may set a cookie for every folder

_UNUSED: dict[tuple[str, ...], _Header] = {}  # shared, always empty
_creation = attrgetter("created", "seq")


class ReportLeftOut(Protocol):
    """Receives a report of each header that leaves cookies out: a jar."""

    def report_left_out(self, origin: Origin, entries: Sequence[StoredCookie]) -> None: ...


class _Header:
    """A finished header, its cookies, and the tick of its last use."""

    __slots__ = ("entries", "used", "value")

    def __init__(self, entries: tuple[StoredCookie, ...], origin: Origin, jar: ReportLeftOut | None) -> None:
        # Encoded in one call: the result is the same as cookie by cookie.
        self.value = encode("; ".join(map(_pair, entries))) if entries else None
        if self.value is not None and len(self.value) > MAX_HEADER_SIZE:
            kept = _choose(entries)
            if jar is not None:
                jar.report_left_out(origin, [entry for entry in entries if entry not in kept])
            entries = tuple([entry for entry in entries if entry in kept])
            self.value = encode("; ".join(map(_pair, entries)))
        self.entries = entries
        self.used = 0

    def record_use(self) -> None:
        for entry in self.entries:
            entry.used = max(entry.used, self.used)


class HeaderCache:
    """The cookies of a jar for one scheme and host, with any path, and the headers built from them so far.

    It is valid while the jar is unchanged, from ``since`` until before ``until`` (UNIX seconds): no cookie expires
    between them. A use is stored in the header and copied to its cookies by :meth:`record_use`: updating each cookie
    at each request would cost more than the header itself.
    """

    __slots__ = ("_by_paths", "_entries", "_everywhere", "_origin", "_paths", "since", "until")

    def __init__(
        self,
        domains: Mapping[str, Mapping[str, StoredCookie]],
        origin: Origin,
        now: float,
        jar: ReportLeftOut | None = None,
    ) -> None:
        self._origin = origin
        self.since = float("-inf")
        self.until = float("inf")
        # Section 5.8.3: longer paths first, then earlier creation; then the order of insertion, so that the order is
        # the same in every process and after every restore.
        entries = sorted(self._collect(domains, origin, now), key=_creation)
        if any(entry.path != "/" for entry in entries):
            entries.sort(key=_path_length, reverse=True)  # stable, also with reverse=True
        self._entries = tuple(entries)
        # Each path with the prefix of the paths below it: rules.path_matches without a call for each path.
        paths = {entry.path: entry.path.removesuffix("/") + "/" for entry in self._entries if entry.path != "/"}
        self._paths = tuple(paths.items())
        self._everywhere = None if self._paths else _Header(self._entries, origin, jar)
        self._by_paths: dict[tuple[str, ...], _Header] = {} if self._paths else _UNUSED

    def _collect(
        self, domains: Mapping[str, Mapping[str, StoredCookie]], origin: Origin, now: float
    ) -> list[StoredCookie]:
        over_tls, host = origin
        found: list[StoredCookie] = []
        for domain in (host, *parents_of(host)):
            for entry in iter_linked(domains[domain]) if domain in domains else ():
                host_only, _, secure, _, partition_key, cross_site_ancestor = entry.traits
                if (
                    (host_only and domain != host)
                    or (secure and not over_tls)
                    or (partition_key is not None and (partition_key != origin.site or cross_site_ancestor))
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

    def header(self, url: SplitResult | ParseResult, tick: int, jar: ReportLeftOut) -> bytes | None:
        """Return the header for *url*, which has this scheme and host, and record its use at *tick*."""
        sent = self._everywhere
        if sent is None:
            path = request_path(url)
            matching = tuple([each for each, folder in self._paths if path == each or path.startswith(folder)])
            sent = self._by_paths.get(matching)
            if sent is None:
                if len(self._by_paths) >= _MAX_PATH_SETS:
                    self.record_use()
                    self._by_paths.clear()
                chosen = {"/", *matching}
                sent = self._by_paths[matching] = _Header(
                    tuple([entry for entry in self._entries if entry.path in chosen]), self._origin, jar
                )
        sent.used = tick
        return sent.value

    def entries_for(self, path: str) -> list[StoredCookie]:
        """Return the cookies that are sent to *path*, in the order of the header. It counts as no use."""
        return [entry for entry in self._entries if path_matches(path, entry.path)]

    def record_use(self) -> None:
        """Copy the ticks of the last use to the cookies."""
        if self._everywhere is not None:
            self._everywhere.record_use()
        for sent in self._by_paths.values():
            sent.record_use()


def _pair(entry: StoredCookie) -> str:
    return f"{entry.name}={entry.value}" if entry.name else entry.value


def _choose(entries: Sequence[StoredCookie]) -> set[StoredCookie]:
    """Return which of *entries* are sent if they are too large together.

    A cookie is preferred if it is Secure, and if it is host-only: an unencrypted connection can't set the former, nor
    another host of the site the latter. Then the older ones are preferred: a login outlasts what is set later.
    """
    kept: set[StoredCookie] = set()
    left = MAX_HEADER_SIZE + len("; ")
    for entry in sorted(entries, key=lambda entry: (-entry.secure - entry.traits.host_only, entry.created, entry.seq)):
        size = len(encode(_pair(entry))) + len("; ")
        if size <= left:
            kept.add(entry)
            left -= size
    return kept


def _path_length(entry: StoredCookie) -> int:
    return len(entry.path)
