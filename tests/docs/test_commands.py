"""The pages on the command line: the help is what the commands print, and the commands shown are commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from scrapy_sessions.commands.registry import SUBCOMMANDS, load
from scrapy_sessions.commands.support.arguments import subcommand
from tests.support.command_line import sessions
from tests.support.docs_pages import DOCS, PAGES, module, text_of

commands_page = module(DOCS / "_ext" / "commands_page.py")
SHOWN = re.compile(r"^ *(?:\$ )?scrapy sessions ([a-z]+\b[^|;\n]*)", re.MULTILINE)


def test_the_reference_is_what_the_commands_say() -> None:
    """The committed page has the help of every subcommand as it is now: else run docs/_ext/commands_page.py."""
    assert text_of(commands_page.PAGE) == commands_page.page().rstrip() + "\n"
    for name in SUBCOMMANDS:
        assert f"\nscrapy sessions {name}\n===" in text_of(commands_page.PAGE)


@pytest.mark.parametrize("name", ["list", "import"])
def test_the_reference_is_what_help_prints(tmp_path: Path, name: str) -> None:
    """--help prints what the page shows, at a width of 100 columns."""
    printed = sessions(tmp_path, name, "--help", COLUMNS="100").out
    block = "\n".join(f"    {line}".rstrip() for line in printed.rstrip().splitlines())
    assert f"\n{block}\n" in text_of(commands_page.PAGE)


def test_commands_in_the_documentation_are_understood() -> None:
    """Every ``scrapy sessions`` command in a page, and in a help text, has a subcommand and options that there are."""
    texts = [text_of(page) for page in PAGES if page != commands_page.PAGE]
    texts += [load(name).DESCRIPTION for name in SUBCOMMANDS]
    shown = [command.partition("  #")[0] for text in texts for command in SHOWN.findall(text)]
    assert len(shown) > 30
    for command in shown:
        name, *arguments = shlex.split(command)
        words = arguments[: arguments.index(">")] if ">" in arguments else arguments
        assert subcommand(name).parse_args(words) is not None
