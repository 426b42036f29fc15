"""The exceptions, all under one root: :exc:`SessionError`.

Each message says what happened, to which session or file, and what to do next; none holds a cookie value, a password
or a token.
"""

from __future__ import annotations

from collections.abc import Sequence

from scrapy.exceptions import IgnoreRequest

__all__ = [
    "AmbiguousSession",
    "ConfigFailed",
    "CookieConflict",
    "CorruptRecord",
    "CrawlClosing",
    "EncryptionKeyError",
    "FormatError",
    "InvalidCookie",
    "InvalidData",
    "InvalidSessionId",
    "LoginFailed",
    "LoginImpossible",
    "LoginRejected",
    "NewerSchema",
    "PoolBusy",
    "PoolExhausted",
    "RequestNotSent",
    "SessionConfigurationError",
    "SessionError",
    "SessionLost",
    "SessionRetired",
    "StoreError",
    "StoreUnavailable",
    "UnknownPool",
    "UnknownProfile",
]


class SessionError(Exception):
    """The root of every exception that this package raises."""


class SessionConfigurationError(SessionError, ValueError):
    """A ``SESSIONS_*`` setting, profile or pool that can't be used. Raised before the first request."""


class InvalidSessionId(SessionError, ValueError):
    """A session id that isn't a string of 1 to 255 printable characters."""


class UnknownPool(SessionError, LookupError):
    """A request names a pool that ``SESSIONS_POOLS`` doesn't declare."""


class UnknownProfile(SessionError, LookupError):
    """A request or pool names a profile that ``SESSIONS_PROFILES`` doesn't declare."""


class RequestNotSent(SessionError, IgnoreRequest):
    """A request was not sent for its session's sake.

    Its errback gets the exception; the log has one line without a traceback, as for Scrapy's ``IgnoreRequest``.
    """


class SessionRetired(RequestNotSent):
    """A request names a session that was retired. Delete the session, or name another."""


class SessionLost(RequestNotSent):
    """A request of a sticky flow can't go on in its session. Its errback can start the flow again."""


class LoginFailed(RequestNotSent):
    """The login of a session has failed as often as ``SESSIONS_LOGIN_ATTEMPTS`` allows. The session isn't used."""


class LoginRejected(LoginFailed):
    """A login has failed. Raise it in ``login()`` with a message that may be logged: it contains no secret.

    Messages of other exceptions aren't logged. The login is tried again, up to ``SESSIONS_LOGIN_ATTEMPTS`` times.
    """


class LoginImpossible(LoginRejected):
    """A login can't work as it is set up, without its credentials for example. It isn't tried again in this crawl."""


class ConfigFailed(RequestNotSent):
    """``process_request()``, ``pool()`` or ``delay()`` of a :class:`~scrapy_sessions.SessionConfig` has failed.

    The message names the type of its exception, and where it was raised, but not its message: it may contain secrets.
    """


class CrawlClosing(RequestNotSent):
    """The crawl is being closed: a request that waited for its session isn't sent."""


class PoolBusy(RequestNotSent):
    """Other processes had the sessions of an exclusive pool for longer than ``SESSIONS_CLAIM_TIMEOUT``."""


class PoolExhausted(RequestNotSent):
    """Every named session of a pool is retired."""


class AmbiguousSession(SessionError, LookupError):
    """A session id exists in several ``namespaces`` and none was given."""

    def __init__(self, message: str, namespaces: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.namespaces = namespaces


class InvalidCookie(SessionError, ValueError):
    """A cookie that a jar must refuse, set by hand. ``reason`` is the word counted in the stats."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class InvalidData(SessionError, ValueError):
    """A value for ``data``, a storage or the proxy of a session that can't be saved."""


class CookieConflict(SessionError, LookupError):
    """``jar[name]`` fits several cookies with different values: name the domain or path with ``jar.get()``."""


class FormatError(SessionError, ValueError):
    """A file of an exchange format that can't be read, or something that a format can't hold.

    ``place`` is the line (``"line 3"``) or the JSON path (``"cookies[3].expires"``) at fault.
    """

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place}: {message}")
        self.place = place


class StoreError(SessionError):
    """A store failed: disk, server, permissions, or a file that isn't a session store."""


class StoreUnavailable(StoreError):
    """The server of a store can't be reached, or doesn't answer. Requests that need it wait, and are tried again."""


class CorruptRecord(StoreError):
    """A stored record can't be read. It was moved to the quarantine; the other records are unchanged."""


class EncryptionKeyError(StoreError):
    """A store or record is encrypted with a key that isn't set. It is left as it is: set the key, and try again."""


class NewerSchema(StoreError):
    """A record or store file was written by a newer version of this package. It is left as it is."""
