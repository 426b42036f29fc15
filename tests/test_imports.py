"""What an import loads, and who may import whom."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import scrapy_sessions
from tests.support.imports import loaded_by

PACKAGE = "scrapy_sessions"
FOLDER = Path(scrapy_sessions.__file__).parent

# Lower never imports higher; within a layer, modules may import each other. A folder's modules share its layer.
LAYERS = (
    ("exceptions", "atomic_file", "models"),
    ("settings", "cookies", "analytics"),
    ("storage", "pools"),
    ("fingerprint", "testing", "sessions"),
    ("config", "formats"),
    ("crawl", "extension"),
    ("middlewares", "spidermiddlewares", "pipelines", "commands", "report"),
    ("addon",),
    ("",),  # the package itself: the public names
)
MANAGER_LAYER = next(level for level, names in enumerate(LAYERS) if "sessions" in names)
SCRAPYS_CORE = ("scrapy.core.engine", "scrapy.crawler")
OPTIONAL = ("cryptography.fernet", "jinja2", "playwright", "prometheus_client", "pytest", "redis", "rich", "valkey")


def modules() -> list[str]:
    """The dotted names of all modules of the package."""
    names = []
    for path in sorted(FOLDER.rglob("*.py")):
        parts = path.relative_to(FOLDER.parent).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def source(module: str) -> str:
    path = FOLDER.parent.joinpath(*module.split("."))
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")


def layer(module: str) -> int:
    """The level of *module* in :data:`LAYERS`. A module without one has no place yet: add it there."""
    name = module.partition(".")[2].partition(".")[0]
    for level, names in enumerate(LAYERS):
        if name in names:
            return level
    raise LookupError(f"{module} stands in no layer of {Path(__file__).name}")


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def imports(node: ast.AST) -> Iterator[str]:
    """Every module that *node* imports, in functions too, but for what only a type checker sees.

    ``from a import b`` counts as ``a`` and as ``a.b``, which may be a module as well.
    """
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, "relative imports are banned (ruff TID252), this test doesn't resolve them"
        assert node.module is not None
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.If) and is_type_checking(node.test):
        for child in node.orelse:
            yield from imports(child)
    else:
        for child in ast.iter_child_nodes(node):
            yield from imports(child)


def violations(module: str, text: str) -> list[str]:
    """What *module*, with the source *text*, imports and may not."""
    level = layer(module)
    wrong = set()
    for name in imports(ast.parse(text)):
        if name == PACKAGE:
            wrong.add(name)  # the package imports everything below: a circle
        elif name.startswith(f"{PACKAGE}."):
            if layer(name) > level:
                wrong.add(name)
        elif level <= MANAGER_LAYER and name.startswith(SCRAPYS_CORE):
            wrong.add(name)
    return sorted(wrong)


@pytest.mark.parametrize("module", [name for name in modules() if name != PACKAGE])
def test_module_imports_nothing_above_it(module: str) -> None:
    """A module imports no module of a higher layer and, up to the manager, neither Scrapy's engine nor its crawler."""
    assert violations(module, source(module)) == []


@pytest.mark.parametrize(
    ("module", "text", "wrong"),
    [
        pytest.param(
            "models", "import scrapy_sessions.sessions.manager", ["scrapy_sessions.sessions.manager"], id="import"
        ),
        pytest.param(
            "models", "from scrapy_sessions import addon", ["scrapy_sessions", "scrapy_sessions.addon"], id="root"
        ),
        pytest.param(
            "cookies.jar",
            "def f():\n from scrapy_sessions.pools.pool import x",
            ["scrapy_sessions.pools.pool"],
            id="late",
        ),
        pytest.param("sessions.manager", "from scrapy import crawler", ["scrapy.crawler"], id="crawler"),
    ],
)
def test_an_import_from_above_is_noticed(module: str, text: str, wrong: list[str]) -> None:
    """The check above sees an upward import in whatever form it is written."""
    found = violations(f"{PACKAGE}.{module}", text)
    assert set(wrong) <= set(found)


def test_an_import_for_types_only_is_no_dependency() -> None:
    """What stands under ``if TYPE_CHECKING`` may come from above, what stands beside it may not."""
    text = "if TYPE_CHECKING:\n import scrapy.crawler\nelse:\n import scrapy_sessions.addon"
    assert violations(f"{PACKAGE}.models", text) == ["scrapy_sessions.addon"]


def test_a_module_without_a_layer_is_noticed() -> None:
    """A new module has to be given its place among the layers."""
    with pytest.raises(LookupError, match="drawer"):
        layer(f"{PACKAGE}.drawer")


def test_importing_the_package_loads_no_optional_dependency() -> None:
    """``import scrapy_sessions`` works, and is quick, with no extra installed."""
    ours = loaded_by(f"import {PACKAGE}") - loaded_by("import scrapy")
    assert sorted(ours.intersection(OPTIONAL)) == []


def test_up_to_the_manager_neither_engine_nor_crawler_is_loaded() -> None:
    """The core works in any asyncio program: none of its modules brings Scrapy's engine or crawler along."""
    core = [name for name in modules() if layer(name) <= MANAGER_LAYER]
    loaded = loaded_by("\n".join(f"import {name}" for name in core))
    assert loaded.issuperset(core)
    assert sorted(loaded.intersection(SCRAPYS_CORE)) == []


@pytest.mark.skipif("TOX_ENV_NAME" not in os.environ, reason="outside tox the checkout may be under test")
def test_tox_tests_the_installed_package() -> None:
    """Under tox, the package under test is the one that was built and installed, not the checkout beside the tests."""
    assert FOLDER.is_relative_to(sys.prefix)
