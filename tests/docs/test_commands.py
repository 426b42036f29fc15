"""The pages on the command line: the help is that of the commands, and the commands shown exist."""

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
    """The committed page contains the help of every subcommand as it is now: else run docs/_ext/commands_page.py."""
    assert text_of(commands_page.PAGE) == commands_page.page()
    for name in SUBCOMMANDS:
        assert f"\nscrapy sessions {name}\n===" in text_of(commands_page.PAGE)


@pytest.mark.parametrize("name", ["list", "import"])
def test_the_reference_is_what_help_prints(tmp_path: Path, name: str) -> None:
    """--help prints the options that the page describes, and no others, in the same words."""
    shared, *sections = re.split(r"^\.\. _command-scrapy-sessions-", text_of(commands_page.PAGE), flags=re.MULTILINE)
    (section,) = (each for each in sections if each.startswith(f"{name}:"))
    described = re.findall(r"^\.\. option:: (.+)\n\n   (.+)\.$", shared + section, re.MULTILINE)
    printed = sessions(tmp_path, name, "--help").out
    for invocation, text in described:
        for option in re.findall(r"(?<!\S)--?[a-z-]+", invocation):
            assert re.search(rf"^  .*{option}\b", printed, re.MULTILINE)
        assert without_layout(text) in without_layout(printed)
    options = set(re.findall(r"^  (?:-\S.*, )?(--[a-z-]+)", printed, re.MULTILINE))
    assert options - {"--help"} == set(re.findall(r"(?<!\S)--[a-z-]+", " ".join(each for each, _ in described)))


def without_layout(text: str) -> str:
    """*text* in lower case, without spaces, line breaks and escapes of the page."""
    return re.sub(r"[\s\\]", "", text).lower()


def test_commands_in_the_documentation_are_understood() -> None:
    """Every ``scrapy sessions`` command in a page, and in a help text, has an existing subcommand and options."""
    texts = [text_of(page) for page in PAGES if page != commands_page.PAGE]
    texts += [load(name).__doc__ or "" for name in SUBCOMMANDS]
    shown = [command.partition("  #")[0] for text in texts for command in SHOWN.findall(text)]
    assert len(shown) > 30
    for command in shown:
        name, *arguments = shlex.split(command)
        words = arguments[: arguments.index(">")] if ">" in arguments else arguments
        assert subcommand(name).parse_args(words) is not None
