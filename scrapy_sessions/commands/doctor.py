"""``scrapy sessions doctor``."""

from __future__ import annotations

import argparse
from collections import Counter

from rich.text import Text

from scrapy_sessions.commands.diagnosis.environment import examine
from scrapy_sessions.commands.diagnosis.findings import Finding
from scrapy_sessions.commands.support.context import Context
from scrapy_sessions.commands.support.tables import STYLES
from scrapy_sessions.commands.support.text import printable

__all__ = ["DESCRIPTION", "HELP", "NEEDS_STORE", "add_arguments", "run"]

HELP = "check settings, store, permissions, records and clock"
DESCRIPTION = """
Check what sessions depend on, and say how to mend what isn't right: the settings, the store (reachable, writable,
intact, of this version), its permissions, records set aside, protection of the secrets, the clock, and packages that
don't go together. A store that isn't there yet is not made. The exit code is 1 if something is wrong; a warning alone
is no fault.

  scrapy sessions doctor
"""

NEEDS_STORE = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the form."""
    parser.add_argument("--json", action="store_true", help="as a JSON array of findings")


async def run(context: Context) -> int:
    """Check, and return 1 if something is wrong."""
    findings = [finding async for finding in examine(context)]
    wrong = any(finding.level == "wrong" for finding in findings)
    if context.options.json:
        context.write_json([finding._asdict() for finding in findings], indent=2)
        return int(wrong)
    for finding in findings:
        _print(context, finding)
    counts = Counter(finding.level for finding in findings)
    context.write("")
    context.write(f"{counts['wrong']} wrong, {counts['warning']} to know of, {counts['ok']} in order")
    return int(wrong)


def _print(context: Context, finding: Finding) -> None:
    level = (f"{finding.level:<8}", STYLES[finding.level])
    context.out.print(Text.assemble(level, f"{finding.check}: {printable(finding.text)}"), soft_wrap=True)
    if finding.remedy:
        context.out.print(Text(f"{'':8}-> {printable(finding.remedy)}"), soft_wrap=True)
