"""Lists of cookies as tools write them: each field under each name, unknown fields named, expired cookies expired."""

from __future__ import annotations

import http.cookiejar
import json
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrapy_sessions import Cookie, FormatError
from scrapy_sessions.formats.contents import Reading, Skipping, Source
from scrapy_sessions.formats.cookie_fields import parse_date, to_seconds
from scrapy_sessions.formats.registry import FORMATS, describe, detect, read
from tests.support.formats import load, read_json, read_text

SECRET = "hunter2"
URL = "https://www.shop.example/"
LATE = 2051222400.0
few = settings(max_examples=60, deadline=None)

FIELDS = st.tuples(
    st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="=;\x7f"), min_size=1, max_size=5),
    st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters=";\x7f"), min_size=1, max_size=5),
    st.sampled_from(["shop.example", "www.shop.example"]),
    st.booleans(),
    st.sampled_from(["/", "/a"]),
    st.none() | st.integers(5, 4_000_000_000),
    st.booleans(),
    st.booleans(),
)
LISTS = st.lists(FIELDS, min_size=1, max_size=4, unique_by=lambda fields: fields[0])


def cookies_of(held: list[Any]) -> list[Cookie]:
    """The cookies that *held* are, as an import at 5.0 has them."""
    return [
        Cookie(
            name=name,
            value=value,
            domain=domain,
            host_only=host_only,
            path=path,
            expires=None if expires is None else float(expires),
            secure=secure,
            http_only=http_only,
            created=5.0,
            updated=5.0,
        )
        for name, value, domain, host_only, path, expires, secure, http_only in held
    ]


def recognised(document: Any, name: str) -> list[Cookie]:
    """The cookies of *document*, which is recognised as *name* with nothing to remark."""
    source = Source(json.dumps(document))
    assert detect(source, Reading()) == name
    contents = read(name, source, Reading(now=5.0))
    assert contents.notes == []
    return contents.cookies


@few
@given(LISTS)
def test_the_cookies_of_python(held: list[Any]) -> None:
    """``vars()`` of the cookies in a jar of Python, or of requests, contains all their fields."""
    jar = []
    for name, value, domain, host_only, path, expires, secure, http_only in held:
        rest = {"HttpOnly": None} if http_only else {}
        dotted = domain if host_only else f".{domain}"
        jar.append(
            http.cookiejar.Cookie(
                *(0, name, value, None, False, dotted, not host_only, not host_only, path, True, secure, expires),
                *(expires is None, None, None, rest),
            )
        )
    assert recognised([vars(cookie) for cookie in jar], "cookiejar") == cookies_of(held)


@few
@given(LISTS)
def test_the_cookies_of_rookiepy(held: list[Any]) -> None:
    """The dicts of rookiepy do, too."""
    keys = ("name", "value", "domain", "path", "expires", "secure", "http_only")
    dicts = [
        dict(zip(keys, (name, value, domain if alone else f".{domain}", *rest), strict=True)) | {"same_site": -1}
        for name, value, domain, alone, *rest in held
    ]
    assert recognised(dicts, "rookiepy") == cookies_of(held)


def entry(**fields: Any) -> dict[str, Any]:
    return {"name": "sid", "value": SECRET, "domain": ".shop.example", "path": "/", **fields}


def one(**fields: Any) -> Cookie:
    (cookie,) = read_json("playwright", [entry(**fields)]).cookies
    return cookie


@pytest.mark.parametrize(
    ("expires", "seconds"),
    [
        (LATE, LATE),
        (LATE * 1e3, LATE),
        (LATE * 1e6, LATE),
        ((LATE + 11_644_473_600) * 1e6, LATE),
        (1_700_000_000, 1_700_000_000.0),
        (1_700_000_000_000, 1_700_000_000.0),
        ((1_700_000_000 + 11_644_473_600) * 1e6, 1_700_000_000.0),
        (9_223_372_036_854_775_807, 253402300799.0),
        (-1, None),
        (0, 0.0),
        (None, None),
        ("Session", None),
        ("2035-01-01T00:00:00.000Z", LATE),
        ("Mon, 01 Jan 2035 00:00:00 GMT", LATE),
        ("2051222400", LATE),
        ("2023-11-14T22:13:20+00:00", 1_700_000_000.0),
    ],
)
@pytest.mark.parametrize("name", ["expires", "expiry", "expirationDate"])
def test_every_way_to_write_an_expiry(name: str, expires: Any, seconds: float | None) -> None:
    """Seconds, milliseconds, both kinds of microseconds, dates and words: what has expired stays expired."""
    if name == "expirationDate" and expires == -1:
        seconds = -1.0  # of an extension, a date
    assert one(**{name: expires}).expires == seconds


def test_another_unit_is_said() -> None:
    """A converted expiry is named by its unit and place."""
    notes = read_json("playwright", [entry(expires=LATE * 1e3)]).notes
    assert notes == ["cookies[0]: the expiry is in milliseconds, not in seconds, and was converted"]


@pytest.mark.parametrize("text", ["", "tomorrow", "292269009-11-24T16:22:59.000Z", "nan", "inf", "2035-13-01"])
def test_what_is_no_date(text: str) -> None:
    """A date that can't be read is none."""
    assert parse_date(text) is None


@given(st.floats(3e8, 7e9))
def test_the_units_do_not_overlap(seconds: float) -> None:
    """A date of 1980 to 2190 in any unit is the same date."""
    for number in (seconds, seconds * 1e3, seconds * 1e6, (seconds + 11_644_473_600) * 1e6):
        assert to_seconds(number)[0] == pytest.approx(seconds, abs=0.01)


@pytest.mark.parametrize(
    ("fields", "same_site"),
    [
        *(({"sameSite": word}, "Lax") for word in ("Lax", "lax", "LAX")),
        *(({"sameSite": word}, "None") for word in ("None", "none", "no_restriction")),
        *(({"sameSite": word}, None) for word in (None, "", "unspecified", "unset")),
        ({"same_site": 1}, "Lax"),
        ({"same_site": 2}, "Strict"),
        ({"same_site": -1}, None),
        ({"same_site": 0, "secure": True}, "None"),
        ({"same_site": 0, "secure": False}, None),
        ({"_rest": {"SameSite": "lax"}}, "Lax"),
    ],
)
def test_every_way_to_write_same_site(fields: dict[str, Any], same_site: str | None) -> None:
    """SameSite in the words and numbers of all tools."""
    assert one(**fields).same_site == same_site


SHOP, NEWS = "https://shop.example", "https://news.example"


@pytest.mark.parametrize(
    ("fields", "partition"),
    [
        ({}, (None, False)),
        *(({"partitionKey": nothing}, (None, False)) for nothing in (None, "", {}, {"topLevelSite": None})),
        ({"partitionKey": SHOP}, (SHOP, False)),
        ({"partitionKey": NEWS}, (NEWS, True)),
        ({"partitionKey": {"topLevelSite": SHOP}}, (SHOP, False)),
        ({"partitionKey": {"sourceOrigin": SHOP, "hasCrossSiteAncestor": True}}, (SHOP, True)),
        ({"partitionKey": SHOP, "_crHasCrossSiteAncestor": True}, (SHOP, True)),
        ({"partitionKey": SHOP, "_crHasCrossSiteAncestor": None}, (SHOP, False)),
    ],
)
def test_every_way_to_write_a_partition(fields: dict[str, Any], partition: tuple[str | None, bool]) -> None:
    """The partition key as a text, as either object and as null; an ancestor that isn't named is derived."""
    cookie = one(**fields)
    assert (cookie.partition_key, cookie.cross_site_ancestor) == partition


def test_unknown_fields_are_named() -> None:
    """A field that no tool has is named with its places, of an entry and of the object around the list."""
    document = {"cookies": [entry(expiry=LATE, colour="red"), entry(colour=SECRET)], "localStorage": {"token": SECRET}}
    contents = read_json("selenium", document)
    assert contents.notes == [
        "cookies[0], cookies[1]: the field colour is not read",
        "fields of the file that are not read: localStorage",
    ]
    many = read_json("selenium", [entry(**{f"field{number}": 1}) for number in range(100)])
    assert len(many.notes) == 11
    assert many.notes[-1] == "90 more remarks"


def test_entries_without_a_domain() -> None:
    """An entry is for its own URL, else for the site that the user names; without either it is refused."""
    bare = {"name": "sid", "value": SECRET}
    (cookie,) = read_json("playwright", [{**bare, "url": "https://shop.example/x"}]).cookies
    assert (cookie.domain, cookie.host_only, cookie.secure) == ("shop.example", True, True)
    (cookie,) = read_json("extension", [bare], url=URL).cookies
    assert (cookie.domain, cookie.secure) == ("www.shop.example", True)
    with pytest.raises(FormatError, match="it is missing") as error:
        read_json("extension", [bare])
    assert error.value.place == "cookies[0].domain"


def test_a_cookie_of_python_without_equals() -> None:
    """http.cookiejar has a nameless cookie's value as its name, and no value."""
    cookie = one(name=SECRET, value=None, _rest={})
    assert (cookie.name, cookie.value) == ("", SECRET)


BAD = {
    "netscape": f"shop.example\tFALSE\t/\tFALSE\t0\tgood\t1\nshop.example\tFALSE\t/\tno\t0\tbad\t{SECRET}\n",
    "selenium": json.dumps([entry(name="good"), entry(value=5), 7]),
    "storage-state": json.dumps({"cookies": [entry(name="good"), entry(secure=SECRET)], "origins": [SECRET]}),
    "header": f"good=1; {'x' * 3}=\x07{SECRET}",
    "har": json.dumps(
        {
            "log": {
                "entries": [
                    {"request": {"url": URL, "headers": [{"name": "Cookie", "value": "good=1"}]}},
                    {"request": {"url": URL}, "startedDateTime": SECRET},
                ]
            }
        }
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_entries_may_be_left_out(name: str) -> None:
    """With ``skip_bad`` the good entries are read, and the faults of the others are collected, without a value."""
    reading = Reading(5.0, url=URL if name == "header" else None, skipping=Skipping(enabled=True))
    contents = read(name, Source(BAD[name]), reading)
    assert "good" in {cookie.name for cookie in contents.cookies}
    assert all(SECRET not in str(fault) for fault in reading.skipping.faults)
    if name != "header":  # whose parts are judged by the jar
        assert reading.skipping.faults
        with pytest.raises(FormatError):
            read_text(name, BAD[name])


HOSTS = ["shop.example", "www.shop.example", "notshop.example", "shop.example.evil.test"]


def of_hosts(name: str) -> str:
    """A file in the format *name* with a cookie for each of the hosts."""
    entries = [entry(name=host, domain=host, value="1") for host in HOSTS]
    if name == "netscape":
        return "".join(f"{host}\tFALSE\t/\tFALSE\t0\t{host}\t1\n" for host in HOSTS)
    if name == "har":
        sent = {host: [{"name": host, "value": "1"}] for host in HOSTS}
        requests = [{"url": f"https://{host}/", "cookies": cookies} for host, cookies in sent.items()]
        return json.dumps({"log": {"entries": [{"request": request} for request in requests]}})
    if name == "curl":
        return " ;\n".join(f"curl https://{host}/ -b {host}=1" for host in HOSTS)
    if name == "json":
        record = {"session_id": "a", "schema_version": 1, "cookies": entries}
        return json.dumps({"format": "scrapy-sessions", "schema_version": 1, "sessions": [record]})
    if name == "storage-state":
        storage = [{"origin": f"https://{host}:8443", "localStorage": [{"name": "k", "value": "v"}]} for host in HOSTS]
        return json.dumps({"cookies": entries, "origins": storage})
    return json.dumps(entries)


@pytest.mark.parametrize("domain", ["shop.example", ".shop.example", "SHOP.example"])
@pytest.mark.parametrize("name", [name for name in FORMATS if name not in {"header", "name-value"}])
def test_one_site_of_a_file(name: str, domain: str) -> None:
    """``domain`` keeps the cookies of that domain and of hosts below it, in every format that has domains."""
    contents = read_text(name, of_hosts(name), now=5.0, domain=domain)
    cookies = contents.cookies + [cookie for record in contents.records for cookie in record.cookies]
    assert [cookie.name for cookie in cookies] == HOSTS[:2]
    if name == "storage-state":
        assert list(contents.local_storage) == [f"https://{host}:8443" for host in HOSTS[:2]]
    if name not in {"har", "json"}:
        assert contents.notes[-1] == "2 cookies of other domains were left out"


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04cbuiltins\nlist\n.",
        b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        b"(lp0\nc__builtin__\nset\np1\na.",
        b"\x80\x02]q\x00(cdatetime\ndate\n.",
        b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x8c\x06system\x93.",
        b"(dp0\nS'a'\nPpersistent\ns.",
        pickle.dumps([{"name": "a", "value": b"bytes", "domain": "a.example"}], 4),
        pickle.dumps({"cookies": {1, 2}}, 4),
        b"\x80\x04" + b"]" * 5 + b"\x97.",
    ],
)
def test_a_pickle_with_anything_else_is_refused(content: bytes) -> None:
    """A pickle that looks up or calls a name, or contains objects, is refused, and the message suggests JSON."""
    with pytest.raises(FormatError, match=r"objects.*json\.dump"):
        read_text("selenium", content)


@pytest.mark.parametrize(
    "content", [b"\x80\x04", b"\x80\x04]", b"\x80\x04r\xff\xff\xff\x7f.", b"]q", b"\x80\x05h\x01."]
)
def test_a_damaged_pickle_is_refused(content: bytes) -> None:
    """A pickle that ends early, or whose table would fill the memory, is refused."""
    with pytest.raises(FormatError, match="damaged"):
        read_text("selenium", content)


def test_keys_are_texts() -> None:
    """A dict with other keys than JSON has is refused, wherever it is; a list that contains itself is survived."""
    nested = [[{"name": "a", "more": [{5: SECRET}]}]]
    with pytest.raises(FormatError, match="a key that is no text"):
        read_text("selenium", pickle.dumps(nested))
    endless: list[Any] = [entry()]
    endless.append(endless)
    with pytest.raises(FormatError) as error:
        read_text("selenium", pickle.dumps(endless))
    assert error.value.place == "cookies[1]"


def test_no_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even an operation that the check let through could not import a name."""
    monkeypatch.setattr("scrapy_sessions.formats.pickles._ALLOWED", {"PROTO", "GLOBAL", "STOP"})
    with pytest.raises(FormatError, match="damaged"):
        read_text("selenium", b"\x80\x04cbuiltins\nlist\n.")


@pytest.mark.parametrize(
    ("text", "description"),
    [
        (of_hosts("netscape"), "a cookies.txt of 4 cookies for 4 hosts"),
        (json.dumps([entry(expires=1)]), "a Playwright list of 1 cookie for 1 host"),
        (json.dumps([entry(expiry=1), entry()]), "a Selenium list of 2 cookies for 1 host"),
        (json.dumps([entry(size=3, expires=-1)]), "a Puppeteer list of 1 cookie for 1 host"),
        (json.dumps([entry(hostOnly=True)]), "a list of a browser extension of 1 cookie for 1 host"),
        (pickle.dumps([entry(expiry=1)]), "a Selenium list, in a pickle, of 1 cookie for 1 host"),
        (
            of_hosts("storage-state"),
            "a storage state of Playwright of 4 cookies for 4 hosts, local storage of 4 origins",
        ),
        (of_hosts("json"), "our own JSON of 1 session"),
        (of_hosts("har"), "a HAR of 4 cookies for 4 hosts"),
        (of_hosts("curl"), "a copied request of 4 cookies for 4 hosts"),
    ],
)
def test_the_description_of_a_file(text: str | bytes, description: str) -> None:
    """A file is described by its kind, and by how many cookies it has for how many hosts."""
    source = Source(text)
    name = detect(source, Reading())
    assert describe(name, source, read(name, source, Reading(now=5.0))) == description


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello", ["netscape: it has no line", "curl: it begins with neither", "header: it isn't one line"]),
        ("sid=1", ["--url"]),
        ("<!DOCTYPE html>\n<p>a=b", ["header: it is an HTML page"]),
        ('{"what": 1}', ['har: it has no "log"', 'json: it has no "format"', "name-value: it is no object of names"]),
        ('[{"x": 1, "expiry": 5}, 7]', []),
    ],
)
def test_an_unknown_text_lists_what_was_tried(text: str, words: list[str]) -> None:
    """Where no format fits, each is named with the reason why it didn't, in one line."""
    source = Source(text)
    if not words:
        assert detect(source, Reading()) == "selenium"
        return
    with pytest.raises(FormatError, match="--format") as error:
        detect(source, Reading())
    message = str(error.value)
    assert all(word in message for word in words), message
    assert all(name in message for name in FORMATS)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ("\ufeff{}".encode("utf-16"), "UTF-16"),
        ("{}\r\n".encode("utf-16-le"), "UTF-16"),
        ("{}\r\n".encode("utf-16-be"), "UTF-16"),
        (b"a\rb\r", "CR alone"),
        (b"\xef\xbb\xbf{}", None),
        (b"a\r\nb\r\n", None),
        (b"a\r", None),
        (b"", None),
    ],
)
def test_encodings_are_recognised(content: bytes, note: str | None) -> None:
    """UTF-16, with or without its mark, and CR line ends are read, which is noted."""
    source = Source(content)
    assert "\r" not in source.text.strip() or note is None
    assert "\0" not in source.text
    assert [note in said for said in source.notes if note] == ([True] if note else [])


def test_a_contradiction_is_noted_once() -> None:
    """A leading dot beside the flag for the host alone is noted with its lines, and the flag counts."""
    text = "".join(f".shop.example\tFALSE\t/\tFALSE\t0\tn{number}\t1\n" for number in range(5))
    contents = read_text("netscape", text)
    assert all(cookie.host_only for cookie in contents.cookies)
    (note,) = contents.notes
    assert note.startswith("line 1, line 2, line 3 and 2 more: the leading dot of the domain and the flag")
    assert load("netscape", text.replace("FALSE", "TRUE", 1))[0].host_only is False
