"""The language: plain technical English, in the words that Scrapy's own documentation uses."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.docs_pages import PACKAGE, PAGES, ROOT, text_of

SOURCES = sorted(PACKAGE.rglob("*.py"))
TEXTS = [
    *PAGES,
    *(
        ROOT / name
        for name in (
            "CHANGELOG.md",
            "CONTRIBUTING.md",
            "SECURITY.md",
            "example_project/README.md",
            "pyproject.toml",
            "tox.ini",
        )
    ),
    *sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")),
]


class Rule(NamedTuple):
    """Words that are not used, and what to write in their place."""

    words: str
    better: str
    in_names: bool = True


# People may know and be told something; data, programs and sites do not.
_PEOPLE = "".join(rf"(?<!\b{word} )" for word in ("to", "you", "who", "we", "You", "nobody", "Nobody"))

RULES = (
    Rule(r"stands?|stood|standing", "is, is stored, means, waits"),
    Rule(r"lies?|lay|lays|laid|lying", "is stored, is applied"),
    Rule(r"walk(?:s|ed|ing)?", "iterates over, crawls, is logged in"),
    Rule(r"tells?|told|telling", "reports, logs, shows, describes; distinguishes; is asked to"),
    Rule(r"leads?|led", "redirects to, causes, is followed by"),
    Rule(r"wears?|wore|worn|wearing", "sends, has"),
    Rule(rf"{_PEOPLE}(?:knows?|knew)", "recognises, accepts, has, tracks, defines"),
    Rule(r"whom", "the noun before its relative clause"),
    Rule(r"strangers?", "anonymous visitor, anonymous session"),
    Rule(r"births?|born|heirs?", "creation, created, substitute"),
    Rule(r"lives|living|for life|outlives?|outlived|outliving", "exists, runs, is kept after; lifetime"),
    Rule(r"pick(?:s|ed|ing)? up(?: again)?", "restore"),
    Rule(r"half[- ]li(?:fe|ves)", "median lifetime"),
    Rule(r"sets? (?:\w+ )?aside", "quarantine", in_names=False),  # a column of the SQLite schema
    Rule(r"go(?:es)? by", "uses, is selected by"),
    Rule(r"hearings?|heard|unheard", "inquiry, inquiries"),
    Rule(r"in vain|fruitless", "without success"),
    Rule(r"says? of|tells? of", "means for, reports about"),
    Rule(r"judge[sd]?|judging", "decides by, applies the rules"),
)


def words_of(text: str) -> str:
    """Return *text* without code, and links, which are replaced by as many spaces."""
    return re.sub(r"``[^`]*``|`[^`\n]*`|https?://\S+", lambda code: " " * len(code[0]), text)


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of *path* that are read by people: for a module, its comments and the texts with a space in them."""
    text = text_of(path)
    if path.suffix != ".py":
        yield from enumerate(words_of(text).splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], words_of(token.string)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield from enumerate(words_of(node.value).splitlines(), node.lineno)


def names(path: Path) -> Iterator[tuple[int, str]]:
    """The names that the module *path* uses, each as its words."""
    for token in tokenize.generate_tokens(io.StringIO(text_of(path)).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string.replace("_", " ")


def faults(lines: Iterator[tuple[int, str]], path: Path, rules: Iterable[Rule] = RULES) -> list[str]:
    """What is in *lines* of *path* and should not be, with what to write in its place."""
    found = []
    for number, line in lines:
        for rule in rules:
            for match in re.finditer(rf"\b(?:{rule.words})\b", line, re.IGNORECASE):
                place = f"{path.relative_to(ROOT)}:{number}"
                found.append(f"{place}: {match[0]!r} in {line.strip()!r}; better: {rule.better}")
    return found


@pytest.mark.parametrize("path", [*SOURCES, *TEXTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_words(path: Path) -> None:
    """Texts, comments and messages have none of the words that make a reader read them twice."""
    assert faults(prose(path), path) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names(path: Path) -> None:
    """No name of the package is a private metaphor."""
    assert faults(names(path), path, [rule for rule in RULES if rule.in_names]) == []
