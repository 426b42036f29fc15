"""Runs a subcommand: opens its store, reports every expected error in one line, and returns the exit code."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scrapy.settings import Settings
from scrapy.utils.log import configure_logging

from scrapy_sessions.commands.registry import load
from scrapy_sessions.commands.support.arguments import overview
from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.commands.support.text import printable
from scrapy_sessions.exceptions import AmbiguousSession, InvalidSessionId, SessionConfigurationError, SessionError

if TYPE_CHECKING:
    from scrapy.crawler import CrawlerProcessBase

# As a shell reports a process that a signal ended: 128 plus the signal's number.
INTERRUPTED = 130
BROKEN_PIPE = 141

# Thousands of rows contain no cycles: the default, a collection every 700 objects, takes a fifth of a long list's time.
_GARBAGE_THRESHOLD = 100_000

_USAGE_ERRORS = (SessionConfigurationError, InvalidSessionId, AmbiguousSession)


def run_subcommand(options: argparse.Namespace, settings: Settings, process: CrawlerProcessBase | None = None) -> int:
    """Run the subcommand of *options*, or print the help if there is none, and return the exit code.

    :param process: for a subcommand that runs a spider
    """
    try:
        if options.help or not options.subcommand:
            sys.stdout.write(overview())
            sys.stdout.flush()
            return 0
        if options.namespace == "":
            raise CommandError("--namespace needs a name: leave it out for all namespaces")
        gc.set_threshold(_GARBAGE_THRESHOLD)
        context = Context(options, settings)
        if process is not None:
            code: int = load(options.subcommand).crawl(context, process)
        else:
            configure_logging(settings)  # after Context, which keeps the real standard output if LOG_STDOUT is set
            code = asyncio.run(_run(context))
        if context.afterwards is not None:
            code = max(code, context.afterwards())
        context.stdout.flush()
    except BrokenPipeError:
        # The interpreter writes the rest of the buffer when it exits, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return _fail("Interrupted", INTERRUPTED)
    except CommandError as e:
        return _fail(str(e), e.exit_code)
    except SessionError as e:
        hint = _with_namespace(e.namespaces) if isinstance(e, AmbiguousSession) else ""
        return _fail(f"{e}{hint}", 2 if isinstance(e, _USAGE_ERRORS) else 1)
    except OSError as e:
        return _fail(f"{e.strerror or type(e).__name__}{f': {e.filename}' if e.filename else ''}", 1)
    return code


async def _run(context: Context) -> int:
    module = load(context.options.subcommand)
    try:
        if getattr(module, "NEEDS_STORE", True):
            await context.open(reads_only=getattr(module, "READS_ONLY", False))
        code: int = await module.run(context)
    finally:
        await context.close()
    return code


def _with_namespace(namespaces: Sequence[str]) -> str:
    """Return the command that was given, with a namespace."""
    # Scrapy has removed the name of its command.
    command = shlex.join(["scrapy", "sessions", *sys.argv[1:], "--namespace", *namespaces[:1]])
    return f", as in: {command}"


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"scrapy sessions: {printable(message)}\n")
    return code
