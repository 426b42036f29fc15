"""The README's badges and links, and the form of the changelog."""

from __future__ import annotations

import re
import sys
from typing import Any
from urllib.parse import unquote

import pytest

from tests.support.docs_pages import README, ROOT, text_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def project() -> dict[str, Any]:
    """The metadata of the distribution."""
    return tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]


def test_badges_are_true() -> None:
    """The badges have the lowest Python and Scrapy, and the license, that the metadata have."""
    shown = dict(re.findall(r"img\.shields\.io/badge/(\w+)-((?:--|[^-])+)-", text_of(README)))
    (scrapy,) = (each for each in project()["dependencies"] if each.startswith("scrapy>"))
    assert {name: unquote(text).replace("--", "-") for name, text in shown.items()} == {
        "python": project()["requires-python"].removeprefix(">=") + "+",
        "scrapy": re.sub(r"scrapy>=(\d+\.\d+)\.0,.*", r"\1+", scrapy),
        "license": project()["license"],
    }


@pytest.mark.parametrize("name", ["README.md", "SECURITY.md", "CONTRIBUTING.md", "example_project/README.md"])
def test_links_lead_to_files(name: str) -> None:
    """Each relative link and picture is a file of the repository."""
    text = text_of(ROOT / name)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'\bsrc(?:set)?="([^"]+)"', text)
    paths = [link.partition("#")[0] for link in links if not link.startswith(("http://", "https://", "#"))]
    assert paths or name != "README.md"
    assert [path for path in paths if not (ROOT / name).parent.joinpath(path).exists()] == []


def test_changelog_has_its_form() -> None:
    """Keep a Changelog: the unreleased section is first, and only the known kinds of changes are in a section."""
    text = text_of(ROOT / "CHANGELOG.md")
    versions = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", version) for version in versions[1:])
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= KINDS
