"""``scrapy sessions`` in the process of the tests: what it says and does, without the imports of a new process."""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from scrapy.cmdline import execute

from scrapy_sessions.commands.support import runner
from tests.support.command_line import Done, environment
from tests.support.exchange import STORE

__all__ = ["called", "delivered"]


def called(folder: Path, *arguments: str, stdin: bytes = b"") -> Done:
    """As :func:`~tests.support.command_line.sessions`, for a *folder* without a project: settings stay imported."""
    assert not (folder / "scrapy.cfg").exists()
    out, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    code = 0
    with _left_as_it_was(folder, stdin), redirect_stdout(out), redirect_stderr(errors):
        try:
            execute(["scrapy", "sessions", *arguments])
        except SystemExit as exit_:
            code = int(exit_.code or 0)
    texts = []
    for stream in (out, errors):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    return Done(code, *texts)


def delivered(folder: Path, *arguments: str, stdin: bytes | None = None, code: int = 0) -> tuple[bytes, str]:
    """As :func:`tests.support.exchange.sessions`: on its store, with the exit *code* that is expected."""
    done = called(folder, "--store", STORE, *arguments, stdin=stdin or b"")
    assert done.code == code, done
    return done.out.encode(), done.err


@contextmanager
def _left_as_it_was(folder: Path, stdin: bytes) -> Iterator[None]:
    before, threshold = Path.cwd(), gc.get_threshold()
    os.chdir(folder)
    try:
        with (
            patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8")),
            patch.dict(os.environ, environment(), clear=True),
            patch.object(runner, "configure_logging"),  # it is for the whole process, and can't be taken back
        ):
            yield
    finally:
        os.chdir(before)
        gc.set_threshold(*threshold)
