"""What the tests of export, import and curl share: the command line as a subprocess, and records in a store."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TypeVar

from scrapy.cmdline import execute

import scrapy_sessions
from scrapy_sessions import Cookie, PersistentSession
from scrapy_sessions.storage import SQLiteStore
from scrapy_sessions.storage.base import Key
from scrapy_sessions.storage.codec import decode, encode
from tests.support.crawl import ENVIRONMENT
from tests.support.waiting import HANG

__all__ = ["SECRET", "STORE", "calls", "complaints", "loaded", "rich_record", "saved", "sessions", "stored"]

SECRET = "hunter2"
"""Stands in every value that may appear in no output."""

DATABASE: dict[str, Any] = {
    "name": "auth",
    "version": 1,
    "stores": [{"name": "tokens", "autoIncrement": True, "indexes": [], "records": [{"key": 1, "value": SECRET}]}],
}
"""A database of IndexedDB, as in Playwright's storage state."""

STORE = "sessions.db"
"""The store of the commands, in their folder."""

_T = TypeVar("_T")


def sessions(folder: Path, *arguments: str, stdin: bytes | None = None, code: int = 0) -> tuple[bytes, str]:
    """Run ``scrapy sessions`` in *folder*, expect *code*, and return its output and what it said on standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "scrapy", "sessions", "--store", STORE, *arguments],
        cwd=folder,
        input=b"" if stdin is None else stdin,
        env={**os.environ, "PYTHONPATH": str(Path(scrapy_sessions.__file__).parents[1])},
        capture_output=True,
        timeout=HANG,
        check=False,
    )
    errors = done.stderr.decode()
    assert done.returncode == code, done.stdout.decode("utf-8", "replace") + errors
    assert "Traceback" not in errors
    return done.stdout, errors


def calls(folder: Path, *arguments: list[str]) -> list[tuple[int, str, str]]:
    """Run ``scrapy sessions`` with each of *arguments*, one after the other in one process in *folder*.

    Returns what each exits with, its output, and what it said on standard error.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__, json.dumps(arguments)],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        timeout=HANG,
        check=True,
    )
    return [(code, out, errors) for code, out, errors in json.loads(done.stdout)]


def complaints(folder: Path, *arguments: list[str]) -> list[tuple[int, str]]:
    """As :func:`calls`; none may write to standard output, or more than one line to standard error."""
    said = []
    for call, (code, out, errors) in zip(arguments, calls(folder, *arguments), strict=True):
        assert out == "", call
        assert len(errors.splitlines()) == 1, errors
        said.append((code, errors))
    return said


def _call(arguments: list[str]) -> tuple[int, str, str]:
    out, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    code = 0
    with redirect_stdout(out), redirect_stderr(errors):
        try:
            execute(["scrapy", "sessions", "--store", STORE, *arguments])
        except SystemExit as exit_:
            code = int(exit_.code or 0)
    texts = []
    for stream in (out, errors):
        stream.seek(0)
        texts.append(stream.read())
    return code, *texts  # type: ignore[return-value]


def _with_store(folder: Path, work: Callable[[SQLiteStore], Any]) -> Any:
    async def run() -> Any:
        store = SQLiteStore(folder / STORE)
        await store.open()
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def saved(folder: Path, *records: PersistentSession) -> None:
    """Put *records*, new ones, into the store of *folder*."""
    rows = [encode(record.model_copy(update={"revision": 1})) for record in records]
    _with_store(folder, lambda store: store.save(rows))


def stored(folder: Path, session_id: str, namespace: str = "shop") -> PersistentSession | None:
    """The record of *session_id* in the store of *folder*."""
    row = _with_store(folder, lambda store: store.load(Key(namespace, session_id)))
    return None if row is None else decode(row)


def loaded(folder: Path, session_id: str, namespace: str = "shop") -> PersistentSession:
    """As :func:`stored`, of a session that is there."""
    record = stored(folder, session_id, namespace)
    assert record is not None
    return record


def rich_record(session_id: str = "alice", **changes: Any) -> PersistentSession:
    """A record with something in every field, and :data:`SECRET` in whatever is secret."""
    now = time.time()
    fields: dict[str, Any] = {
        "session_id": session_id,
        "namespace": "shop",
        "pool": "staff",
        "profile_name": "laptop",
        "user_agent": "Browser/1",
        "language": "de",
        "timezone": "Europe/Berlin",
        "viewport_width": 1280,
        "viewport_height": 720,
        "headers": {"*": {"X-Kind": "a"}, "https://api.shop.example": {"Authorization": f"Bearer {SECRET}"}},
        "proxy": f"http://user:{SECRET}@proxy.example:8080",
        "meta": {"options": {"key": SECRET}},
        "start_time": now - 100,
        "last_activity": now - 10,
        "pages_visited": 7,
        "actions_performed": ["GET https://shop.example/ 200"],
        "last_url": f"https://shop.example/?token={SECRET}",
        "cookies": [
            Cookie(name="sid", value=SECRET, domain="shop.example", host_only=False, secure=True, same_site="Lax"),
            Cookie(name="theme", value=SECRET, domain="www.shop.example", path="/a", expires=4e9, created=1.5),
        ],
        "local_storage": {"https://shop.example": {"token": SECRET}},
        "session_storage": {"https://shop.example": {"draft": SECRET}},
        "indexed_db": {"https://shop.example": [DATABASE]},
        "data": {"basket": [1, {"secret": SECRET}]},
        "status": "ready",
        "idle_timeout": 86400,
        "generation": 3,
        "logged_in": {"*": {"time": now - 50, "generation": 3, "hosts": []}},
        "metrics": {"requests": 9, "responses": {"200": 8}, "latency": 1.25},
    }
    return PersistentSession(**{**fields, **changes})


if __name__ == "__main__":
    results = [_call(arguments) for arguments in json.loads(sys.argv[1])]
    print(json.dumps(results))
