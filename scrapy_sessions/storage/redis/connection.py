"""The connection to a Redis or Valkey server: its client, its scripts, and its errors as ours."""

from __future__ import annotations

import socket
import ssl
from functools import cache
from hashlib import sha1
from importlib import resources
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from scrapy_sessions.exceptions import SessionConfigurationError

_SHARED = {  # what is put before a script, besides common.lua
    **dict.fromkeys(("enrol", "look"), ("times", "tokens", "pools")),
    "claim": ("claim_quick", "times", "tokens", "pools"),
    "give_back": ("give_back_quick", "times", "tokens", "pools"),
    **dict.fromkeys(("lease", "renew"), ("times", "tokens")),
    **dict.fromkeys(("add_analytics", "fold"), ("times", "counts")),
    **dict.fromkeys(("expired", "find", "list", "load"), ("sessions",)),
    **dict.fromkeys(("delete", "save", "set_aside"), ("calls", "sessions")),
    "write_shared": ("calls",),
}

_INSTALL = "pip install 'scrapy-persistent-sessions[redis]'"

# Seconds. redis-py 5 has no timeouts by default: a server that hangs would hang the crawl.
_CONNECT_TIMEOUT = 3.0
_TIMEOUT = 5.0
# A connection that was idle for longer is checked by a PING before it is used: a firewall may have dropped it, and the
# first command would wait for the timeout.
_IDLE = 30
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # as redis-py 8 sets it


class Script(NamedTuple):
    """A script of the folder ``lua``. Its contract is at its top."""

    name: str
    text: str
    digest: str


@cache
def script(name: str) -> Script:
    """Return the script *name*."""
    folder = resources.files("scrapy_sessions.storage.redis").joinpath("lua")
    parts = ("common", *_SHARED.get(name, ()), name)
    texts = [folder.joinpath(f"{part}.lua").read_text(encoding="utf-8") for part in parts]
    text = "\n".join(texts)
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def import_redis() -> Any:
    """Return the package ``redis``. Raises :exc:`~scrapy_sessions.exceptions.SessionConfigurationError`."""
    try:
        import redis.asyncio  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise SessionConfigurationError(f"A session store on Redis needs the package redis: {_INSTALL}") from error
    return redis


def location_of(url: str) -> str:
    """Return *url* without user, password and options, for messages."""
    parts = urlsplit(url)
    path = parts.path.strip("/")
    if parts.scheme == "unix":
        return f"unix:///{path}?db={parse_qs(parts.query).get('db', ['0'])[0]}"
    host = parts.hostname or "localhost"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{parts.port or 6379}/{path or 0}"


def check_url(url: str) -> None:
    """Raise :exc:`~scrapy_sessions.exceptions.SessionConfigurationError` for a *url* without a server.

    The messages quote no part that may contain a password.
    """
    what = "The session store's URL"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises for one that is no number
    except ValueError:
        raise SessionConfigurationError(
            f"{what} can't be read. Write 'redis://host:6379/0', and percent-encode special characters of a password: "
            f"'@' as %40, '/' as %2F, '#' as %23"
        ) from None
    if parts.fragment:
        raise SessionConfigurationError(f"{what} contains a '#': percent-encode it as %23")
    if parts.scheme == "unix":
        if not parts.path:
            raise SessionConfigurationError(f"{what} names no socket: write 'unix:///path/to/redis.sock?db=0'")
    elif parts.path.strip("/") and not parts.path.strip("/").isdecimal():
        raise SessionConfigurationError(
            f"{what} has a path that is no number: after the host it has the number of the database, "
            f"'redis://host:6379/0'"
        )


def connect(url: str) -> Any:
    """Return a client for *url*, which connects when it is used.

    Options in the query of *url* are those of redis-py, and win over ours: ``?ssl_ca_certs=/etc/ssl/redis.pem``.
    """
    redis = import_redis()
    from redis.asyncio.retry import Retry  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415

    options: dict[str, Any] = {
        # Here commands are sent again by Server, by one rule for each version of redis-py, and for a client that is
        # passed in: Redis() retries, from_url() doesn't, and the number depends on the version.
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": _TIMEOUT,
        "health_check_interval": _IDLE,
        # Server bounds them, but for those that wait in line, one for each pool. redis-py 8 refuses more than 100.
        "max_connections": 1000,
        "protocol": 2,  # newer versions of redis-py take 3 by default, where replies have other types
    }
    scheme = urlsplit(url).scheme
    if scheme != "unix":
        options["socket_connect_timeout"] = _CONNECT_TIMEOUT
        options["socket_keepalive"] = True
        options["socket_keepalive_options"] = {
            getattr(socket, name): value for name, value in _KEEPALIVE.items() if hasattr(socket, name)
        }
    if scheme == "rediss":
        options["ssl_check_hostname"] = True  # not by default before redis-py 6
    try:
        client = redis.asyncio.Redis.from_url(url, **options)
        client.connection_pool.make_connection()  # it connects to nothing, but checks the options
    except (TypeError, ValueError, OSError, ssl.SSLError, redis.RedisError) as error:
        raise SessionConfigurationError(
            f"The session store {location_of(url)} has an option that redis-py refuses ({type(error).__name__})"
        ) from None
    return client
