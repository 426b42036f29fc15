"""The subcommands of ``scrapy sessions`` by name."""

from __future__ import annotations

import importlib
from types import ModuleType

SUBCOMMANDS = {
    "list": "list_",
    "show": "show",
    "delete": "delete",
    "cleanup": "cleanup",
    "check": "check",
    "fork": "fork",
    "retire": "retire",
    "unretire": "unretire",
    "export": "export",
    "import": "import_",
    "curl": "curl",
    "login": "login",
    "open": "open_",
    "move": "move",
    "key": "key",
    "report": "report",
    "stats": "stats",
    "settings": "settings_",
    "doctor": "doctor",
    "completion": "completion",
}
"""The module of each subcommand, in the order of the help."""


def load(name: str) -> ModuleType:
    """Return the module of the subcommand *name*."""
    return importlib.import_module(f"scrapy_sessions.commands.{SUBCOMMANDS[name]}")
