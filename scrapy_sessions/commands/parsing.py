"""The arguments of ``scrapy sessions``, before and after the subcommand, and the help, the same on every Python."""

from __future__ import annotations

import argparse
import difflib
import inspect
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from scrapy_sessions.commands import SUBCOMMANDS, load

__all__ = ["Subcommand", "actions_of", "add_subcommands", "complain", "global_parser", "overview", "subcommand"]

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
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in message)
    sys.stderr.write(f'{program}: {text} ("{program} --help" shows what there is)\n')
    sys.exit(2)


class Subcommand(argparse.ArgumentParser):
    """The parser of one subcommand. It complains in one line, and writes its help itself: argparse's varies."""

    def error(self, message: str) -> NoReturn:
        complain(self.prog, message)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = [option for action in self._actions for option in action.option_strings]
            nearest = difflib.get_close_matches(unknown[0].partition("=")[0], known, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return found

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
