"""The text form of cookie bytes: nothing a site sends is lost or changed."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scrapy_sessions.cookies import SessionCookieJar
from scrapy_sessions.cookies.parse import decode, encode

URL = urlsplit("https://shop.example/")
FORBIDDEN = {*range(0x20), 0x7F, ord(";")}
OCTETS = st.sampled_from([octet for octet in range(256) if octet not in FORBIDDEN])
ESCAPES = "\uef80\uefff"


@given(st.binary())
@example(ESCAPES.encode())
@example(b"\xed\xa0\x80\xff\xc3\xa9")
def test_decode_loses_nothing(raw: bytes) -> None:
    """Encoding the text form gives the same bytes again, whatever they are."""
    assert encode(decode(raw)) == raw


@given(st.binary())
@example(b"\xed\xb2\x80")
def test_text_form_is_storable(raw: bytes) -> None:
    """The text form is valid Unicode, so that JSON and SQLite take it."""
    assert decode(raw).encode("utf-8").decode("utf-8") == decode(raw)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("caf\u00e9".encode(), "caf\u00e9"),
        (b"caf\xe9", "caf\uefe9"),
        ("\uef80".encode(), "\uefee\uefbe\uef80"),
        (b"plain", "plain"),
    ],
)
def test_decode(raw: bytes, text: str) -> None:
    """UTF-8 is read as such; a byte outside of it, or of the escapes themselves, is one private-use character."""
    assert decode(raw) == text


def test_encode_refuses_lone_surrogates() -> None:
    """Text that no bytes have as their text form can't be encoded."""
    with pytest.raises(UnicodeEncodeError):
        encode("\ud800")


@given(st.lists(OCTETS, min_size=1, max_size=60).map(bytes), st.lists(OCTETS, max_size=60).map(bytes))
def test_header_gives_the_same_bytes(name: bytes, value: bytes) -> None:
    """What a site set comes back to it byte for byte."""
    name, value = name.replace(b"=", b"-").strip(b" \t") or b"n", value.strip(b" \t")
    name = name.lstrip(b"_")
    jar = SessionCookieJar()
    jar.store([name + b"=" + value], URL)
    expected = name + b"=" + value if name else value
    assert jar.header(URL) == (expected or None)


def test_header_given_as_text() -> None:
    """A Set-Cookie given as text holds the same escapes as a cookie's value, so a value read can be given back."""
    jar = SessionCookieJar()
    jar.store([b"a=caf\xe9"], URL)
    jar.store([f"b={jar['a']}"], URL)
    assert jar.header(URL) == b"a=caf\xe9; b=caf\xe9"
