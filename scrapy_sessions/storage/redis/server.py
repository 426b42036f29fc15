"""Calls to the server: sent again when the connection is lost, and with its errors as ours."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from random import random
from typing import Any, TypeVar

from scrapy_sessions.exceptions import StoreError, StoreUnavailable
from scrapy_sessions.storage.redis.connection import import_redis, script
from scrapy_sessions.storage.redis.layout import prefix

_T = TypeVar("_T")

# How often a command is sent, and the seconds after which it isn't sent again. All of ours are safe to repeat.
_ATTEMPTS = 4
_PATIENCE = 6.0
_BACKOFF = 0.05  # seconds, doubled each time
# Commands in progress at once. Each has a connection of its own, so that a short one doesn't wait for a long one.
_CONCURRENT = 32
_LONGEST_WAIT = 10.0  # seconds
_OLDEST = (6, 2)


async def _cancellable(sending: Awaitable[_T]) -> _T:
    """Return the result of *sending*, in a task of its own.

    redis-py awaits its reads by ``asyncio.wait_for``, which on Python 3.11 and older swallows a cancellation that comes
    together with the answer: the caller would go on as if it had not been cancelled.
    """
    task = asyncio.ensure_future(sending)
    try:
        await asyncio.wait([task])
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_look_at)
    return task.result()


def _look_at(task: asyncio.Future[Any]) -> None:
    """Take the exception out of *task*, which nobody waits for: asyncio would log it."""
    if not task.cancelled():
        task.exception()


class Server:
    """A Redis or Valkey server, or a cluster of them, behind *client*.

    :param location: its URL without a password, for messages
    """

    def __init__(self, client: Any, location: str) -> None:
        self.client = client
        self.location = location
        self._errors = import_redis().exceptions
        # The last one, no RedisError, is raised when no node of a cluster can be reached.
        self._lost = (
            self._errors.ConnectionError,
            self._errors.TimeoutError,
            OSError,
            self._errors.RedisClusterException,
        )
        self._places = asyncio.Semaphore(_CONCURRENT)

    async def run(self, name: str, namespace: str, *arguments: str | bytes | float) -> Any:
        """Run the script *name* for *namespace*, and return its reply. Raises as :meth:`call`."""
        code = script(name)
        words = (1, prefix(namespace), *arguments)

        async def evaluate() -> Any:
            try:
                return await self.client.execute_command("EVALSHA", code.digest, *words)
            except self._errors.NoScriptError:
                # The server was restarted, or is another one. EVAL stores the script, too.
                return await self.client.execute_command("EVAL", code.text, *words)

        return await self.call(evaluate)

    async def run_once(self, name: str, namespace: str, *arguments: str | bytes | float) -> Any:
        """As :meth:`run`, for a script that takes the random text of ``lua/calls.lua``."""
        return await self.run(name, namespace, os.urandom(8).hex(), *arguments)

    async def command(self, *words: str | bytes | float) -> Any:
        """Run a command, and return its reply. Raises as :meth:`call`."""
        return await self.call(lambda: self.client.execute_command(*words))

    async def block(self, *words: str | bytes | float) -> Any:
        """Run a command that waits for up to :attr:`longest_wait` seconds, and keeps no other from running."""
        return await self._repeat(lambda: self.client.execute_command(*words))

    @property
    def longest_wait(self) -> float:
        """The seconds for which a command may wait: well below the client's timeout, after which it would fail."""
        pool = getattr(self.client, "connection_pool", self.client)  # a cluster has one for each node
        timeout = getattr(pool, "connection_kwargs", {}).get("socket_timeout")
        return _LONGEST_WAIT if timeout is None else min(_LONGEST_WAIT, timeout / 2)

    async def call(self, send: Callable[[], Awaitable[_T]]) -> _T:
        """Return the result of *send*, which is called again if the connection is lost.

        Raises :exc:`~scrapy_sessions.exceptions.StoreError`.
        """
        async with self._places:
            return await self._repeat(send)

    async def _repeat(self, send: Callable[[], Awaitable[_T]]) -> _T:
        errors = self._errors
        begun = time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            try:
                return await _cancellable(send())
            except (errors.AuthenticationError, errors.AuthorizationError) as error:  # subclasses of ConnectionError
                raise self.explain(error) from error
            except (*self._lost, errors.ReadOnlyError) as error:
                if attempt == _ATTEMPTS or time.monotonic() - begun > _PATIENCE:
                    raise self.explain(error) from error
            except errors.RedisError as error:
                raise self.explain(error) from error
            await asyncio.sleep(_BACKOFF * 2**attempt * random())  # noqa: S311  # so that processes come one by one

    def explain(self, error: BaseException) -> StoreError:
        """Return *error* of the client as ours, with what to do."""
        where, text = f"The session store {self.location}", str(error)
        names = {base.__name__ for base in type(error).__mro__}
        for remedies, kind in ((_REFUSALS, StoreError), (_OUTAGES, StoreUnavailable)):
            for sign, remedy in remedies.items():
                if sign in names or text.startswith(sign):
                    return kind(f"{where} {remedy}")
        if isinstance(error, self._lost):
            tls = ", and that its certificate is for this host and signed by one that you trust (?ssl_ca_certs=FILE)"
            return StoreUnavailable(
                f"{where} can't be reached: check that the server runs, and the host and port of its URL"
                f"{tls if self.location.startswith('rediss:') else ''}"
            )
        return StoreError(f"{where} refused a command: {text:.200}")

    async def check(self) -> None:
        """Raise :exc:`~scrapy_sessions.exceptions.StoreError` for a server that can't keep sessions."""
        if isinstance(await self.run("epoch", "check"), str):
            raise StoreError(
                f"The client of the session store {self.location} decodes replies, which aren't all text: create it "
                f"with decode_responses=False"
            )
        for info in await self.infos("server", "memory"):
            version = tuple(int(part) for part in str(info.get("redis_version", "")).split(".")[:2] if part.isdecimal())
            if version and version < _OLDEST:
                raise StoreError(
                    f"The session store {self.location} is a server of version {info['redis_version']}, and Redis 6.2 "
                    f"or Valkey is needed: upgrade it"
                )
            policy = str(info.get("maxmemory_policy", ""))
            if policy.startswith("allkeys"):
                raise StoreError(
                    f"The server of the session store {self.location} deletes keys when its memory is full, and so "
                    f"would delete sessions (its maxmemory-policy is {policy}). Set it to noeviction, or to one that "
                    f"begins with volatile: 'CONFIG SET maxmemory-policy noeviction', and in its configuration file"
                )

    async def infos(self, *sections: str) -> list[dict[str, Any]]:
        """Return what ``INFO`` has under *sections*, for each server; nothing, if this user may not ask for it."""
        found: dict[str, dict[str, Any]] = {}
        for section in sections:
            try:
                if hasattr(self.client, "get_primaries"):  # a cluster
                    reply = await self.call(lambda: self.client.info(section, target_nodes="primaries"))  # noqa: B023
                else:
                    reply = await self.call(lambda: self.client.info(section))  # noqa: B023
            except StoreError as error:
                if isinstance(error.__cause__, self._errors.ResponseError):  # NOPERM, or a service without INFO
                    return []
                raise
            nodes = reply if all(isinstance(each, dict) for each in reply.values()) else {"": reply}
            for node, values in nodes.items():
                found.setdefault(node, {}).update(values)
        return list(found.values())


# By the class of an error of redis-py, or by the beginning of its text: most have a class of their own.
_RIGHTS = (
    "does not allow this to its user, who needs the keys 'sessions:*', the categories @read, @write and @scripting, "
    "and the commands info, ping, select and time"
)
_REFUSALS = {
    "AuthenticationError": "refuses its user name or password: write 'redis://user:password@host:6379/0'",
    "NoPermissionError": _RIGHTS,
    "ACL failure": _RIGHTS,
    "OutOfMemoryError": "is out of memory, and saves nothing: raise its maxmemory, or delete what isn't needed",
    "MISCONF": "can't write to its disk, and so saves nothing: look into the log of the server",
    "DB index is out of range": "has fewer databases than the number in its URL",
}
_READ_ONLY = "is a replica, and can't be written to: name the primary server in its URL, or use Sentinel"
_OUTAGES = {
    "ReadOnlyError": _READ_ONLY,
    "READONLY": _READ_ONLY,
    "BusyLoadingError": "is still loading its data: try again when it has started",
    "ClusterDownError": "is a cluster with shards that are down, and so refuses everything: look into their logs",
    "TimeoutError": "did not answer in time: check the server, and the network between",
    "BUSY": "is busy with a script of another program: see SCRIPT KILL in the documentation of the server",
    "max number of clients": "has as many clients as it allows: raise its maxclients",
}
