"""Check what sessions depend on, and print how to repair what is wrong: the
settings, the store (reachable, writable, intact, of this version), its
permissions, every record and the quarantine, encryption of the secrets, user
agents that aren't those of the installed browser, the clock, and packages that
conflict. Creates no store. The exit code is 1 if there is an error; a warning
doesn't change it.

  scrapy sessions doctor
"""

from __future__ import annotations

import argparse
from collections import Counter

from scrapy_sessions.commands.diagnosis.environment import examine
from scrapy_sessions.commands.support.context import Context
from scrapy_sessions.commands.support.text import STYLES, count, printable

HELP = "check settings, store, permissions, records and clock"
NEEDS_STORE = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as a JSON array of findings")


async def run(context: Context) -> int:
    """Check, and return 1 if there is an error."""
    findings = [finding async for finding in examine(context)]
    counts = Counter(finding.level for finding in findings)
    if context.options.json:
        context.write_json([finding._asdict() for finding in findings], indent=2)
        return int(counts["error"] > 0)
    for finding in findings:
        level = context.styled(f"{finding.level:<8}", STYLES[finding.level])
        context.write_raw([level + printable(f"{finding.check}: {finding.text}")])
        if finding.remedy:
            context.write(f"{'':8}-> {finding.remedy}")
    context.write("")
    context.write(f"{count(counts['error'], 'error')}, {count(counts['warning'], 'warning')}, {counts['ok']} ok")
    return int(counts["error"] > 0)
