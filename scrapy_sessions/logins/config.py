"""A config whose login uses credentials."""

from __future__ import annotations

import asyncio
import hashlib
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from scrapy_sessions.config import SessionConfig
from scrapy_sessions.exceptions import LoginImpossible
from scrapy_sessions.logins.credentials import Credentials, find_credentials

if TYPE_CHECKING:
    from pyotp import TOTP
    from scrapy.crawler import Crawler

    from scrapy_sessions.sessions.browser_session import BrowserSession

__all__ = ["LoginConfig"]

_DIGESTS = {"SHA1": hashlib.sha1, "SHA256": hashlib.sha256, "SHA512": hashlib.sha512}


class LoginConfig(SessionConfig):
    """A :class:`~scrapy_sessions.SessionConfig` with credentials: the base of the ready-made logins and of your own.

    .. code-block:: python

        class Shop(LoginConfig):
            login_url = "https://shop.example/login"

            async def login(self, session, fetch):
                credentials = await self.credentials(session)
                data = {"user": credentials.username, "password": credentials.password}
                page = await fetch(FormRequest(self.login_url, formdata=data))
                return page.status == 200
    """

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._steps: dict[bytes, int] = {}  # by a digest of the secret, when its latest code was used

    async def credentials(self, session: BrowserSession) -> Credentials:
        """Return the credentials of *session*, from the first source in ``SESSIONS_CREDENTIALS`` that has them.

        An override takes its place, for a vault of your own.

        Raises :exc:`~scrapy_sessions.exceptions.LoginImpossible`, which says where they were looked for.

        .. code-block:: python

            async def credentials(self, session):
                return Credentials(username=session.id, password=await self.vault.read(session.id))
        """
        pool = self.settings.pools.get(session.pool) if session.pool is not None else None
        return await find_credentials(
            self.settings.credentials,
            session_id=session.id,
            namespace=session.namespace,
            host=urlsplit(self.login_url).hostname or "",
            shared=session.pool is not None and (pool is None or pool.sessions is None),
        )

    async def one_time_code(self, session: BrowserSession, credentials: Credentials) -> str:
        """Return the current one-time code (TOTP, RFC 6238) of *credentials*.

        A process uses a code once: a second login with the same secret within the code's time, usually 30 seconds,
        waits for the next one.

        Raises :exc:`~scrapy_sessions.exceptions.LoginImpossible` for credentials without a ``totp`` that can be used,
        and without the package ``pyotp``.
        """
        if not credentials.totp:
            raise LoginImpossible(f"the site asks {session.id!r} for a one-time code, and its credentials have no totp")
        totp = None
        with suppress(ValueError, LookupError):  # their messages may quote the secret
            totp = _totp(credentials.totp.replace(" ", ""))
        if totp is None:
            raise LoginImpossible(
                f"the totp in the credentials of {session.id!r} is neither base32 nor an otpauth://totp/ URI"
            )
        secret, step = hashlib.sha256(credentials.totp.encode()).digest(), int(time.time() // totp.interval)
        while self._steps.get(secret, -1) >= step:
            await asyncio.sleep((step + 1) * totp.interval - time.time())
            step = int(time.time() // totp.interval)
        self._steps[secret] = step
        return totp.at(step * totp.interval)

    def _login_url(self) -> str:
        """Return :attr:`login_url`, which a ready-made login needs in full."""
        if not urlsplit(self.login_url).hostname:
            raise LoginImpossible(
                f"{type(self).__qualname__}.login_url must be a URL with a scheme and a host, not {self.login_url!r}"
            )
        return self.login_url


def _totp(secret: str) -> TOTP:
    """Return what makes the codes of *secret*, base32 or an ``otpauth://totp/`` URI.

    Raises :exc:`ValueError` or :exc:`LookupError` for one that is neither, and
    :exc:`~scrapy_sessions.exceptions.LoginImpossible` without the package ``pyotp``.
    """
    try:
        from pyotp import TOTP  # noqa: PLC0415  # an extra
    except ImportError:
        raise LoginImpossible(
            "one-time codes need the package pyotp: pip install 'scrapy-persistent-sessions[totp]'"
        ) from None

    class Code(TOTP):
        # The site has chosen the length, and many have chosen 80 bits. pyotp.parse_uri() refuses them.
        min_secret_length_bits = 0

    if not secret.startswith("otpauth:"):
        code = Code(secret)
    else:
        parts = urlsplit(secret)
        if parts.netloc != "totp":
            raise ValueError("not a time-based code")
        options = dict(parse_qsl(parts.query))
        code = Code(
            options["secret"],
            digits=int(options.get("digits", 6)),
            digest=_DIGESTS[options.get("algorithm", "SHA1").upper()],
            interval=int(options.get("period", 30)),
        )
    code.at(0)  # older versions of pyotp decode the secret here
    return code
