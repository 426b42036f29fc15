"""Which token is taken from an answer, where it is sent, and when it is renewed."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from scrapy.http import Response, TextResponse

from scrapy_sessions.exceptions import LoginRejected
from scrapy_sessions.logins import Credentials, TokenLogin
from scrapy_sessions.sessions.browser_session import BrowserSession
from tests.support.login_pages import Pages, config_of

URL = "https://api.shop.test/token"
SECRET = "hunter2"


class Api(TokenLogin):
    login_url = URL

    async def credentials(self, session: BrowserSession) -> Credentials:
        return Credentials(session.id, SECRET, others={"client_id": "c:1", "client_secret": "s&2"})


def api(**attributes: Any) -> Any:
    return config_of(type("Changed", (Api,), attributes))


def answer(content: object, status: int = 200) -> TextResponse:
    return TextResponse(URL, status=status, body=json.dumps(content).encode(), encoding="utf-8")


def jwt(**claims: Any) -> str:
    parts = [{"alg": "HS256"}, claims]
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*coded, "signature"])


@pytest.mark.parametrize(
    ("content", "attributes", "header", "value"),
    [
        ({"access_token": "t", "token": "other"}, {}, "Authorization", "Bearer t"),
        ({"token": "t"}, {"scheme": "Token"}, "Authorization", "Token t"),
        ({"access": "t", "refresh": "r"}, {}, "Authorization", "Bearer t"),
        ({"key": "t"}, {"header": "X-Api-Key", "scheme": ""}, "X-Api-Key", "t"),
        ({"data": [{"jwt": "t"}]}, {"token_path": "data[0].jwt"}, "Authorization", "Bearer t"),
    ],
)
async def test_the_token_is_sent(content: Any, attributes: dict[str, Any], header: str, value: str) -> None:
    """The header goes to the origin of the API, and to no other."""
    session = await Pages(answer(content)).log_in(api(**attributes))
    assert session.headers.get(header, url="https://api.shop.test/orders") == value
    assert session.headers.get(header, url="https://shop.test/") is None


async def test_another_origin() -> None:
    """The API may be on another host than the login."""
    session = await Pages(answer({"token": "t"})).log_in(api(api_url="https://data.shop.test/v1"))
    assert session.headers.origins() == ["https://data.shop.test"]


async def test_json() -> None:
    """The credentials are sent as JSON, under the names of the class."""
    site = Pages(answer({"token": "t"}))
    await site.log_in(api(username_key="email", password_key="pw"))
    (request,) = site.requests
    assert request.method == "POST"
    assert json.loads(request.body) == {"email": "alice", "pw": SECRET}


@pytest.mark.parametrize("where", ["basic", "body"])
async def test_password_grant(where: str) -> None:
    """RFC 6749, sections 2.3.1 and 4.3: the client's secret is in a header, its parts encoded, or in the body."""
    site = Pages(answer({"access_token": "t"}))
    await site.log_in(api(grant="password", scope="read", client_auth=where))
    client = {} if where == "basic" else {"client_id": "c:1", "client_secret": "s&2"}
    form = {"grant_type": "password", "username": "alice", "password": SECRET, "scope": "read"}
    assert site.posted == [{**form, **client}]
    sent = site.requests[0].headers.get("Authorization")
    expected = b"Basic " + base64.b64encode(b"c%3A1:s%262")
    assert sent == (expected if where == "basic" else None)


@pytest.mark.parametrize("grant", ["json", "password"])
async def test_renewal(grant: str) -> None:
    """The refresh token is used, without the expired token; the one before stays where the answer has no other."""
    config = api(grant=grant, **({"refresh_url": f"{URL}/refresh"} if grant == "json" else {}))
    site = Pages(
        answer({"access_token": "t1", "refresh_token": "r1", "expires_in": 1000}),
        answer({"access_token": "t2", "expires_in": "20"}),
        answer({"access_token": "t3", "refresh_token": "r3"}),
    )
    session = await site.log_in(config)
    now = time.time()
    assert config.renew_at(session) == pytest.approx(now + 940, abs=60)
    await config.login(session, site.fetch)
    assert config.renew_at(session) == pytest.approx(now + 15, abs=60)
    assert session.headers.get("Authorization", url=URL) == "Bearer t2"
    await config.login(session, site.fetch)
    assert config.renew_at(session) is None
    for request in site.requests[1:]:
        if grant == "json":
            assert request.url == f"{URL}/refresh"
            assert json.loads(request.body)["refresh"] == "r1"
        else:
            assert b"grant_type=refresh_token" in request.body
            assert b"refresh_token=r1" in request.body
            assert SECRET.encode() not in request.body


async def test_json_without_a_place_for_refresh_tokens() -> None:
    """A refresh token that nobody says where to send is not used."""
    config = api()
    site = Pages(answer({"access": "t1", "refresh": "r1"}), answer({"access": "t2"}))
    session = await site.log_in(config)
    await config.login(session, site.fetch)
    assert [json.loads(request.body)["password"] for request in site.requests] == [SECRET, SECRET]


async def test_a_refresh_token_that_is_refused() -> None:
    """The session then logs in with its credentials."""
    config = api(grant="password")
    first = answer({"access_token": "t1", "refresh_token": "r1"})
    site = Pages(first, answer({"error": "invalid_grant"}, 400), answer({"access_token": "t2"}))
    session = await site.log_in(config)
    await config.login(session, site.fetch)
    assert [form["grant_type"] for form in site.posted] == ["password", "refresh_token", "password"]
    assert session.headers.get("Authorization", url=URL) == "Bearer t2"


@pytest.mark.parametrize(
    ("claims", "life"),
    [
        ({"exp": 2000, "iat": 1000}, 1000),  # by the clock of the site, which may be wrong
        ({"exp": None}, 500),  # 500 seconds from now
        ({"exp": None, "iat": 1000}, 500),  # not a new one
        ({"sub": "alice"}, None),
        ({"exp": "soon"}, None),
        ("no.jwt.at all", None),
        ("a." + base64.urlsafe_b64encode(b"[" * 5000).decode() + ".b", None),
        ("plain", None),
    ],
    ids=["iat", "no iat", "an old one", "no exp", "exp is text", "no base64", "no JSON", "no dots"],
)
async def test_the_life_of_a_jwt(claims: Any, life: float | None) -> None:
    """The claims ``exp`` and ``iat`` (RFC 7519) say how long it is good."""
    config = api()
    now = time.time()
    if isinstance(claims, dict) and claims.get("exp", 0) is None:
        claims = {**claims, "exp": now + 500}
    token = claims if isinstance(claims, str) else jwt(**claims)
    session = await Pages(answer({"token": token})).log_in(config)
    expected = None if life is None else pytest.approx(now + life - 60, abs=60)
    assert config.renew_at(session) == expected


@pytest.mark.parametrize("seconds", [0, -5, "inf", "nan", "soon", None, [1]])
async def test_a_life_that_is_none(seconds: object) -> None:
    """A token whose life can't be true is renewed when the site refuses it."""
    config = api()
    session = await Pages(answer({"token": "t", "expires_in": seconds})).log_in(config)
    assert config.renew_at(session) is None


async def test_beside_the_token() -> None:
    """Where a path leads to the token, its life and the refresh token are beside it."""
    config = api(grant="password", token_path="data.access_token")
    first = answer({"data": {"access_token": "t1", "refresh_token": "r1", "expires_in": 100}})
    site = Pages(first, answer({"data": {"access_token": "t2"}}))
    session = await site.log_in(config)
    assert config.renew_at(session) == pytest.approx(time.time() + 75, abs=60)
    await config.login(session, site.fetch)
    assert site.posted[1]["refresh_token"] == "r1"


async def test_a_renewal_that_fails() -> None:
    """The token and the refresh token stay: they may be good for a while."""
    config = api(grant="password")
    first = answer({"access_token": "t1", "refresh_token": "r1"})
    site = Pages(first, answer("", 503), answer({"access_token": "t2"}))
    session = await site.log_in(config)
    with pytest.raises(LoginRejected, match="503"):
        await config.login(session, site.fetch)
    assert session.headers.get("Authorization", url=URL) == "Bearer t1"
    await config.login(session, site.fetch)
    assert [form["grant_type"] for form in site.posted] == ["password", "refresh_token", "refresh_token"]


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (answer({"error": "invalid_grant", "error_description": SECRET}, 400), "status 400: invalid_grant$"),
        (answer({"error": f"bad {SECRET}"}, 401), "status 401$"),
        (answer([1]), "status 200, without a JSON object"),
        (answer({"token": {"value": SECRET}}), "no token at any of the keys access_token"),
        (TextResponse(URL, body=b"<html>"), "without a JSON object"),
        (TextResponse(URL, body=b"[" * 100_000), "without a JSON object"),
        (Response(URL, body=b"\0"), "without a JSON object"),
    ],
)
async def test_refusals(page: Response, message: str) -> None:
    """The message has the status, and an error code of RFC 6749, and nothing else of the answer."""
    with pytest.raises(LoginRejected, match=message) as caught:
        await Pages(page).log_in(api())
    assert SECRET not in str(caught.value)
