"""Any session, exported and imported in a format that can contain it, is the same session."""

from __future__ import annotations

import json
import pickle
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrapy_sessions import Cookie, FormatError, PersistentSession
from scrapy_sessions.cookies.parse import decode, encode
from scrapy_sessions.formats.contents import Contents, Reading, Source
from scrapy_sessions.formats.registry import detect, read, write

few = settings(max_examples=60, deadline=None)

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
OCTETS = [octet for octet in range(0x20, 256) if octet not in {0x7F, ord(";"), ord(" ")}]
VALUES = st.lists(st.sampled_from(OCTETS), max_size=8).map(lambda octets: decode(bytes(octets)))
NAMES = st.lists(st.sampled_from([octet for octet in OCTETS if octet != ord("=")]), min_size=1, max_size=6).map(
    lambda octets: f"n{decode(bytes(octets))}"
)
DATES = st.floats(4e9, 2e11)
TIMES = st.floats(0, 2e9)
ORIGINS = st.sampled_from(["https://shop.example", "http://shop.example:8080", "https://other.example"])
STORAGE = st.dictionaries(ORIGINS, st.dictionaries(TEXT, TEXT, min_size=1, max_size=3), max_size=2)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
URL = "https://www.shop.example/"
PARTITIONS = [
    (f"https://{site}.example", ancestor) for site, ancestor in (("shop", False), ("shop", True), ("news", True))
]
SAME_SITE: list[Literal["Strict", "Lax", "None"] | None] = ["Strict", "Lax", "None", None]


@st.composite
def cookies(
    draw: st.DrawFn, *, whole: bool = True, partitions: bool = True, fractions: bool = True, same_site: bool = True
) -> list[Cookie]:
    """Cookies that a jar accepts, with different names and fields that the format can contain."""
    made = []
    for name in draw(st.lists(NAMES, max_size=4, unique=True)):
        secure = draw(st.booleans())
        partition = (
            draw(st.sampled_from(PARTITIONS)) if secure and partitions and draw(st.booleans()) else (None, False)
        )
        expires = draw(st.none() | (DATES if fractions else DATES.map(int).map(float)))
        made.append(
            Cookie(
                name=name,
                value=draw(VALUES),
                domain=draw(st.sampled_from(["shop.example", "www.shop.example"])),
                host_only=draw(st.booleans()),
                path=draw(st.sampled_from(["/", "/a", "/a b/c"])),
                expires=expires,
                secure=secure,
                http_only=draw(st.booleans()),
                same_site=draw(st.sampled_from(SAME_SITE)) if same_site else None,
                partition_key=partition[0],
                cross_site_ancestor=partition[1],
                created=draw(TIMES) if whole else 5.0,
                updated=draw(TIMES) if whole else 5.0,
            )
        )
    return made


def there_and_back(name: str, record: PersistentSession) -> Contents:
    source = Source(encode(write(name, record, url=URL if name == "header" else None)))
    reading = Reading(now=5.0, url=URL)
    if any(cookie.value for cookie in record.cookies):
        assert detect(source, reading) == name
    return read(name, source, reading)


def record_of(held: list[Cookie], **fields: Any) -> PersistentSession:
    return PersistentSession(session_id="alice", cookies=held, **fields)


def in_order(held: list[Cookie]) -> list[Cookie]:
    return sorted(held, key=lambda cookie: cookie.name)


@few
@given(
    cookies(),
    STORAGE,
    st.dictionaries(TEXT, JSON, max_size=3),
    st.lists(TEXT, max_size=3),
    st.tuples(TIMES, TIMES, st.integers(0, 2**53 - 1), st.integers(0, 99)),
)
def test_our_json_is_exact(held: Any, storage: Any, data: Any, actions: list[str], numbers: Any) -> None:
    """A record of ours comes back equal, field by field."""
    start, last, pages, generation = numbers
    record = record_of(
        held,
        local_storage=storage,
        session_storage=storage,
        indexed_db={origin: [{"data": data}] for origin in storage},
        data=data,
        actions_performed=actions,
        start_time=start,
        last_activity=last,
        pages_visited=pages,
        generation=generation,
    )
    assert there_and_back("json", record).records == [record]


@few
@given(cookies(whole=False), STORAGE, st.dictionaries(TEXT, JSON, max_size=3))
def test_storage_state_keeps_cookies_and_storages(
    held: list[Cookie], storage: dict[str, Any], database: dict[str, Any]
) -> None:
    """A storage state contains every field of every cookie but its times, all local storage and IndexedDB."""
    databases = {origin: [database] for origin in storage}
    contents = there_and_back("storage-state", record_of(held, local_storage=storage, indexed_db=databases))
    assert contents.cookies == held
    assert contents.local_storage == storage
    assert contents.indexed_db == databases
    assert contents.notes == []


@pytest.mark.parametrize("name", ["extension", "playwright", "puppeteer"])
@few
@given(cookies(whole=False))
def test_a_list_keeps_cookies(name: str, held: list[Cookie]) -> None:
    """So do the lists of extensions, Playwright and Puppeteer, with cookies and their partitions."""
    contents = there_and_back(name, record_of(held))
    assert contents.cookies == held
    assert contents.notes == []


@few
@given(cookies(whole=False, partitions=False, fractions=False), st.sampled_from([None, *range(6)]))
def test_selenium_keeps_cookies(held: list[Cookie], protocol: int | None) -> None:
    """Selenium's list contains cookies without partition and fractions of a second, as JSON and as a pickle."""
    record = record_of(held)
    assert there_and_back("selenium", record).cookies == held
    if protocol is not None:
        source = Source(pickle.dumps(json.loads(write("selenium", record)), protocol))
        assert source.is_pickle
        assert read("selenium", source, Reading(now=5.0)).cookies == held


@few
@given(cookies(whole=False), st.sampled_from(["extension", "playwright", "puppeteer"]))
def test_a_list_may_be_inside_an_object(held: list[Cookie], name: str) -> None:
    """A list that a script or an extension has put into an object is read the same."""
    inside = json.loads(write(name, record_of(held)))
    for document in ({"cookies": inside, "url": URL}, {"id": 1, "result": {"cookies": inside}}):
        source = Source(json.dumps(document))
        found = detect(source, Reading())
        assert found in ({name} if held else {"extension"})
        assert read(found, source, Reading(now=5.0)).cookies == held


@pytest.mark.parametrize("tool", [None, "wget"])
@few
@given(cookies(whole=False, partitions=False, fractions=False, same_site=False))
def test_netscape_keeps_what_it_can_hold(tool: str | None, held: list[Cookie]) -> None:
    """cookies.txt contains cookies with any bytes, without SameSite, partition and fractions of a second."""
    record = record_of(held)
    if tool is None:
        assert there_and_back("netscape", record).cookies == held
    else:
        back = read("netscape", Source(encode(write("netscape", record, tool=tool))), Reading(now=5.0)).cookies
        assert back == [cookie.model_copy(update={"http_only": False}) for cookie in held]


@few
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_header_keeps_names_and_values(pairs: dict[str, str]) -> None:
    """A header contains each name with its value."""
    held = [Cookie(name=name, value=value, domain="www.shop.example") for name, value in pairs.items()]
    assert {cookie.name: cookie.value for cookie in there_and_back("header", record_of(held)).cookies} == pairs


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"schema_version": 1, "format": "scrapy-sessions", "sessions": []}', "json"),
        ('\ufeff {"origins": [], "cookies": []}', "storage-state"),
        ('[{"name": "a"}]', "extension"),
        ('{"log": {}}', "har"),
        ("# Netscape HTTP Cookie File\n", "netscape"),
        ("# a comment\nshop.example\tFALSE\t/\tFALSE\t0\ta\tb\n", "netscape"),
        ("Cookie: a=b", "header"),
    ],
)
def test_the_format_is_detected_by_the_content(text: str, name: str) -> None:
    """Each format is detected by its content, with any file name."""
    assert detect(Source(text), Reading()) == name


@pytest.mark.parametrize("text", ["", "a=b", "hello", '{"what": 1}', "<html>"])
def test_an_unknown_format_is_an_error(text: str) -> None:
    """What could be anything is not guessed at: the message lists the formats."""
    with pytest.raises(FormatError, match="--format"):
        detect(Source(text), Reading())
