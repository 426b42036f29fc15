"""How tests run: plain ones outside the reactor, ``async def`` ones as asyncio tasks in its loop.

pytest-twisted runs every test inside the asyncio reactor, plain ones too, where ``asyncio.run()`` is refused. What we
need it for is the reactor, which can start only once, running beside all tests of a process: in a greenlet.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any
from weakref import WeakKeyDictionary

import greenlet
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

pytest_plugins = ("tests.support.fixtures",)

_running_loops: WeakKeyDictionary[greenlet.greenlet, asyncio.AbstractEventLoop] = WeakKeyDictionary()


def _keep_running_loop(event: str, switch: Any) -> None:
    # asyncio notes the running loop by thread. The reactor's greenlet is left in the middle of its loop, which would
    # then count as running in the tests' greenlet also: fixtures and plain tests could not use asyncio.run().
    origin, target = switch
    loop = asyncio._get_running_loop()
    if loop is not None:
        _running_loops[origin] = loop
    else:
        _running_loops.pop(origin, None)
    asyncio._set_running_loop(_running_loops.get(target))


def pytest_configure() -> None:
    greenlet.settrace(_keep_running_loop)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    # tox runs the tests in two goes: arguments that name some of them may leave nothing to one of the two.
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and "alone" in session.config.option.markexpr:
        session.exitstatus = pytest.ExitCode.OK


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    function = pyfuncitem.obj
    if hasattr(function, "_pytest_twisted_mark"):
        return None  # the mark of @pytest_twisted.inlineCallbacks and @ensureDeferred, which pytest-twisted handles
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    if inspect.iscoroutinefunction(function):
        _run_in_reactor(function, arguments)
    else:
        function(**arguments)
    return True


def _run_in_reactor(function: Any, arguments: dict[str, Any]) -> None:
    from twisted.internet import reactor  # pytest-twisted has installed it by now

    done: Deferred[None] = Deferred()

    def start() -> None:
        Deferred.fromFuture(asyncio.ensure_future(function(**arguments))).chainDeferred(done)

    reactor.callLater(0, start)
    pytest_twisted.blockon(done)
