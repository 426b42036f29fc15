"""Which part of the package may import which, and what an import loads."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import scrapy_sessions
from tests.support.imports import loaded_by

PACKAGE = "scrapy_sessions"
FOLDER = Path(scrapy_sessions.__file__).parent

# A part, which is a folder or a module at the top, imports only from itself and from rows above its own. A module of a
# folder that has a row of its own is a part, too.
ROWS = (
    ("exceptions", "json_limits", "safe_repr"),
    ("atomic_file", "child_process", "durations", "keys", "request_meta"),
    ("models",),
    ("settings", "cookies", "analytics", "signals"),
    ("storage", "pools", "browser"),
    ("fingerprint", "testing", "sessions"),
    ("config", "formats"),
    ("crawl", "logins"),
    ("extension",),
    ("middlewares", "spidermiddlewares", "pipelines", "dupefilter", "browser.handler"),
    ("addon",),
    ("report",),
    ("commands",),
    ("",),  # the package itself: the public names
)
SESSIONS_ROW = next(number for number, parts in enumerate(ROWS) if "sessions" in parts)
SCRAPYS_CORE = ("scrapy.core.engine", "scrapy.crawler")
OPTIONAL = (
    "cryptography.fernet",
    "jinja2",
    "playwright",
    "prometheus_client",
    "pytest",
    "redis",
    "rich",
    "scrapy_playwright",
    "scrapy_redis",
    "valkey",
)


@cache
def modules() -> Mapping[str, Path]:
    """All modules of the package, by their dotted names."""
    found = {}
    for path in sorted(FOLDER.rglob("*.py")):
        parts = path.relative_to(FOLDER.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def part(module: str) -> str:
    """The folder or module at the top that *module* belongs to, or itself, if it has a row; "" for the package."""
    name = module.partition(".")[2]
    return name if any(name in parts for parts in ROWS) else name.partition(".")[0]


def row(module: str) -> int:
    """The number of the row that names the part of *module*."""
    for number, parts in enumerate(ROWS):
        if part(module) in parts:
            return number
    raise LookupError(f"Add {part(module)!r}, of {module}, to the rows of {Path(__file__).name}")


def imports(text: str) -> Iterator[str]:
    """Every module that the source *text* imports: in functions and for type checkers, too.

    ``from a import b`` is an import of ``a.b`` where that is one of our modules, else of ``a``.
    """
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports are banned (ruff TID252), this test doesn't resolve them"
            assert node.module is not None
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in modules() or name in SCRAPYS_CORE else node.module


def violations(module: str, text: str) -> list[str]:
    """What *module*, with the source *text*, imports and may not.

    The fingerprinter is a component of Scrapy's: its annotations name the crawler. What it loads is tested below.
    """
    wrong = set()
    for name in imports(text):
        if name == PACKAGE or name.startswith(f"{PACKAGE}."):
            if part(name) != part(module) and row(name) >= row(module):
                wrong.add(name)
        elif name.startswith(SCRAPYS_CORE) and row(module) <= SESSIONS_ROW and part(module) != "fingerprint":
            wrong.add(name)
    return sorted(wrong)


def source(module: str) -> str:
    return modules()[module].read_text(encoding="utf-8")


def circle() -> list[str]:
    """Modules that import each other in a circle; empty: none do."""
    graph = {
        module: {name for name in imports(source(module)) if name in modules() and name != module}
        for module in modules()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("name", [name for parts in ROWS for name in parts if name])
def test_a_part_imports_nothing_beside_or_above_it(name: str) -> None:
    """A part imports from rows above its own only and, up to ``sessions``, neither Scrapy's engine nor its crawler."""
    wrong = {
        module: found for module in modules() if part(module) == name and (found := violations(module, source(module)))
    }
    assert wrong == {}


def test_no_modules_import_each_other_in_a_circle() -> None:
    """No module imports another that imports it in turn, over however many others."""
    assert circle() == []


@pytest.mark.parametrize(
    ("module", "text", "wrong"),
    [
        pytest.param(
            "models", "import scrapy_sessions.sessions.manager", "scrapy_sessions.sessions.manager", id="plain"
        ),
        pytest.param("models", "from scrapy_sessions import addon", "scrapy_sessions.addon", id="from"),
        pytest.param("models", "from scrapy_sessions import BrowserSession", "scrapy_sessions", id="root"),
        pytest.param(
            "cookies.jar",
            "def f():\n from scrapy_sessions.pools.pool import x",
            "scrapy_sessions.pools.pool",
            id="lazy",
        ),
        pytest.param(
            "config", "if TYPE_CHECKING:\n import scrapy_sessions.extension", "scrapy_sessions.extension", id="types"
        ),
        pytest.param("storage.base", "import scrapy_sessions.pools.pool", "scrapy_sessions.pools.pool", id="beside"),
        pytest.param("sessions.manager", "from scrapy import crawler", "scrapy.crawler", id="crawler"),
        pytest.param(
            "browser.context", "import scrapy_sessions.browser.handler", "scrapy_sessions.browser.handler", id="inside"
        ),
    ],
)
def test_an_import_from_above_is_noticed(module: str, text: str, wrong: str) -> None:
    """The check sees an import that is not allowed in whatever form it is written."""
    assert violations(f"{PACKAGE}.{module}", text) == [wrong]


def test_a_part_without_a_row_is_noticed() -> None:
    """A new folder has to be given its row."""
    with pytest.raises(LookupError, match="drawer"):
        row(f"{PACKAGE}.drawer.module")


def test_importing_the_package_loads_no_optional_dependency() -> None:
    """``import scrapy_sessions`` works, and is quick, with no extra installed."""
    ours = loaded_by(f"import {PACKAGE}") - loaded_by("import scrapy")
    assert sorted(ours.intersection(OPTIONAL)) == []


def test_up_to_the_sessions_neither_engine_nor_crawler_is_loaded() -> None:
    """The core works in any asyncio program: none of its modules loads Scrapy's engine or crawler."""
    core = [name for name in modules() if row(name) <= SESSIONS_ROW]
    loaded = loaded_by("\n".join(f"import {name}" for name in core))
    assert loaded.issuperset(core)
    assert sorted(loaded.intersection(SCRAPYS_CORE)) == []


def test_the_addon_installs_no_reactor() -> None:
    """It imports the download handler before Scrapy installs the reactor: no reactor comes along, and no extension."""
    update = "from scrapy.settings import Settings\nfrom scrapy_sessions import SessionsAddon\nsettings = Settings()"
    loaded = loaded_by(f"{update}\nSessionsAddon().update_settings(settings)")
    assert "scrapy.core.downloader.handlers.http11" in loaded
    assert "twisted.internet.reactor" not in loaded
    assert f"{PACKAGE}.extension" not in loaded
    without_reactor = update.replace("Settings()", "Settings({'TWISTED_REACTOR_ENABLED': False})")
    loaded = loaded_by(f"{without_reactor}\nSessionsAddon().update_settings(settings)")
    assert "scrapy.core.downloader.handlers.http11" not in loaded


@pytest.mark.skipif("TOX_ENV_NAME" not in os.environ, reason="outside tox the checkout may be under test")
def test_tox_tests_the_installed_package() -> None:
    """Under tox, the package under test is the one that was built and installed, not the checkout beside the tests."""
    assert FOLDER.is_relative_to(sys.prefix)
