"""The base of the contract's tests: a clock, rows, and coroutines as tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from scrapy_sessions.storage.base import Row, SessionStore, next_stamps


class Clock:
    """A clock that moves only when ``now`` is set. Call it for the time, in UNIX seconds."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def make_row(session_id: str, revision: int = 1, **columns: Any) -> Row:
    """Return a row for tests, with a new stamp. Its body is the id and the revision, because stores don't read it."""
    defaults: dict[str, Any] = {
        "namespace": "shop",
        "pool": None,
        "profile_name": None,
        "status": "ready",
        "start_time": 1000.0,
        "last_activity": 2000.0,
        "expires_at": None,
        "expires_by": None,
        "pages_visited": 0,
        "actions_count": 0,
        "stamps": next_stamps(""),
        "body": f"{session_id} {revision}".encode(),
    }
    return Row(session_id=session_id, revision=revision, **{**defaults, **columns})


def skip(reason: str) -> NoReturn:
    """Skip the running test."""
    import pytest  # noqa: PLC0415  # here, so that make_row() and Clock need no pytest

    pytest.skip(reason)


class BaseContract:
    """The base of the contract's tests. A subclass provides the store."""

    clock: Clock
    """The clock of the running test."""

    def __init_subclass__(cls, *, ability: type | None = None, **options: Any) -> None:
        """Turn the coroutine methods of a contract, which take an open store, into tests that need no pytest plugin.

        They are skipped for a store that is no *ability*.
        """
        super().__init_subclass__(**options)
        if ability is not None:
            for name, test in list(vars(cls).items()):
                if name.startswith("test_"):
                    setattr(cls, name, _runnable(test, ability))

    def make_store(self, clock: Clock) -> SessionStore:
        """Return a new, empty store, not opened, whose leases use *clock*. Called once for each test."""
        raise NotImplementedError(f"{type(self).__name__} must define make_store()")

    async def pass_time(self, seconds: float) -> None:
        """Let *seconds* pass for the leases. Override it, and wait, for a store that takes no clock."""
        self.clock.now += seconds

    async def restart(self) -> bool:
        """Restart the server of the store, with its data, and return whether it did: ``False`` by default.

        Override it for a store on a server. For other stores, the tests of a restart are skipped.
        """
        return False


def _runnable(test: Callable[[Any, Any], Awaitable[None]], ability: type) -> Callable[[BaseContract], None]:
    def run(self: BaseContract) -> None:
        async def scenario() -> None:
            self.clock = Clock()
            store = self.make_store(self.clock)
            if not isinstance(store, ability):
                skip(f"{type(store).__name__} is no {ability.__name__}")
            await store.open()
            try:
                await test(self, store)
            finally:
                await store.close()

        asyncio.run(scenario())

    # Not functools.wraps: because of its __wrapped__, pytest would take the parameter `store` for a fixture.
    run.__name__, run.__qualname__, run.__doc__ = test.__name__, test.__qualname__, test.__doc__
    return run
