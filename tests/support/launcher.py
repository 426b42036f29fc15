"""Commands that begin where Python has started and Scrapy is imported: in forks of a process that has done both.

:func:`run` is :func:`subprocess.run` for ``python -m MODULE``, in a fraction of its time. Each environment that Python
itself reads, such as ``PYTHONPATH`` or ``LC_ALL``, has its own such process, from the second command on. What a test
starts in another way is a Python of its own.
"""

from __future__ import annotations

import atexit
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
from threading import Lock, Thread
from typing import TextIO, TypeAlias, cast

__all__ = ["run", "spawn"]

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

_OfPython: TypeAlias = "frozenset[tuple[str, str]]"

_launchers: dict[_OfPython, _Launcher] = {}
_seen: Counter[_OfPython] = Counter()
_starting = Lock()


def run(
    command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run *command* to its end, without input, and return its status and output.

    Raises :exc:`subprocess.TimeoutExpired` after *timeout* seconds, and kills the command.
    """
    of_python = _of_python(env)
    _seen[of_python] += 1
    if list(command[:2]) != [sys.executable, "-m"] or (of_python not in _launchers and _seen[of_python] == 1):
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
    (output, output_end), (errors, errors_end) = _pipe(), _pipe()
    answer = _launcher(of_python).start(command, cwd, env, output_end, errors_end)
    for each in (output_end, errors_end):
        os.close(each)
    pid = int(answer.readline())
    end = time.monotonic() + timeout
    readers = [_Reader(file) for file in (output, errors, answer)]
    for reader in readers:
        reader.join(end - time.monotonic())
        if reader.is_alive():
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(command, timeout)
    said, complained, status = (reader.text for reader in readers)
    return subprocess.CompletedProcess(command, int(status), said, complained)


def spawn(command: Sequence[str], *, env: Mapping[str, str], output: int) -> int:
    """Start *command*, ``python -m MODULE …``, with the descriptor *output* as its output. Returns its process id."""
    with _launcher(_of_python(env)).start(command, None, env, output, 2) as answer:
        return int(answer.readline())


def _of_python(env: Mapping[str, str]) -> _OfPython:
    return frozenset(
        (name, value) for name, value in env.items() if name.startswith(_OF_PYTHON) and name != _UNBUFFERED
    )


def _launcher(of_python: _OfPython) -> _Launcher:
    with _starting:
        if of_python not in _launchers:
            _launchers[of_python] = launcher = _Launcher(dict(of_python))
            atexit.register(launcher.close)
        return _launchers[of_python]


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

    def close(self) -> None:
        """End the process."""
        self._socket.close()
        self._process.wait()

    def start(
        self, command: Sequence[str], cwd: Path | None, env: Mapping[str, str], output: int, errors: int
    ) -> TextIO:
        """Start *command*. The lines of the file are its process id and, when it has ended, its status."""
        order = {"arguments": command[2:], "cwd": str(cwd or Path.cwd()), "env": dict(env)}
        answer, end = _pipe()
        with tempfile.TemporaryFile("w+") as file:
            json.dump(order, file)
            file.flush()
            socket.send_fds(self._socket, [b"!"], [file.fileno(), output, errors, end])
        os.close(end)
        return answer


def _pipe() -> tuple[TextIO, int]:
    """Return the end of a pipe to read from, and the other one."""
    reads, writes = os.pipe()
    return os.fdopen(reads), writes


class _Reader(Thread):
    """Reads a file to its end; then ``text`` is its content."""

    def __init__(self, file: TextIO) -> None:
        super().__init__(daemon=True)
        self._file = file
        self.text = ""
        self.start()

    def run(self) -> None:
        with self._file:
            self.text = self._file.read()


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
            with suppress(BrokenPipeError):  # nobody wants to know
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
    if not hasattr(sys.modules.get(sys.argv[0]), "__path__"):
        sys.modules.pop(sys.argv[0], None)  # a module that runs as __main__; of a package, its __main__ does
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
