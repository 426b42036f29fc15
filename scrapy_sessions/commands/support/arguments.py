"""The parsers of ``scrapy sessions``: options before and after the subcommand, and errors in one line."""

from __future__ import annotations

import argparse
import copy
import difflib
import inspect
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from scrapy_sessions.commands.registry import SUBCOMMANDS, load
from scrapy_sessions.commands.support.text import printable

PROGRAM = "scrapy sessions"


def add_subcommands(parser: argparse.ArgumentParser) -> None:
    """Let *parser*, which is Scrapy's, take global options and then one subcommand with its arguments."""
    parser.add_argument("-h", "--help", action="store_true")  # replaces Scrapy's, which lists no subcommands
    _add_own_options(parser)
    # Not add_subparsers(), which would import the modules of all subcommands.
    action = parser.add_argument("subcommand", nargs=argparse.PARSER, action=_Subcommands)
    action.required = False


def add_all(parser: argparse.ArgumentParser) -> dict[str, Subcommand]:
    """Add global options and all subcommands to *parser*, for help and completion. Returns the subcommands' parsers."""
    _add_global_options(parser)
    subparsers = parser.add_subparsers(title="subcommands", metavar="subcommand", parser_class=Subcommand, prog=PROGRAM)
    return {name: _add_subcommand(subparsers, name) for name in SUBCOMMANDS}


def overview() -> str:
    """Return the help of ``scrapy sessions`` itself."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [global options] subcommand [options]",
        epilog=f'"{PROGRAM} subcommand --help" shows the options of one subcommand.',
    )
    add_all(parser)
    return parser.format_help()


def subcommand(name: str) -> Subcommand:
    """Return the parser of the subcommand *name*."""
    parser = argparse.ArgumentParser(prog=PROGRAM)
    return _add_subcommand(parser.add_subparsers(parser_class=Subcommand, prog=PROGRAM), name)


def add_spider_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the name of the spider and its arguments, as ``scrapy crawl`` has them."""
    parser.add_argument("--spider", metavar="NAME", required=True, help="the spider whose settings and login are used")
    parser.add_argument(
        "-a",
        dest="spider_arguments",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="set an argument of the spider",
    )


def usage_error(program: str, message: str) -> NoReturn:
    """Report a usage error in one line, and exit with status 2."""
    # A message quotes arguments, which may contain line breaks.
    sys.stderr.write(f'{program}: {printable(message)} ("{program} --help" shows the options)\n')
    sys.exit(2)


class Subcommand(argparse.ArgumentParser):
    """The parser of one subcommand. It reports errors in one line and suggests the option that was meant."""

    _given: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        hint = self._hint() if message.startswith(("unrecognized", "the following arguments are required")) else ""
        usage_error(self.prog, f"{message}{hint}")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._given = args
        found, unknown = self.parse_known_args(args, copy.copy(namespace))
        if unknown and (unknown[0] == "--" or not unknown[0].startswith("-")):
            # Options between the ids. Only as a second attempt: the errors of the first one are clearer.
            found, unknown = self.parse_known_intermixed_args(args, copy.copy(namespace))
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found

    def _hint(self) -> str:
        """Suggest what the first argument that looks like an option, but isn't one of this subcommand, may mean."""
        known = {option for action in self._actions for option in action.option_strings}
        before, after = list(self._given), list[str]()
        if "--" in before:
            place = before.index("--")
            before, after = before[:place], before[place + 1 :]
        late = next((each for each in after if each.partition("=")[0] in known), None)
        if late is not None:
            return f"; arguments after -- are no options: put {late} before it"
        for each in before:
            name = each.partition("=")[0]
            if each.startswith("-") and name not in known and each != "-":
                nearest = difflib.get_close_matches(name, sorted(known), n=1)
                if nearest:
                    return f"; did you mean {nearest[0]}?"
                if self._get_positional_actions():
                    return f"; if {each} is no option, put it last, after --"
        return ""


class _Subcommands(argparse.Action):
    """Parses what follows the name of a subcommand with the parser of that subcommand."""

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
            usage_error(PROGRAM, f"there is no subcommand {name!r:.80}{hint}")
        # In the same namespace, so that an option before the subcommand holds unless it is given again after it.
        vars(namespace).update(vars(subcommand(name).parse_args(rest, namespace)), subcommand=name)


def _add_subcommand(subparsers: argparse._SubParsersAction[Subcommand], name: str) -> Subcommand:
    module = load(name)
    parser = subparsers.add_parser(
        name,
        help=module.HELP,
        description=inspect.getdoc(module),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # an option that is added later could make an abbreviation in a script ambiguous
    )
    module.add_arguments(parser)
    _add_global_options(parser)
    return parser


def _add_own_options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--store", metavar="URL", help="URL as in SESSIONS_STORE, or path of a file (default: the project's store)"
    )
    parser.add_argument(
        "--namespace",
        metavar="NAME",
        help="only sessions of this namespace, by default the spider's name (default: all namespaces)",
    )


def _add_global_options(parser: argparse.ArgumentParser) -> None:
    """Add Scrapy's options and ours, with help texts that don't change with the version of Scrapy."""
    group = parser.add_argument_group("global options")
    _add_own_options(group)
    group.add_argument("-s", "--set", metavar="NAME=VALUE", action="append", default=[], help="override a setting")
    group.add_argument("--logfile", metavar="FILE", help="write a log to FILE")
    group.add_argument("-L", "--loglevel", metavar="LEVEL", help="write a log with this level and above")
    group.add_argument("--pidfile", metavar="FILE", help="write the process id to FILE")
    group.add_argument("--profile", metavar="FILE", help="write cProfile stats to FILE")
    group.add_argument("--nolog", action="store_true", help="write no log")
    group.add_argument("--pdb", action="store_true", help="enable pdb on failure")
