"""The forms for issues ask for what there is."""

from __future__ import annotations

import re
import shlex

from scrapy_sessions.commands.support.arguments import subcommand
from tests.support.docs_pages import ROOT, text_of

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def test_commands_exist() -> None:
    """The bug report asks for the output of ``scrapy sessions doctor --json``; each command that is named exists."""
    named = {form.name: re.findall(r"`scrapy sessions (.+?)`", text_of(form)) for form in FORMS}
    assert named["bug_report.yml"] == ["doctor --json"]
    for command in [command for commands in named.values() for command in commands]:
        name, *arguments = shlex.split(command)
        assert subcommand(name).parse_args(arguments) is not None


def test_files_named_exist() -> None:
    """Each file that a form names is in the repository."""
    names = {name for form in FORMS for name in re.findall(r"`([\w/]+\.md)`", text_of(form))}
    assert names == {"SECURITY.md"}
    assert all((ROOT / name).is_file() for name in names)
