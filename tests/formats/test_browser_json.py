"""Playwright's storage state and the JSON of cookie extensions: fields both ways, and bad ones named by their path."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scrapy_sessions import Cookie, FormatError
from scrapy_sessions.formats import storage_state
from scrapy_sessions.formats.json_cookies import dump, to_extension
from tests.support.formats import load, read_text

SECRET = "hunter2"
FULL = Cookie(
    name="sid",
    value=SECRET,
    domain="shop.example",
    host_only=False,
    path="/a",
    expires=2_000_000_000.25,
    secure=True,
    http_only=True,
    same_site="None",
    partition_key="https://shop.example",
)
PLAIN = Cookie(name="a", value="b", domain="www.shop.example")
STATE: dict[str, Any] = {"name": "a", "value": SECRET, "domain": "shop.example", "path": "/", "expires": -1}
EXTENSION: dict[str, Any] = {"name": "a", "value": SECRET, "domain": "shop.example", "path": "/", "session": True}


def test_storage_state_has_playwrights_fields() -> None:
    """What is written is what Playwright writes: a dot for shared domains, -1 for session cookies, local storage."""
    content = json.loads(storage_state.dump([FULL, PLAIN], {"https://shop.example": {"k": "v"}, "https://empty": {}}))
    assert content == {
        "cookies": [
            {
                "name": "sid",
                "value": SECRET,
                "domain": ".shop.example",
                "path": "/a",
                "expires": 2_000_000_000.25,
                "httpOnly": True,
                "secure": True,
                "sameSite": "None",
                "partitionKey": "https://shop.example",
                "_crHasCrossSiteAncestor": False,
            },
            {
                "name": "a",
                "value": "b",
                "domain": "www.shop.example",
                "path": "/",
                "expires": -1,
                "httpOnly": False,
                "secure": False,
            },
        ],
        "origins": [{"origin": "https://shop.example", "localStorage": [{"name": "k", "value": "v"}]}],
    }


def test_extension_has_the_browsers_fields() -> None:
    """What is written is what the extensions write, in the words of the browsers' interface."""
    assert json.loads(dump([FULL, PLAIN], to_extension)) == [
        {
            "domain": ".shop.example",
            "expirationDate": 2_000_000_000.25,
            "hostOnly": False,
            "httpOnly": True,
            "name": "sid",
            "partitionKey": {"topLevelSite": "https://shop.example", "hasCrossSiteAncestor": False},
            "path": "/a",
            "sameSite": "no_restriction",
            "secure": True,
            "session": False,
            "storeId": "0",
            "value": SECRET,
        },
        {
            "domain": "www.shop.example",
            "hostOnly": True,
            "httpOnly": False,
            "name": "a",
            "path": "/",
            "sameSite": "unspecified",
            "secure": False,
            "session": True,
            "storeId": "0",
            "value": "b",
        },
    ]


@pytest.mark.parametrize(
    ("word", "same_site"),
    [("no_restriction", "None"), ("lax", "Lax"), ("Strict", "Strict"), ("unspecified", None), (None, None)],
)
def test_extensions_words_for_same_site(word: str | None, same_site: str | None) -> None:
    """Each of the extensions' words is understood, null and capitals too."""
    (cookie,) = load("extension", json.dumps([{**EXTENSION, "sameSite": word}]))
    assert cookie.same_site == same_site


def test_extension_without_host_only() -> None:
    """Without the flag, a leading dot means that subdomains get the cookie; a session cookie has no date."""
    text = json.dumps([{**EXTENSION, "domain": ".shop.example", "expirationDate": 5}, {**EXTENSION, "session": False}])
    shared, own = load("extension", text)
    assert (shared.host_only, shared.expires) == (False, None)
    assert (own.host_only, own.expires) == (True, None)


def test_local_storage_that_is_no_text_is_left_out() -> None:
    """Half a character, which browsers keep and a record can't, costs its entry, and is counted."""
    entries = [{"name": "odd", "value": "\ud800"}, {"name": "fit", "value": "\U0001f36a"}]
    state = read_text(
        "storage-state", json.dumps({"cookies": [], "origins": [{"origin": "https://a", "localStorage": entries}]})
    )
    assert state.local_storage == {"https://a": {"fit": "\U0001f36a"}}
    assert state.notes == ["origins[0]: an entry of local storage is no text and is left out"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"name": None}, "cookies[1].name"),
        ({"value": 5}, "cookies[1].value"),
        ({"domain": ""}, "cookies[1]"),
        ({"path": "x"}, "cookies[1]"),
        ({"expires": "soon"}, "cookies[1].expires"),
        ({"expires": True}, "cookies[1].expires"),
        ({"expires": 10**400}, "cookies[1].expires"),
        ({"secure": "yes"}, "cookies[1].secure"),
        ({"sameSite": "sometimes"}, "cookies[1].sameSite"),
    ],
)
def test_a_bad_field_of_a_storage_state_is_named(change: dict[str, Any], place: str) -> None:
    """The JSON path of a field of a wrong type is named, and no value."""
    with pytest.raises(FormatError) as error:
        load("storage-state", json.dumps({"cookies": [STATE, {**STATE, **change}]}))
    assert error.value.place == place
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"expirationDate": "x", "session": False}, "cookies[0].expirationDate"),
        ({"session": 1}, "cookies[0].session"),
        ({"hostOnly": "true"}, "cookies[0].hostOnly"),
        ({"sameSite": "sometimes"}, "cookies[0].sameSite"),
        ({"partitionKey": 5}, "cookies[0].partitionKey"),
        ({"partitionKey": {"topLevelSite": 5}}, "cookies[0].partitionKey.topLevelSite"),
    ],
)
def test_a_bad_field_of_an_extension_is_named(change: dict[str, Any], place: str) -> None:
    """The same, for the JSON of the extensions."""
    with pytest.raises(FormatError) as error:
        load("extension", json.dumps([{**EXTENSION, **change}]))
    assert error.value.place == place
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f'{{"cookies": [\n{{"value": "{SECRET}",}}]}}', "line 2, column "),
        ('{"cookies": 5}', "cookies"),
        ('{"origins": []}', "cookies"),
        ('{"cookies": [5]}', "cookies[0]"),
        (
            '{"cookies": [], "origins": [{"origin": "https://a", "localStorage": [{}]}]}',
            "origins[0].localStorage[0].name",
        ),
        ("[" * 100_000, "the document"),
        ('{"cookies": [{"expires": NaN}]}', "the document"),
        ('{"cookies": [{"expires": 1e999}]}', "the document"),
        ("5", "the document"),
    ],
)
def test_a_bad_document_is_named(text: str, place: str) -> None:
    """What isn't JSON is named by line and column, what isn't a storage state by its path; neither is quoted."""
    with pytest.raises(FormatError) as error:
        load("storage-state", text)
    assert error.value.place.startswith(place)
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is error.value.__context__ is None
