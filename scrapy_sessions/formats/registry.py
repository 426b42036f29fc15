"""The table of file formats, and their detection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from scrapy_sessions.browser.state import to_playwright
from scrapy_sessions.cookies import SessionCookieJar
from scrapy_sessions.cookies.hosts import canonical_host
from scrapy_sessions.cookies.rules import domain_matches
from scrapy_sessions.cookies.scope import is_unpartitioned
from scrapy_sessions.exceptions import FormatError
from scrapy_sessions.formats import cookie_header, cookie_list, curl, har, netscape, records, storage_state
from scrapy_sessions.formats.contents import Contents, Reading, Source
from scrapy_sessions.formats.json_cookies import dump, to_extension, to_puppeteer, to_selenium
from scrapy_sessions.models import EVERYWHERE, Cookie, PersistentSession


class Format(NamedTuple):
    """One format.

    :param title: the name of a file of this format
    :param misfit: returns why a file isn't of this format, ``None`` if it is. The registry checks whether it is JSON
    :param read: returns the contents of a file. Raises :exc:`~scrapy_sessions.exceptions.FormatError`, which contains
        the place in the file, but no value
    :param write: ``None`` for a format that is only read
    :param whole: whether it contains any number of whole records
    :param placed: whether its cookies may lack a domain, so that ``--url`` or ``--domain`` names their site
    :param partitions: whether it contains the partitions of cookies
    """

    title: str
    suffix: str
    misfit: Callable[[Source, Reading], str | None]
    read: Callable[[Source, Reading], Contents]
    write: Callable[[PersistentSession, str | None], str] | None = None
    whole: bool = False
    placed: bool = False
    partitions: bool = True

    @property
    def is_json(self) -> bool:
        return self.suffix != ".txt"


def read(name: str, source: Source, reading: Reading) -> Contents:
    """Return the contents of *source* in the format *name*. Raises :exc:`~scrapy_sessions.exceptions.FormatError`."""
    each = FORMATS[name]
    contents = each.read(source, reading)
    if reading.domain is not None and not (each.placed and contents.guessed):
        _keep_domain(contents, reading.domain)
    contents.notes[:0] = [*source.notes, *reading.remarks.notes()]
    return contents


def _keep_domain(contents: Contents, domain: str) -> None:
    """Remove from *contents* what doesn't belong to *domain* or its subdomains."""
    host = canonical_host(domain.removeprefix("."))
    if host is None:
        raise FormatError("--domain", "it is no host name (a port or a scheme is no part of one)")

    def keep(cookies: list[Cookie]) -> list[Cookie]:
        return [cookie for cookie in cookies if domain_matches(cookie.domain, host)]

    found = len(contents.cookies)
    contents.cookies = keep(contents.cookies)
    contents.records = [each.model_copy(update={"cookies": keep(each.cookies)}) for each in contents.records]
    for storages in (contents.local_storage, contents.indexed_db):
        for origin in list(storages):
            if not domain_matches(canonical_host(urlsplit(origin).hostname or "") or "", host):
                del storages[origin]
    if found > len(contents.cookies):
        contents.notes.append(f"{_counted(found - len(contents.cookies), 'cookie')} of other domains were left out")


def write(name: str, record: PersistentSession, *, url: str | None = None, tool: str | None = None) -> str:
    """Return *record* in the format *name*, for *tool*, one of :data:`TOOLS`; *url* is needed by ``header``.

    Raises :exc:`~scrapy_sessions.exceptions.FormatError` for what the format can't contain.
    """
    if tool is not None:
        return netscape.dump(_plain_cookies(record), http_only=False)
    writer = FORMATS[name].write
    if writer is None:
        raise FormatError(f"the format {name}", "it can be imported only")
    return writer(record, url)


def detect(source: Source, reading: Reading) -> str:
    """Return the name of the format of *source*. Raises :exc:`~scrapy_sessions.exceptions.FormatError`."""
    reasons: dict[str, list[str]] = {}
    for name, each in FORMATS.items():
        if source.is_document != each.is_json:
            reason = "it is no JSON" if each.is_json else "it is JSON"
        else:
            reason = each.misfit(source, reading) or ""
        if not reason:
            return name
        reasons.setdefault(reason, []).append(name)
    tried = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
    raise FormatError("the file", f"its format is unknown: name it with --format, if it is one of these. Tried {tried}")


def describe(name: str, source: Source, contents: Contents) -> str:
    """Return what a file is: "a Playwright list of 14 cookies for 3 hosts". It quotes no value."""
    title = FORMATS[name].title
    if FORMATS[name].whole:
        return f"{title} of {_counted(len(contents.records), 'session')}"
    if source.is_pickle:
        title = f"{title}, in a pickle,"
    hosts = len({cookie.domain for cookie in contents.cookies})
    parts = [f"{_counted(len(contents.cookies), 'cookie')} for {_counted(hosts, 'host')}"]
    if contents.local_storage:
        parts.append(f"local storage of {_counted(len(contents.local_storage), 'origin')}")
    if contents.indexed_db:
        parts.append(f"IndexedDB of {_counted(len(contents.indexed_db), 'origin')}")
    return f"{title} of {', '.join(parts)}"


def _live(cookies: Iterable[Cookie]) -> list[Cookie]:
    return SessionCookieJar(cookies).dump()


def _plain_cookies(record: PersistentSession) -> list[Cookie]:
    return [cookie for cookie in _live(record.cookies) if is_unpartitioned(cookie)]


def _write_header(record: PersistentSession, url: str | None) -> str:
    if url is None:
        raise FormatError("the format header", "it is for one URL: name it with --url")
    return cookie_header.dump(record.cookies, url=url)


def _list(name: str, convert: Callable[[Cookie], dict[str, Any]] | None = None, *, partitions: bool = True) -> Format:
    """Return the format of the lists of the shape *name*. *convert* returns an entry; ``None``: for import only."""

    def write_list(record: PersistentSession, url: str | None) -> str:
        assert convert is not None  # noqa: S101  # for the type checker
        return dump(_live(record.cookies) if partitions else _plain_cookies(record), convert)

    return Format(
        cookie_list.SHAPES[name].title,
        ".json",
        lambda source, reading: cookie_list.misfit(source, name),
        cookie_list.read,
        None if convert is None else write_list,
        placed=True,
        partitions=partitions,
    )


FORMATS: Mapping[str, Format] = {
    "json": Format(
        "our own JSON", ".json", records.misfit, records.read, lambda record, url: records.dump([record]), whole=True
    ),
    "har": Format("a HAR", ".har", har.misfit, har.read),
    "storage-state": Format(
        "a storage state of Playwright",
        ".json",
        storage_state.misfit,
        storage_state.read,
        lambda record, url: storage_state.dump(_live(record.cookies), record.local_storage, record.indexed_db),
    ),
    "extension": _list("extension", to_extension),
    "selenium": _list("selenium", to_selenium, partitions=False),
    "playwright": _list("playwright", to_playwright),
    "puppeteer": _list("puppeteer", to_puppeteer),
    "cookiejar": _list("cookiejar"),
    "rookiepy": _list("rookiepy"),
    "name-value": Format("a JSON object", ".json", cookie_header.pairs_misfit, cookie_header.read_pairs, placed=True),
    "netscape": Format(
        "a cookies.txt",
        ".txt",
        netscape.misfit,
        netscape.read,
        lambda record, url: netscape.dump(_plain_cookies(record)),
        partitions=False,
    ),
    "curl": Format("a copied request", ".txt", curl.misfit, curl.read),
    "header": Format(
        "a Cookie header",
        ".txt",
        cookie_header.misfit,
        cookie_header.read,
        _write_header,
        placed=True,
        partitions=False,
    ),
}
"""By name, in the order of detection."""

TOOLS = ("wget", "aria2")
"""Tools for which cookies.txt is written without ``#HttpOnly_``, because they treat such a line as a comment."""


def left_out(name: str, record: PersistentSession, *, tool: str | None = None) -> list[str]:
    """Return the parts of *record* that the format *name* can't contain, as texts for the user without values."""
    if FORMATS[name].whole:
        return []
    identity = (record.user_agent, record.language, record.timezone, record.viewport_width)
    bound = sum(origin != EVERYWHERE and bool(headers) for origin, headers in record.headers.items())
    cookies = _live(record.cookies)
    foreign = sum(not is_unpartitioned(cookie) for cookie in cookies)
    hidden = sum(cookie.http_only for cookie in cookies)
    skipped = f"for {' and '.join(TOOLS)} {_counted(hidden, 'HttpOnly cookie')}, whose lines they skip: --for wget"
    is_netscape = name == "netscape"
    omitted = {
        "its identity (user agent, language, …)": any(identity) or record.headers.get(EVERYWHERE) or record.meta,
        "its proxy": record.proxy,
        f"headers for {_counted(bound, 'origin')}": bound,
        f"local storage of {_counted(len(record.local_storage), 'origin')}": (
            record.local_storage and name != "storage-state"
        ),
        f"session storage of {_counted(len(record.session_storage), 'origin')}": record.session_storage,
        f"IndexedDB of {_counted(len(record.indexed_db), 'origin')}": record.indexed_db and name != "storage-state",
        "its data": record.data,
        _counted(foreign, "partitioned cookie"): foreign and not FORMATS[name].partitions and name != "header",
        "SameSite of its cookies": is_netscape and any(cookie.same_site for cookie in cookies),
        "HttpOnly of its cookies" if tool else skipped: is_netscape and hidden,
        "all fields of its cookies but name and value": name == "header",
    }
    return [text for text, applies in omitted.items() if applies]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
