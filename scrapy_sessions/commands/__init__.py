"""``scrapy sessions``: what Scrapy loads at every call of ``scrapy``, so nothing here is heavy.

Each subcommand is a module of this package, imported when it is asked for, with:

- ``HELP``: one line; ``DESCRIPTION``: a short paragraph and examples;
- ``add_arguments(parser)``;
- ``async run(context) -> int``, which returns the exit code;
- optionally ``NEEDS_STORE``: False for one that works without a store, or opens it by itself, made if it isn't there
  (default True: the store is opened, and one that isn't there is an error: it is not made by looking);
- optionally ``ONLY_LOOKS``: True for one that a store will do which this user can't write.
"""

from __future__ import annotations

import argparse
from typing import Any, ClassVar

from scrapy.commands import ScrapyCommand
from scrapy.exceptions import UsageError

__all__ = ["SessionsCommand"]


class SessionsCommand(ScrapyCommand):
    """The command behind the entry point ``scrapy.commands``."""

    requires_project = False
    requires_crawler_process = False
    default_settings: ClassVar[dict[str, Any]] = {"LOG_ENABLED": False}

    def syntax(self) -> str:
        return "<subcommand> [options]"

    def short_desc(self) -> str:
        return "List, show, move and mend saved sessions"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        from scrapy_sessions.commands.support.arguments import add_subcommands  # noqa: PLC0415  # only for this very command

        super().add_options(parser)
        add_subcommands(parser)

    def process_options(self, args: list[str], opts: argparse.Namespace) -> None:
        from scrapy_sessions.commands.support.arguments import complain  # noqa: PLC0415  # see above

        if args:  # what neither parser took
            complain("scrapy sessions", f"unrecognized arguments: {' '.join(args)}")
        try:
            super().process_options(args, opts)
        except UsageError as e:
            complain("scrapy sessions", str(e))

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        from scrapy_sessions.commands.support.runner import run_subcommand  # noqa: PLC0415  # see above

        assert self.settings is not None  # noqa: S101  # set by Scrapy
        self.exitcode = run_subcommand(opts, self.settings)
