"""The arguments of ``scrapy sessions``, before and after the subcommand, and the help, the same on every Python."""

from __future__ import annotations

import argparse
import difflib
import inspect
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from scrapy_sessions.commands.registry import SUBCOMMANDS, load
from scrapy_sessions.commands.support.text import printable

__all__ = [
    "Subcommand",
    "actions_of",
    "add_subcommands",
    "complain",
    "given_id",
    "global_parser",
    "overview",
    "subcommand",
    "whole_number",
]

PROGRAM = "scrapy sessions"
_INDENT = 26
_TITLES = {"positional arguments": "Arguments", "optional arguments": "Options", "options": "Options"}  # argparse's own


def add_subcommands(parser: argparse.ArgumentParser) -> None:
    """Let *parser*, Scrapy's own, take the options of all subcommands, and then one of them with its arguments."""
    parser.add_argument("-h", "--help", action=_Overview, nargs=0)  # takes the place of Scrapy's
    _add_own_options(parser)
    # Not add_subparsers(): it would import every module, and knows no nearest name.
    action = parser.add_argument("subcommand", nargs=argparse.PARSER, action=_Subcommands)
    action.required = False


def subcommand(name: str) -> Subcommand:
    """Return the parser of the subcommand *name*."""
    module = load(name)
    parser = Subcommand(
        prog=f"{PROGRAM} {name}",
        description=inspect.cleandoc(module.DESCRIPTION),
        add_help=False,
        allow_abbrev=False,  # or an option added later could make a script's abbreviation ambiguous
    )
    module.add_arguments(parser)
    parser.add_argument("-h", "--help", action="help", help="show this help and exit")
    _add_global_options(parser)
    return parser


def overview() -> str:
    """Return the help of ``scrapy sessions`` itself."""
    lines = [f"usage: {PROGRAM} [global options] <subcommand> [options]", "", "Subcommands:"]
    lines += [line for name in SUBCOMMANDS for line in _item(name, load(name).HELP)]
    lines += ["", "Global options, before or after the subcommand:"]
    lines += [line for action in actions_of(global_parser()) for line in _item(_invocation(action), action.help or "")]
    lines += ["", f'"{PROGRAM} <subcommand> --help" tells more of each.']
    return "\n".join(lines) + "\n"


def global_parser() -> argparse.ArgumentParser:
    """Return a parser of what may stand before the subcommand."""
    parser = argparse.ArgumentParser(add_help=False)
    _add_global_options(parser)
    return parser


def actions_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return what *parser* takes."""
    return parser._actions  # noqa: SLF001  # argparse tells it in no other way


def complain(program: str, message: str) -> NoReturn:
    """Say in one line what is wrong with the arguments, and exit with status 2."""
    # Escaped, because a message quotes what it was given: one line it stays.
    sys.stderr.write(f'{program}: {printable(message)} ("{program} --help" shows what there is)\n')
    sys.exit(2)


def given_id(text: str) -> str:
    """Return *text*; a type for argparse, which names the argument when it is empty."""
    if not text:
        raise argparse.ArgumentTypeError("an id has at least one character")
    return text


def whole_number(least: int) -> Callable[[str], int]:
    """Return a type for argparse: a whole number that is at *least* so much."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"a whole number of at least {least}, not {text!r:.40}")
        return number

    return read


class Subcommand(argparse.ArgumentParser):
    """The parser of one subcommand. It complains in one line, and writes its help itself: argparse's varies."""

    _given: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        hint = self._hint() if message.startswith(("unrecognized", "the following arguments are required")) else ""
        complain(self.prog, f"{message}{hint}")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._given = args
        found, unknown = self.parse_known_args(args, namespace)
        if unknown and (unknown[0] == "--" or not unknown[0].startswith("-")):
            # Options between the ids. Not at first, because argparse's errors are better told the other way.
            found, unknown = self.parse_known_intermixed_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found

    def _hint(self) -> str:
        """Say what may have been meant by the first of the arguments that looks like an option and is none here."""
        known = {option for action in self._actions for option in action.option_strings}
        before, after = self._given, list[str]()
        if "--" in before:
            place = list(before).index("--")
            before, after = before[:place], list(before[place + 1 :])
        late = next((each for each in after if each.partition("=")[0] in known), None)
        if late is not None:
            return f"; what stands after -- is no option: put {late} before it"
        for each in before:
            if each.startswith("-") and each.partition("=")[0] not in known and each != "-":
                nearest = difflib.get_close_matches(each.partition("=")[0], sorted(known), n=1)
                positionals = any(not action.option_strings for action in self._actions)
                if nearest:
                    return f"; did you mean {nearest[0]}?"
                if positionals:
                    return f"; if {each} is no option, put it last, after --"
        return ""

    def format_usage(self) -> str:
        positionals = [_invocation(action) for action in self._actions if not action.option_strings]
        return f"usage: {' '.join([self.prog, '[options]', *positionals])}\n"

    def format_help(self) -> str:
        lines = [self.format_usage(), *_paragraphs(self.description or "")]
        for group in self._action_groups:
            actions = [action for action in group._group_actions if action.help != argparse.SUPPRESS]  # noqa: SLF001  # there is no other way
            if actions:
                lines += ["", f"{_TITLES.get(group.title or '', group.title)}:"]
                for action in actions:
                    lines += _item(_invocation(action), _filled(action))
        return "\n".join(lines) + "\n"


class _Overview(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        sys.stdout.write(overview())
        parser.exit()


class _Subcommands(argparse.Action):
    """Parses what follows a subcommand's name with the parser of that subcommand."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        name, *rest = list(values or ())
        if name not in SUBCOMMANDS:
            nearest = difflib.get_close_matches(name, SUBCOMMANDS, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            complain(PROGRAM, f"there is no subcommand {name!r:.80}{hint}")
        namespace.subcommand = name
        inner = subcommand(name).parse_args(rest)
        for option, value in vars(inner).items():
            # What stands before the subcommand and what stands after it both count.
            setattr(namespace, option, [*namespace.set, *value] if option == "set" else value)


def _add_own_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup, default: Any = None) -> None:
    parser.add_argument(
        "--store",
        metavar="URL",
        default=default,
        help="the store: a URL as in SESSIONS_STORE, or the path of a file (default: that of the project)",
    )
    parser.add_argument(
        "--namespace",
        metavar="NAME",
        default=default,
        help="only the sessions of this namespace, which is the spider's name unless set otherwise (default: all)",
    )


def _add_global_options(parser: argparse.ArgumentParser) -> None:
    """Add Scrapy's options and ours, in words that don't change with the version of Scrapy."""
    group = parser.add_argument_group("Global options")
    _add_own_options(group, argparse.SUPPRESS)
    group.add_argument(
        *("-s", "--set"), metavar="NAME=VALUE", action="append", default=argparse.SUPPRESS, help="override a setting"
    )
    for flags, metavar, text in (
        (("--logfile",), "FILE", "write a log to FILE"),
        (("-L", "--loglevel"), "LEVEL", "write a log, of this level and above"),
        (("--pidfile",), "FILE", "write the process id to FILE"),
        (("--profile",), "FILE", "write cProfile stats to FILE"),
    ):
        group.add_argument(*flags, metavar=metavar, default=argparse.SUPPRESS, help=text)
    for flag, text in (("--nolog", "write no log"), ("--pdb", "enable pdb on failure")):
        group.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=text)


def _invocation(action: argparse.Action) -> str:
    value = action.metavar or (f"{{{','.join(map(str, action.choices))}}}" if action.choices else action.dest.upper())
    name = value if isinstance(value, str) else " ".join(value)
    if action.nargs == 0:
        name = ""
    elif action.nargs == argparse.OPTIONAL:
        name = f"[{name}]"
    elif action.nargs == argparse.ZERO_OR_MORE:
        name = f"[{name} ...]"
    elif action.nargs == argparse.ONE_OR_MORE:
        name = f"{name} [{name} ...]"
    elif isinstance(action.nargs, int) and isinstance(value, str):
        name = " ".join([name] * action.nargs)
    return f"{', '.join(action.option_strings)} {name}".strip()


def _filled(action: argparse.Action) -> str:
    return (action.help or "") % {**vars(action), "prog": PROGRAM}


def _width() -> int:
    return min(max(shutil.get_terminal_size((100, 24)).columns, 60), 100)


def _item(name: str, text: str) -> Iterator[str]:
    lines = textwrap.wrap(text, _width() - _INDENT, break_on_hyphens=False) or [""]
    if len(name) > _INDENT - 4:
        yield f"  {name}"
    else:
        yield f"  {name:<{_INDENT - 2}}{lines.pop(0)}".rstrip()
    yield from (" " * _INDENT + line for line in lines)


def _paragraphs(text: str) -> Iterator[str]:
    """Wrap the paragraphs of *text*; indented ones, which are examples, stay as they are."""
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            yield ""
        if paragraph.startswith(" "):
            yield from paragraph.splitlines()
        else:
            yield from textwrap.wrap(paragraph, _width(), break_on_hyphens=False, break_long_words=False)
