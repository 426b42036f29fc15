"""How tests run: plain ones outside the reactor, ``async def`` ones as asyncio tasks in its loop.

pytest-twisted runs every test inside the asyncio reactor, plain ones too, where ``asyncio.run()`` is refused. The tests
use its reactor, which can start only once: it serves all tests of a process, from a greenlet of its own.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
from typing import Any

import hypothesis
import pytest
import pytest_twisted
from twisted.internet import asyncioreactor
from twisted.internet.defer import Deferred

pytest_plugins = ("tests.support.fixtures",)

os.environ.pop("COLUMNS", None)  # pytest-xdist and shells set it: a width that pipes of the tests don't have

# Hypothesis bounds the time of an example and of its generation: both would measure the machine.
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")


class PausingLoop(asyncio.SelectorEventLoop):
    """The reactor's event loop, which ends after each test and begins again with the next one.

    asyncio allows one running loop in a thread, whatever greenlet it runs in. A loop that only lost its greenlet in the
    middle of a callback would still count as running: plain tests and fixtures could not use ``asyncio.run()``.
    """

    _paused: Deferred[None] | None = None

    def run_forever(self) -> None:
        super().run_forever()
        while self._paused is not None:
            paused, self._paused = self._paused, None
            paused.callback(None)  # switches to the greenlet of the tests, and returns when the next test is to run
            super().run_forever()

    def pause(self, done: Deferred[None]) -> None:
        """End the loop, then fire *done*."""
        self._paused = done
        self.stop()


_loop = PausingLoop()
asyncioreactor.install(_loop)  # pytest-twisted takes the reactor that it finds


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    asyncio.get_event_loop().close()  # that of the reactor that pytest-twisted has made in vain
    asyncio.set_event_loop(_loop)
    # A shell starts its background jobs with SIGINT ignored, and every process that they start inherits this. A handler
    # isn't inherited: with one that does nothing, this process ignores SIGINT as before, but the commands under test
    # react to it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with heavy tests first: at the end of a run, one of them would keep the others waiting."""
    heavy = {item.path for item in items if item.get_closest_marker("heavy")}
    items.sort(key=lambda item: item.path not in heavy)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    # tox runs the tests in two goes: arguments that name some of them may leave nothing to one of the two.
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and "alone" in session.config.option.markexpr:
        session.exitstatus = pytest.ExitCode.OK


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    function = pyfuncitem.obj
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(function).parameters}
    if inspect.iscoroutinefunction(function):
        _run_in_reactor(function, arguments)
    else:
        assert function(**arguments) is None, "a test that returns something, as a generator, has not run"
    return True


def _run_in_reactor(function: Any, arguments: dict[str, Any]) -> None:
    from twisted.internet import reactor  # the one installed above

    done: Deferred[None] = Deferred()
    tests: list[asyncio.Task[None]] = []

    def start() -> None:
        tests.append(_loop.create_task(function(**arguments)))
        tests[0].add_done_callback(lambda _: _loop.pause(done))

    reactor.callLater(0, start)
    pytest_twisted.blockon(done)
    tests[0].result()
