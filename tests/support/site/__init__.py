"""The tests' web site: real HTTP on loopback addresses, in a process of its own, that remembers what it saw.

Every page (but ``/robots.txt`` and what starts with ``/_``) can be shaped by its query:

- ``set``: a raw ``Set-Cookie`` value, any bytes, may be repeated; ``header``: a raw ``Name: value`` line, likewise;
- ``status``: the answer's status; ``to``: the target of a redirect (302 unless ``status`` says otherwise);
- ``encoding``: ``gzip``, ``deflate`` or ``identity`` (default: gzip when the client accepts it);
- ``ms``: milliseconds to wait before the answer; ``until=<n>:<path>``: before that, wait for n requests for such paths;
- ``times`` and ``key``: answer ``fail`` (default 500) that many times for this key, then as usual.

It has three parts, each with a port and a journal of its own. :class:`Site` is the handle on the first part, with the
pages that :mod:`tests.support.site.pages` lists; :class:`~tests.support.shop.Shop` is the handle on
:mod:`~tests.support.site.login`, and :class:`~tests.support.bans.BanningSite` on :mod:`~tests.support.site.bans`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias
from urllib.parse import urlencode

from tests.support.waiting import HANG

__all__ = ["HOST", "Arrival", "Site"]

HOST = "127.0.0.1"
Value: TypeAlias = "str | int | bytes"


@dataclass(frozen=True)
class Arrival:
    """One request as the site saw it. Bytes stand as Latin-1 text; ``time`` is UNIX seconds."""

    time: float
    port: int
    host: str
    method: str
    target: str
    path: str
    headers: Mapping[str, Sequence[str]]
    cookie_pairs: Sequence[tuple[str, str]]
    status: int
    """That of the answer; 0: there was none yet."""

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Arrival:
        """The arrival of an entry in a journal."""
        known = {each.name: entry[each.name] for each in fields(cls)}
        return cls(**{**known, "cookie_pairs": [tuple(pair) for pair in entry["cookie_pairs"]]})

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """The first value of the header *name*, in any case; ``None``: it was not sent."""
        return next(iter(self.headers.get(name.lower(), ())), None)

    @cached_property
    def cookies(self) -> dict[str, str]:
        """The cookies by name. Of two with one name the first stands, as most servers would have it."""
        return dict(reversed(self.cookie_pairs))


class Site:
    """A handle on the site's process, and a context manager that starts and stops it.

    Its first part listens on two free ports, the others on one, each on 127.0.0.1, 127.0.0.2 and 127.0.0.3, and answers
    to any host name. The process ends when :meth:`stop` closes its standard input, hence also when the process that
    started it dies.

    >>> with Site() as site:
    ...     site.url("/answer", second=True, status=404, set=["a=1", "b=2; Path=/x"])
    'http://127.0.0.1:40321/answer?status=404&set=a%3D1&set=b%3D2%3B+Path%3D%2Fx'
    """

    def __init__(self) -> None:
        self.ports: Sequence[int] = (0, 0, 0, 0)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running site. Raises :exc:`RuntimeError` while it is not running."""
        if self._process is None:
            raise RuntimeError("The site is not running")
        return self._process.pid

    def start(self) -> Site:
        """Start the process and return once it listens. Raises :exc:`RuntimeError` if it dies before."""
        process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[3],
        )
        self._process = process
        assert process.stdout is not None
        announcement = process.stdout.readline()
        if not announcement:
            self.stop()
            raise RuntimeError("The site died before it listened: see its traceback on standard error")
        self.ports = json.loads(announcement)
        return self

    def stop(self) -> int:
        """Stop the process, wait for its end and return its exit status. Idempotent: 0 if it was not running."""
        process, self._process = self._process, None
        if process is None:
            return 0
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            return process.wait(timeout=HANG)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
        finally:
            process.stdout.close()

    def __enter__(self) -> Site:
        return self.start()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def url(
        self,
        path: str = "/",
        host: str = HOST,
        *,
        second: bool = False,
        expect: str | None = None,
        **query: Value | Sequence[Value],
    ) -> str:
        """The URL of *path* under the name *host*, on the first port or the *second*, with its *query*.

        A list gives its parameter several times. *expect* is ``X-Expect``: who comes, in the client's own words.
        """
        if expect is not None:
            query["X-Expect"] = expect
        url = f"http://{host}:{self.ports[1 if second else 0]}{path}"
        return f"{url}?{urlencode(query, doseq=True)}" if query else url

    def journal(self, path: str = "") -> list[Arrival]:
        """Every request since the start or the last :meth:`reset`, oldest first; those whose path starts with *path*.

        Raises :exc:`RuntimeError` when there were more than the journal holds: a test must not pass on half of it.
        """
        return [Arrival.of(entry) for entry in self.entries() if entry["path"].startswith(path)]

    def entries(self, part: int = 0) -> list[dict[str, Any]]:
        """The journal of the part on the port with this number, as it is sent."""
        content = self.call("GET", "/_journal", part=part)
        if content["dropped"]:
            raise RuntimeError(f"The site's journal dropped {content['dropped']} requests: reset() it in between")
        entries: list[dict[str, Any]] = content["arrivals"]
        return entries

    def violations(self) -> list[dict[str, str]]:
        """What ``/identity/`` objected to: ``sid``, ``what``, ``first`` and ``now``, ``path``."""
        violations: list[dict[str, str]] = self.call("GET", "/_violations")
        return violations

    def visitors(self) -> dict[str, dict[str, Any]]:
        """Who came to ``/identity/``, by ``sid``: ``user_agent``, ``language``, ``expect``, ``host``, ``visits``."""
        visitors: dict[str, dict[str, Any]] = self.call("GET", "/_visitors")
        return visitors

    def reset(self) -> None:
        """Forget everything: journal, visitors, violations, failures counted, logins, and the robots.txt set."""
        self.call("POST", "/_reset")

    def robots(self, body: str, status: int = 200) -> None:
        """Answer ``/robots.txt`` with *body* and *status* until the next :meth:`reset`."""
        self.call("POST", f"/_robots?status={status}", body.encode())

    def call(self, method: str, path: str, body: bytes | None = None, *, part: int = 0) -> Any:
        """Use a control of the part on the port with this number."""
        # http.client, because urllib would go through a proxy of the environment.
        connection = HTTPConnection(HOST, self.ports[part], timeout=HANG)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(f"The site answered {response.status} to {method} {path}")
        return json.loads(content)
