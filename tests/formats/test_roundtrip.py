"""Any session, exported and imported in a format that can hold it, is the same session; any bytes are survived."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrapy_sessions import Cookie, FormatError, PersistentSession
from scrapy_sessions.cookies.parse import decode
from scrapy_sessions.exceptions import NewerSchema
from scrapy_sessions.formats.registry import FORMATS, Site, detect, from_bytes, read, to_bytes, write

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
SITE = Site(now=5.0, url="https://www.shop.example/")
SAME_SITE: list[Literal["Strict", "Lax", "None"] | None] = ["Strict", "Lax", "None", None]


@st.composite
def cookies(draw: st.DrawFn, *, whole: bool = True, netscape: bool = False) -> list[Cookie]:
    """Cookies that a jar takes, each with another name; *netscape*: those that cookies.txt can hold."""
    made = []
    for name in draw(st.lists(NAMES, max_size=4, unique=True)):
        secure = draw(st.booleans())
        partitioned = secure and not netscape and draw(st.booleans())
        expires = draw(st.none() | (DATES.map(int).map(float) if netscape else DATES))
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
                same_site=None if netscape else draw(st.sampled_from(SAME_SITE)),
                partition_key="https://shop.example" if partitioned else None,
                created=draw(TIMES) if whole else 5.0,
                updated=draw(TIMES) if whole else 5.0,
            )
        )
    return made


def there_and_back(name: str, record: PersistentSession) -> Any:
    raw = to_bytes(write(name, record, url=SITE.url if name == "header" else None))
    text = from_bytes(raw)
    if record.cookies and any(cookie.value for cookie in record.cookies) and name != "header":
        assert detect(text) == name
    return read(name, text, SITE)


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
    st.tuples(TIMES, TIMES, st.integers(0, 2**62), st.integers(0, 99)),
)
def test_our_json_is_exact(held: Any, storage: Any, data: Any, actions: list[str], numbers: Any) -> None:
    """A record of ours comes back equal, field by field."""
    start, last, pages, generation = numbers
    record = record_of(
        held,
        local_storage=storage,
        session_storage=storage,
        data=data,
        actions_performed=actions,
        start_time=start,
        last_activity=last,
        pages_visited=pages,
        generation=generation,
    )
    assert there_and_back("json", record).records == [record]


@few
@given(cookies(whole=False), STORAGE)
def test_storage_state_keeps_cookies_and_local_storage(held: list[Cookie], storage: dict[str, Any]) -> None:
    """A storage state brings back every field of every cookie but its times, and all local storage."""
    contents = there_and_back("storage-state", record_of(held, local_storage=storage))
    assert contents.cookies == held
    assert contents.local_storage == storage
    assert contents.notes == []


@few
@given(cookies(whole=False))
def test_extension_keeps_cookies(held: list[Cookie]) -> None:
    """So does the JSON of the extensions with cookies."""
    assert there_and_back("extension", record_of(held)).cookies == held


@few
@given(cookies(whole=False, netscape=True))
def test_netscape_keeps_what_it_can_hold(held: list[Cookie]) -> None:
    """cookies.txt brings back cookies without SameSite, partition and fractions of a second, whatever their bytes."""
    assert there_and_back("netscape", record_of(held)).cookies == held


@few
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_header_keeps_names_and_values(pairs: dict[str, str]) -> None:
    """A header brings back each name with its value."""
    held = [Cookie(name=name, value=value, domain="www.shop.example") for name, value in pairs.items()]
    assert {cookie.name: cookie.value for cookie in there_and_back("header", record_of(held)).cookies} == pairs


PARTS = st.sampled_from(
    [
        *(
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            '"cookies"',
            '"name"',
            '"value"',
            '"domain"',
            '"log"',
            '"entries"',
            '"origins"',
        ),
        *(
            '"request"',
            '"response"',
            '"url"',
            '"format"',
            '"scrapy-sessions"',
            "1",
            "-1",
            "1e999",
            "null",
            "true",
            '""',
        ),
        *(
            "\t",
            "\n",
            "\r",
            "TRUE",
            "FALSE",
            ".co.uk",
            "shop.example",
            "/",
            "0",
            "#HttpOnly_",
            "a=b; ",
            "\ud800",
            "\x00",
        ),
    ]
)
SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("cookies", "origins", "name", "value", "domain", "expires", "expirationDate", "sameSite", "log"),
                    *("entries", "request", "response", "headers", "url", "startedDateTime", "partitionKey", "time"),
                    *("sessions", "format", "schema_version", "session_id", "localStorage", "path", "data", "metrics"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("name", FORMATS)
@few
@given(st.binary().map(from_bytes) | st.text() | st.lists(PARTS, max_size=14).map("".join) | SHAPES.map(json.dumps))
def test_any_file_is_survived(name: str, text: str) -> None:
    """Whatever a file holds, reading it gives cookies or our exception, and so does telling its format."""
    try:
        contents = read(name, text, SITE)
    except (FormatError, NewerSchema):
        return
    assert all(cookie.domain for cookie in contents.cookies)
    try:
        assert detect(text, placed=True) in FORMATS
    except FormatError:
        return


def wrapped(name: str, shape: Any) -> str:
    """*shape* deep inside a document of the format *name*."""
    return json.dumps(
        {
            "json": {"format": "scrapy-sessions", "schema_version": 1, "sessions": [shape]},
            "storage-state": {"cookies": [shape], "origins": [shape]},
            "extension": [shape],
            "har": {"log": {"entries": [{"request": {"url": "https://a.example/"}, "response": {}, "x": shape}]}},
        }[name]
    )


@pytest.mark.parametrize("name", ["json", "storage-state", "extension", "har"])
@few
@given(st.data())
def test_any_field_is_survived(name: str, data: st.DataObject) -> None:
    """A document of the right frame with anything in it gives cookies or our exception."""
    shape = data.draw(SHAPES)
    if name == "har":
        document = json.loads(wrapped(name, None))
        document["log"]["entries"][0].update(shape if isinstance(shape, dict) else {"response": shape})
        text = json.dumps(document)
    else:
        base = {"name": "a", "value": "b", "domain": "a.example", "session_id": "a", "schema_version": 1}
        text = wrapped(name, {**base, **shape} if isinstance(shape, dict) else shape)
    try:
        read(name, text, SITE)
    except (FormatError, NewerSchema):
        return


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
def test_the_format_is_told_by_the_content(text: str, name: str) -> None:
    """Each format is known by its content, whatever the file is called."""
    assert detect(text) == name


@pytest.mark.parametrize("text", ["", "a=b", "hello", '{"what": 1}', "<html>"])
def test_an_unknown_format_is_said(text: str) -> None:
    """What could be anything is not guessed at: the message lists the formats."""
    with pytest.raises(FormatError, match="--format"):
        detect(text)
