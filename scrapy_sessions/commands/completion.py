"""``scrapy sessions completion``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib import resources

from scrapy_sessions.commands.registry import SUBCOMMANDS
from scrapy_sessions.commands.support.arguments import actions_of, global_parser, subcommand
from scrapy_sessions.commands.support.context import Context
from scrapy_sessions.formats.registry import FORMATS

__all__ = ["DESCRIPTION", "HELP", "NEEDS_STORE", "add_arguments", "run"]

HELP = "print a script that completes commands, options and ids"
DESCRIPTION = """
Print a script for the Tab key in bash, zsh or fish: it completes subcommands, options and their choices, and the ids of
the sessions in the store. Completion of scrapy's other commands, if there is one, stays.

  source <(scrapy sessions completion bash)
  scrapy sessions completion zsh > ~/.scrapy-sessions.zsh   # and in ~/.zshrc: source ~/.scrapy-sessions.zsh
  scrapy sessions completion fish > ~/.config/fish/conf.d/scrapy-sessions.fish
"""

NEEDS_STORE = False

SHELLS = ("bash", "zsh", "fish")

# Of options that are checked by the command itself, because what they take depends on the others.
_WORDS = {
    ("export", "--format"): (*(name for name, each in FORMATS.items() if each.write), "csv", "jsonlines", "xml"),
    ("import", "--format"): tuple(FORMATS),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the shell."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to complete")


async def run(context: Context) -> int:
    """Print the script."""
    shell = context.options.shell
    script = resources.files(__package__).joinpath(f"completion.{shell}").read_text(encoding="utf-8")
    context.out.file.write(script.replace("@TABLE@", _function(shell)))
    return 0


def _function(shell: str) -> str:
    """Return the shell function that says what may follow: of ``"list --sort"``, say, ``"activity started …"``."""
    entries = list(_table())
    if shell == "fish":
        cases = [f"        case '{key}'\n            echo '{words}'" for key, words in entries]
        return "\n".join(["function _scrapy_sessions_table", '    switch "$argv[1]"', *cases, "    end", "end"])
    cases = [f"        '{key}') echo '{words}' ;;" for key, words in entries]
    return "\n".join(["_scrapy_sessions_table() {", "    case $1 in", *cases, "    esac", "}"])


def _table() -> Iterator[tuple[str, str]]:
    """Yield what may follow what. ``@value``: anything, a file perhaps; ``@ids``: ids of sessions."""
    yield " arguments", " ".join(SUBCOMMANDS)
    yield from _rows("", global_parser())
    for name in SUBCOMMANDS:
        yield from _rows(name, subcommand(name))


def _rows(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    actions = [action for action in actions_of(parser) if action.help != argparse.SUPPRESS]
    yield f"{name} options", " ".join(option for action in actions for option in action.option_strings)
    for action in actions:
        words = " ".join(map(str, action.choices)) if action.choices else "@value"
        if not action.option_strings:
            yield f"{name} arguments", "@ids" if action.metavar == "ID" else words
        elif action.nargs != 0:
            for option in action.option_strings:
                yield f"{name} {option}", " ".join(_WORDS.get((name, option), (words,)))
