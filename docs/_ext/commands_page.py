"""Writes docs/reference/commands.rst from the parsers of the commands: ``python docs/_ext/commands_page.py``.

The page is committed, so that a review shows a changed help text; a test fails while it differs. It is built from the
parsers and not from their ``--help``, whose layout depends on the version of Python.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from scrapy_sessions.commands.registry import SUBCOMMANDS, load
from scrapy_sessions.commands.support.arguments import subcommand

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).parents[1] / "reference" / "commands.rst"

_GLOBAL = "global options"

_HEAD = """\
.. Written by docs/_ext/commands_page.py: change the help texts, and run it again.

========
Commands
========

``scrapy sessions`` works inside of a project and outside. Inside, it uses the store of the project's spiders; outside,
the store that spiders would use from the same folder. :doc:`/how-to/command-line` shows what to do with it.

A subcommand that only reads never creates a store, and a store that this user can read but not write to is enough, as
on a disk that is mounted read-only. Values are printed with escapes for what isn't printable, so that a site can't send
control sequences to your terminal; JSON has the escapes of JSON. On a terminal, tables are drawn; into a pipe or a file
go plain lines without colours. ``NO_COLOR`` turns colours off everywhere.

.. _exit-codes:

Exit codes
==========

==== ==========================================================================================================
Code Meaning
==== ==========================================================================================================
0    Done. For ``list``: there is a session to list; for ``doctor``: there is no error; for ``stats --watch``: ended
     by Ctrl-C, which is its only end; for ``check``: every session is logged in, in use, or has no login.
1    There is no such session, store or match, the answer to a question was no, or the operation failed. For
     ``check``: a session is not logged in, has expired or is retired.
2    A usage error: an unknown option, a bad setting or URL, an id that two namespaces contain, a question without a
     terminal to ask it on.
3    For ``check``: every session whose state is known is logged in, but the state of some is unknown.
130  Ended by Ctrl-C before it was done.
141  The reader of the output ended, as ``head`` does.
==== ==========================================================================================================

Every error is one line on standard error.

.. _global-options:

Global options
==============

Every subcommand has these options. They are given before the subcommand or after it.

"""


def page() -> str:
    """Return the text of the page."""
    lines = [_HEAD.rstrip(), "", *_options(subcommand("list"), "scrapy sessions", shared=True)]
    for name in SUBCOMMANDS:
        title = f"scrapy sessions {name}"
        lines += [f".. _command-{title.replace(' ', '-')}:", "", title, "=" * len(title), ""]
        lines += [f"{load(name).HELP[0].upper()}{load(name).HELP[1:]}.", ""]
        parser = subcommand(name)
        lines += [*_description(parser.description or ""), *_options(parser, title, shared=False)]
    return "\n".join(lines).rstrip() + "\n"


def _description(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        example = paragraph.startswith(" ")
        yield from [".. code-block:: sh", ""] if example else []
        yield from (f"  {line}" if example else _escaped(line) for line in paragraph.splitlines())
        yield ""


def _options(parser: argparse.ArgumentParser, program: str, *, shared: bool) -> Iterator[str]:
    """Describe the arguments of *parser*: the global ones if they are *shared*, else its own."""
    yield from (f".. program:: {program}", "")
    for group in parser._action_groups:  # noqa: SLF001  # argparse has no public way
        for action in group._group_actions:  # noqa: SLF001
            if (group.title == _GLOBAL) == shared and action.help != argparse.SUPPRESS and action.dest != "help":
                yield from (f".. option:: {_invocation(action)}", "")
                yield from (f"   {_escaped(_filled(action))}", "")


def _invocation(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else str(action.metavar or "|".join(map(str, action.choices or ())))
    names = [f"{option} {value}".strip() for option in action.option_strings] or [value]
    return ", ".join(names) + (" ..." if action.nargs == argparse.ZERO_OR_MORE else "")


def _filled(action: argparse.Action) -> str:
    text = (action.help or "") % vars(action)
    return f"{text[0].upper()}{text[1:]}."


def _escaped(text: str) -> str:
    return re.sub(r"([\\*`|_])(?=\W|$)", r"\\\1", text).replace("--", r"\--")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
