"""Writes docs/reference/commands.rst out of the commands' own help: ``python docs/_ext/commands_page.py``.

The page is committed, so that a change of a help text is seen in review; a test fails while it differs.
"""

from __future__ import annotations

import os
from pathlib import Path

from scrapy_sessions.commands.registry import SUBCOMMANDS
from scrapy_sessions.commands.support.arguments import overview, subcommand

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).parents[1] / "reference" / "commands.rst"

_HEAD = """\
.. Written by docs/_ext/commands_page.py: change the help texts, and run it again.

========
Commands
========

``scrapy sessions`` works inside of a project and outside. Inside, it looks at the store that the project's spiders use;
outside, at the one that they would use from the same folder. :doc:`../topics/command-line` shows what to do with it.

A subcommand that only looks never makes a store, and does with one that this user may read but not write, as on a disk
that is mounted read-only. What isn't printable in a value is written out, so that nothing from a site can play tricks
with a terminal; in JSON, as JSON writes it. Tables are drawn on a terminal; into a pipe or a file go plain lines,
without colours. ``NO_COLOR`` switches colours off everywhere.

.. _exit-codes:

Exit codes
==========

==== ==========================================================================================================
Code Meaning
==== ==========================================================================================================
0    Done. For ``list``: there was something to list; for ``doctor``: nothing is wrong; for ``stats --watch``: ended
     by Ctrl-C, which is its only end.
1    There is no such session, store or match, the answer to a question was no, or something failed.
2    Not understood, or not to be done so: an unknown option, a bad setting or URL, an id that stands in two
     namespaces, a question without a terminal to ask it on.
130  Ended by Ctrl-C before it was done.
141  The reader of the output went away, as ``head`` does.
==== ==========================================================================================================

Whatever goes wrong is said in one line on standard error.
"""


def page() -> str:
    """Return the text of the page."""
    os.environ["COLUMNS"] = "100"  # the help is as wide as the terminal
    parts = [_HEAD, *_section("scrapy sessions", overview())]
    for name in SUBCOMMANDS:
        parts += _section(f"scrapy sessions {name}", subcommand(name).format_help())
    return "\n".join(parts)


def _section(title: str, text: str) -> list[str]:
    block = "\n".join(f"    {line}".rstrip() for line in text.rstrip().splitlines())
    return [
        f".. _command-{title.replace(' ', '-')}:",
        "",
        title,
        "=" * len(title),
        "",
        ".. code-block:: text",
        "",
        block,
        "",
    ]


if __name__ == "__main__":
    PAGE.write_text(page().rstrip() + "\n", encoding="utf-8")
