"""Logging in at an API, for a token."""

from __future__ import annotations

import base64
import json
import math
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote
from weakref import WeakKeyDictionary

import jmespath
from scrapy import FormRequest, Request
from scrapy.http import JsonRequest, TextResponse
from scrapy.http.request import NO_CALLBACK

from scrapy_sessions.exceptions import LoginRejected
from scrapy_sessions.logins.config import LoginConfig
from scrapy_sessions.sessions.browser_session import runtime_of

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from scrapy_sessions.config import Fetch
    from scrapy_sessions.logins.credentials import Credentials
    from scrapy_sessions.sessions.browser_session import BrowserSession
    from scrapy_sessions.sessions.runtime import SessionRuntime

__all__ = ["TokenLogin"]

_TOKENS = ("access_token", "accessToken", "access", "token", "auth_token", "jwt", "key")
_REFRESH_TOKENS = ("refresh_token", "refreshToken", "refresh")
_MARGIN = 60.0
"""Seconds before its expiry at which a token is renewed, or after three quarters of its lifetime, whichever is later: a
request that was sent with the old token arrives before it expires."""
_ERROR = re.compile(r"[a-z_]{1,40}")  # RFC 6749, section 5.2: nothing secret


class _Token:
    """A token as the site has issued it: when it is to be renewed (UNIX seconds), and with what."""

    __slots__ = ("refresh", "renew_at")

    def __init__(self, renew_at: float | None, refresh: str | None) -> None:
        self.renew_at = renew_at
        self.refresh = refresh


class TokenLogin(LoginConfig):
    """Logs in at the API :attr:`login_url`, and sends its token in a header, to the origin of the API only.

    The token is renewed before it expires, by the ``expires_in`` of the answer or the claim ``exp`` of a JWT: with the
    refresh token if the site has issued one, else with the credentials. Requests of the session wait for it.
    The refresh token is kept in memory only.

    .. code-block:: python

        class Api(TokenLogin):
            login_url = "https://api.shop.example/token"
            grant = "password"
    """

    grant: Literal["json", "password", "client_credentials"] = "json"
    """How the credentials are sent: as JSON, or by a grant of OAuth 2.0 (RFC 6749). A client's ``client_id`` and
    ``client_secret`` are values of the credentials; for ``client_credentials``, they are their user name and password
    otherwise."""

    client_auth: Literal["basic", "body"] = "basic"
    """Where a client's secret is sent: in the header ``Authorization``, as RFC 6749 recommends, or in the body."""

    scope: str = ""
    """The scope that is asked for (OAuth 2.0)."""

    username_key: str = "username"
    """The key of the user name in JSON."""

    password_key: str = "password"  # noqa: S105  # a name
    """The key of the password in JSON."""

    token_path: str = ""
    """The JMESPath expression of the token in the answer, such as ``"data.token"``. Empty: ``access_token``, ``token``
    or another usual name."""

    refresh_url: str = ""
    """Where a refresh token is sent, as JSON. Empty: with OAuth 2.0, :attr:`login_url`; else it isn't used."""

    api_url: str = ""
    """The URL whose origin gets the token. Empty: that of :attr:`login_url`."""

    header: str = "Authorization"
    """The header that contains the token."""

    scheme: str = "Bearer"
    """The word before the token in the header, such as ``"Token"``; empty for none."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._tokens: WeakKeyDictionary[SessionRuntime, _Token] = WeakKeyDictionary()

    async def login(self, session: BrowserSession, fetch: Fetch) -> None:
        """Get a token, and set it as a header of *session*.

        Raises :exc:`~scrapy_sessions.exceptions.LoginRejected` for an answer without a token.
        """
        url = self.api_url or self._login_url()
        old = session.headers.get(self.header, url=url)
        session.headers.delete(self.header, url=url)  # some sites refuse a request for a token with an expired one
        try:
            answer, refresh = await self._answer(session, fetch)
            token = self._token(answer)
        except BaseException:  # the token may be good for a while
            if old is not None:
                session.headers.set(self.header, old, url=url)
            raise
        session.headers.set(self.header, f"{self.scheme} {token}".strip(), url=url)
        fields = self._beside_token(answer)
        life = _life(fields, token)
        renew_at = None if life is None else time.time() + max(life - _MARGIN, life * 0.75)
        self._tokens[runtime_of(session)] = _Token(renew_at, _first(fields, _REFRESH_TOKENS) or refresh)

    async def _answer(self, session: BrowserSession, fetch: Fetch) -> tuple[dict[str, Any], str | None]:
        """Return the answer that contains a token, and the refresh token that it was got with."""
        known = self._tokens.get(runtime_of(session))
        if known is not None and known.refresh is not None and (self.grant != "json" or self.refresh_url):
            credentials = None if self.grant == "json" else await self.credentials(session)
            response = await fetch(self._refresh(known.refresh, credentials))
            if response.status not in (400, 401, 403):
                return self._read(response), known.refresh
            known.refresh = None  # it isn't good any more
        return self._read(await fetch(self._request(await self.credentials(session)))), None

    def renew_at(self, session: BrowserSession) -> float | None:
        """Return when the token of *session* is to be renewed."""
        token = self._tokens.get(runtime_of(session))
        return token.renew_at if token is not None else None

    def _request(self, credentials: Credentials) -> Request:
        """Return the request that asks for a token."""
        if self.grant == "json":
            data = {self.username_key: credentials.username, self.password_key: credentials.password}
            return JsonRequest(self.login_url, data=data, method="POST", callback=NO_CALLBACK, dont_filter=True)
        form: dict[str, str] = {"grant_type": self.grant}
        if self.grant == "password":
            form |= {"username": credentials.username, "password": credentials.password}
        if self.scope:
            form["scope"] = self.scope
        return self._oauth(form, credentials)

    def _refresh(self, token: str, credentials: Credentials | None) -> Request:
        """Return the request that asks for a new token with the refresh token *token*."""
        if credentials is not None:
            return self._oauth({"grant_type": "refresh_token", "refresh_token": token}, credentials)
        data = {"refresh": token, "refresh_token": token}
        return JsonRequest(self.refresh_url, data=data, method="POST", callback=NO_CALLBACK, dont_filter=True)

    def _oauth(self, form: dict[str, str], credentials: Credentials) -> Request:
        own = (credentials.username, credentials.password) if self.grant == "client_credentials" else ("", "")
        client = credentials.others.get("client_id", own[0])
        secret = credentials.others.get("client_secret", own[1])
        headers = {"Accept": "application/json"}
        if secret and self.client_auth == "basic":
            pair = f"{quote(client, safe='')}:{quote(secret, safe='')}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        elif client:
            form["client_id"] = client
            if secret:
                form["client_secret"] = secret
        return FormRequest(self.login_url, formdata=form, headers=headers, callback=NO_CALLBACK, dont_filter=True)

    def _read(self, response: TextResponse) -> dict[str, Any]:
        """Return the object that *response* contains."""
        answer: Any = None
        if isinstance(response, TextResponse):  # an image isn't
            with suppress(ValueError, RecursionError):
                answer = response.json()
        if response.status >= 400:
            error = answer.get("error") if isinstance(answer, dict) else None
            named = f": {error}" if isinstance(error, str) and _ERROR.fullmatch(error) else ""
            raise LoginRejected(f"the API answered with status {response.status}{named}")
        if not isinstance(answer, dict):
            raise LoginRejected(f"the API answered with status {response.status}, without a JSON object")
        return answer

    def _beside_token(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return the object that contains the token: its lifetime and the refresh token are in it, too."""
        parent = self.token_path.rpartition(".")[0]
        found: Any = jmespath.search(parent, answer) if parent else answer
        return found if isinstance(found, dict) else answer

    def _token(self, answer: dict[str, Any]) -> str:
        token: Any = jmespath.search(self.token_path, answer) if self.token_path else _first(answer, _TOKENS)
        if not isinstance(token, str) or not token:
            place = repr(self.token_path) if self.token_path else f"any of the keys {', '.join(_TOKENS)}"
            raise LoginRejected(f"the API's answer has no token at {place}: set {type(self).__qualname__}.token_path")
        return token


def _first(answer: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((answer[name] for name in names if isinstance(answer.get(name), str) and answer[name]), None)


def _life(answer: dict[str, Any], token: str) -> float | None:
    """Return for how many seconds *token* is good, ``None`` if nobody says."""
    with suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError):
        if answer.get("expires_in") is not None:  # RFC 6749, section 5.1; some APIs write it as text
            life = float(answer["expires_in"])
        else:
            part = token.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))  # RFC 7519
            life = float(claims["exp"]) - time.time()
            whole = float(claims["exp"]) - float(claims.get("iat", time.time()))
            if not 0 < life <= whole:  # the clock of the site is another than ours
                life = whole
        if life > 0 and math.isfinite(life):
            return life
    return None
