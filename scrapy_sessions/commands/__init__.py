"""``scrapy sessions``. Scrapy imports this module at every call of ``scrapy``: nothing in it is heavy.

Each subcommand is a module of this package, imported when it is called. It has:

- a docstring, the description in its help: a short paragraph and examples; ``HELP``: one line;
- ``add_arguments(parser)``;
- ``async run(context) -> int``, which returns the exit code; or ``crawl(context, process) -> int``, which runs a spider
  in the process, and is called without an event loop;
- optionally ``NEEDS_STORE = False``: the subcommand works without a store, or opens it by itself. By default the store
  is opened first, and a missing one is an error: reading creates no store;
- optionally ``READS_ONLY = True``: a store that this user can't write to is enough.
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
        return "List, show, move and repair saved sessions"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        from scrapy_sessions.commands.support.arguments import add_subcommands  # noqa: PLC0415  # not at every call

        super().add_options(parser)
        add_subcommands(parser)

    def process_options(self, args: list[str], opts: argparse.Namespace) -> None:
        from scrapy_sessions.commands.support.arguments import usage_error  # noqa: PLC0415  # not at every call

        if args:  # taken by neither parser
            usage_error("scrapy sessions", f"unrecognized arguments: {' '.join(args)}")
        try:
            super().process_options(args, opts)
        except UsageError as e:
            usage_error("scrapy sessions", str(e))
        if opts.subcommand and not opts.help:
            from scrapy_sessions.commands.registry import load  # noqa: PLC0415  # not at every call

            self.requires_crawler_process = hasattr(load(opts.subcommand), "crawl")
        if self.requires_crawler_process:
            assert self.settings is not None  # noqa: S101  # set by Scrapy
            self.settings.set("LOG_STDOUT", False, priority="cmdline")  # standard output is for the command

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        from scrapy_sessions.commands.support.runner import run_subcommand  # noqa: PLC0415  # not at every call

        assert self.settings is not None  # noqa: S101  # set by Scrapy
        self.exitcode = run_subcommand(opts, self.settings, self.crawler_process)
