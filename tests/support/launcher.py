"""Commands that begin where Python has started and Scrapy is imported: in forks of a process that has done both.

:func:`run` is :func:`subprocess.run` for ``python -m MODULE``, in a fraction of its time. Each environment that Python
itself reads, such as ``PYTHONPATH`` or ``LC_ALL``, has its own such process, from the second command on. What a test
starts in another way is a Python of its own.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from pkgutil import iter_modules
from threading import Thread
from typing import cast

__all__ = ["run"]

# What every crawl and most commands import, but the reactor. Of packages, their modules, too.
_PRELOADED = (
    "scrapy.cmdline",
    "scrapy.commands",
    "scrapy.core.downloader.handlers.datauri",
    "scrapy.core.downloader.handlers.http11",
    "scrapy.core.engine",
    "scrapy.core.scheduler",
    "scrapy.core.scraper",
    "scrapy.crawler",
    "scrapy.downloadermiddlewares",
    "scrapy.extensions.corestats",
    "scrapy.extensions.logstats",
    "scrapy.extensions.memusage",
    "scrapy.extensions.remote_control",
    "scrapy.extensions.telnet",
    "scrapy.extensions.throttle",
    "scrapy.pqueues",
    "scrapy.resolver",
    "scrapy.spidermiddlewares",
    "scrapy.squeues",
    "scrapy_sessions.addon",
    "scrapy_sessions.commands",
    "scrapy_sessions.crawl",
    "scrapy_sessions.extension",
    "scrapy_sessions.middlewares",
    "scrapy_sessions.spidermiddlewares",
    "scrapy_sessions.storage.sqlite",
    "tests.support.crawl_process",
)
_OF_PYTHON = ("PYTHON", "LC_", "LANG")
_UNBUFFERED = "PYTHONUNBUFFERED"

_launchers: dict[frozenset[tuple[str, str]], _Launcher] = {}
_seen: Counter[frozenset[tuple[str, str]]] = Counter()


def run(
    command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run *command* to its end, without input, and return its status and output.

    Raises :exc:`subprocess.TimeoutExpired` after *timeout* seconds, and kills the command.
    """
    launcher = _launcher(env) if list(command[:2]) == [sys.executable, "-m"] else None
    if launcher is not None:
        return launcher.run(command, Path.cwd() if cwd is None else cwd, env, timeout)
    return subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def _launcher(env: Mapping[str, str]) -> _Launcher | None:
    of_python = frozenset(
        (name, value) for name, value in env.items() if name.startswith(_OF_PYTHON) and name != _UNBUFFERED
    )
    _seen[of_python] += 1
    if of_python not in _launchers and _seen[of_python] > 1:
        _launchers[of_python] = _Launcher(dict(of_python))
    return _launchers.get(of_python)


class _Launcher:
    """The process that forks, as the tests see it. It ends with them.

    :param of_python: the variables that Python reads; no other is its own: it belongs to no test
    """

    def __init__(self, of_python: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            env=of_python,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def run(
        self, command: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        order = {"arguments": command[2:], "cwd": str(cwd), "env": dict(env)}
        output, errors, answer = _Reader(), _Reader(), _Reader()
        with tempfile.TemporaryFile("w+") as file:
            json.dump(order, file)
            file.flush()
            socket.send_fds(self._socket, [b"!"], [file.fileno(), output.end, errors.end, answer.end])
        readers = (output, errors, answer)
        for reader in readers:
            reader.start()
        end = time.monotonic() + timeout
        for reader in readers:
            reader.join(end - time.monotonic())
            if reader.is_alive():
                os.kill(int(answer.text.split()[0]), signal.SIGKILL)
                raise subprocess.TimeoutExpired(command, timeout)
        return subprocess.CompletedProcess(command, int(answer.text.split()[1]), output.text, errors.text)


class _Reader(Thread):
    """Reads a pipe. ``end`` is the other end of it, which whoever has the reader must send before it starts."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        reads, self.end = os.pipe()
        self._file = os.fdopen(reads, buffering=1)
        self._lines: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._lines)

    def run(self) -> None:
        os.close(self.end)
        with self._file:
            self._lines.extend(self._file)


def _serve(orders: socket.socket) -> list[str]:
    """Fork for each of the *orders*, and end with them. Returns in each fork, with its arguments."""
    while True:
        message, files, _, _ = socket.recv_fds(orders, 1, 4)
        if not message:
            sys.exit()
        # A fork in between knows how its own one ends: this one has others to serve.
        if os.fork():
            for each in files:
                os.close(each)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            continue
        order, output, errors, answer = files
        if child := os.fork():
            os.write(answer, f"{child}\n".encode())
            _, status = os.waitpid(child, 0)
            os.write(answer, f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os._exit(0)
        orders.close()
        os.close(answer)
        os.dup2(output, 1)
        os.dup2(errors, 2)
        with os.fdopen(order) as file:
            file.seek(0)
            what = json.load(file)
        for each in (output, errors):
            os.close(each)
        os.chdir(what["cwd"])
        os.environ.clear()
        os.environ.update(what["env"])
        time.tzset()
        sys.path.insert(0, str(Path.cwd()))
        if os.environ.get(_UNBUFFERED):
            cast(TextIOWrapper, sys.stdout).reconfigure(write_through=True)
        return list(what["arguments"])


def _main() -> None:
    orders = socket.socket(fileno=int(sys.argv[1]))
    del sys.path[0]  # the folder of this file: -m has the working directory there, and each command its own
    for name in _PRELOADED:
        with suppress(ImportError):  # not on every path, or not in every Scrapy
            module = import_module(name)
            for inner in iter_modules(getattr(module, "__path__", ()), f"{name}."):
                import_module(inner.name)
    if "twisted.internet.reactor" in sys.modules:
        raise SystemExit("A command must install its own reactor")
    gc.collect()
    gc.freeze()
    sys.argv = _serve(orders)
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
