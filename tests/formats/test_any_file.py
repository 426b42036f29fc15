"""Any file is survived: reading it gives cookies or one clear message without a value, whatever its bytes."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrapy_sessions import FormatError
from scrapy_sessions.exceptions import NewerSchema
from scrapy_sessions.formats.contents import Contents, Reading, Skipping, Source
from scrapy_sessions.formats.importing import merge
from scrapy_sessions.formats.registry import FORMATS, describe, detect, read

CASES = Path(__file__).parent / "cases"
SECRET = "hunter2"
URL = "https://www.shop.example/"
FUZZ = int(os.environ.get("FUZZ_CASES") or 100_000)
"""How many damaged files are read: a million in ``tox -e long``."""

few = settings(max_examples=60, deadline=None)

FIELDS = re.findall(
    r"\w+",
    "cookies origins name value domain expires expirationDate expiry sameSite log entries request response headers url "
    "startedDateTime partitionKey time sessions format schema_version session_id localStorage path data metrics result "
    "hostOnly session http_only same_site _rest topLevelSite sourceOrigin hasCrossSiteAncestor indexedDB httpOnly",
)
SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=12,
)
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
        *("curl ", "-b ", "-H ", "'", "$'", '"', "^", "\\", '^"', "https://shop.example/", "Cookie: ", "--url "),
        *(
            "Invoke-WebRequest -Uri ",
            "$session.Cookies.Add(",
            "System.Net.Cookie(",
            "`",
            "$([char]381)",
            "@{",
            "-Headers ",
        ),
    ]
)


def outcome(content: bytes | str, name: str | None = None, **reading: Any) -> Contents | str:
    """What an import makes of *content*: what it contains, or the message of its fault."""
    source, how = Source(content), Reading(now=5.0, **reading)
    try:
        name = name or detect(source, how)
        contents = read(name, source, how)
    except (FormatError, NewerSchema) as fault:
        return str(fault)
    describe(name, source, contents)
    merge(None, contents, now=5.0, replace=False)
    return contents


@pytest.mark.parametrize("name", FORMATS)
@few
@given(st.binary() | st.text() | st.lists(PARTS, max_size=14).map("".join) | SHAPES.map(json.dumps))
def test_any_file_is_survived(name: str, content: bytes | str) -> None:
    """Whatever a file contains, reading it gives cookies or our exception, and so does the detection of its format."""
    contents = outcome(content, name, url=URL)
    if isinstance(contents, Contents):
        assert all(cookie.domain for cookie in contents.cookies)
    outcome(content, url=URL)


def wrapped(name: str, shape: Any) -> str:
    """*shape* deep inside a document of the format *name*."""
    return json.dumps(
        {
            "json": {"format": "scrapy-sessions", "schema_version": 1, "sessions": [shape]},
            "storage-state": {"cookies": [shape], "origins": [shape]},
            "har": {"log": {"entries": [{"request": {"url": "https://a.example/"}, "response": {}, "x": shape}]}},
            "name-value": {"sid": "1", "x": shape},
        }.get(name, [shape])
    )


@pytest.mark.parametrize(
    "name", [name for name, each in FORMATS.items() if each.suffix in {".json", ".har"} or name == "har"]
)
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
    outcome(text, name, url=URL)


def seeds() -> list[bytes]:
    """Files of all formats whose every value is the secret."""
    texts = [path.read_bytes() for path in sorted(CASES.iterdir()) if path.suffix in {".json", ".txt", ".har", ".pkl"}]
    texts = [text.replace(b"s-3f9a", SECRET.encode()) for text in texts if b"requests.cookies" not in text]
    record = {"session_id": "a", "cookies": [{"name": "a", "value": SECRET, "domain": "shop.example"}]}
    texts.append(json.dumps({"format": "scrapy-sessions", "schema_version": 1, "sessions": [record]}).encode())
    return texts


def mutated(random_: random.Random, content: bytes) -> bytes:
    """*content* with a few changes, as broken programs, editors and people make them."""
    for _ in range(random_.randint(1, 4)):
        place = random_.randrange(len(content) + 1)
        end = min(len(content), place + random_.choice([0, 1, 2, 8, 64]))
        piece = random_.choice(
            [
                b"",
                bytes([random_.randrange(256)]),
                random_.choice(INSERTS),
                content[random_.randrange(len(content) + 1) :][: random_.choice([1, 8, 64])],
            ]
        )
        content = content[:place] + piece + content[end:]
    return content


INSERTS = [
    *(
        b"null",
        b"{}",
        b"[]",
        b"true",
        b"-1",
        b"1e308",
        b"9223372036854775807",
        b'""',
        b"\\ud800",
        b"\xff",
        b"\x00",
        b"\r",
    ),
    *(b"\n", b"\t", b" ", b";", b"=", b",", b":", b'"', b"'", b"$'", b"^", b"`", b"\\", b"#HttpOnly_", b"#", b"."),
    *(b"curl ", b"-b ", b"--url ", b"Cookie:", b"Set-Cookie:", b"[redacted]", b"cookies", b"expires", b"\xef\xbb\xbf"),
]


def fuzz(cases: int, seed: int) -> Iterator[tuple[bytes, Contents | str]]:
    random_ = random.Random(seed)
    files = seeds()
    names = list(FORMATS)
    for number in range(cases):
        content = mutated(random_, random_.choice(files))
        kind = number % 4
        name = random_.choice(names) if kind == 3 else None
        where: dict[str, Any] = [{}, {"url": URL}, {"domain": "shop.example"}, {"url": URL}][kind]
        yield content, outcome(content, name, skipping=Skipping(number % 3 == 0), **where)


def quotes_secret(text: str) -> bool:
    """Whether *text* quotes the secret, or most of it."""
    return "hunter" in text or "unter2" in text


@pytest.mark.heavy
def test_a_hundred_thousand_files() -> None:
    """Files of all formats, damaged at random: cookies, or one line without a value; nothing else is ever raised."""
    read_ = refused = 0
    for content, result in fuzz(FUZZ, seed=FUZZ):
        if isinstance(result, Contents):
            read_ += 1
            # The names of fields and headers are quoted, and the damage may have put the secret into one.
            notes = [note for note in result.notes if "not read" not in note and "its headers" not in note]
            assert not any(map(quotes_secret, notes)), (content, notes)
        else:
            refused += 1
            assert "\n" not in result, content
            assert not quotes_secret(result), (content, result)
    assert min(read_, refused) > FUZZ / 10  # or the damage would be too small, or too large
