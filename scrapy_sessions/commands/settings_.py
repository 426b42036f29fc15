"""Show the value of every SESSIONS_* setting and where it is set: "default",
"add-on", "project" (settings.py), "spider" (custom_settings, with --spider) or
"command line" (-s). Secrets are hidden: passwords in URLs, and the headers and
request meta of profiles.

  scrapy sessions settings --changed
  scrapy sessions settings --spider shop -s SESSIONS_IDLE_TIMEOUT=0
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from scrapy.settings import SETTINGS_PRIORITIES
from scrapy.utils.python import global_object_name

from scrapy_sessions.commands.support.context import Context, as_json
from scrapy_sessions.commands.support.spiders import crawler_of
from scrapy_sessions.commands.support.tables import print_table
from scrapy_sessions.commands.support.text import HIDDEN, url_without_password
from scrapy_sessions.models import Profile
from scrapy_sessions.settings import SessionsSettings, setting_name, setting_of

HELP = "show every SESSIONS_* setting, its value and where it is set"
NEEDS_STORE = False

_SOURCES = {"addon": "add-on", "cmdline": "command line", "command": "default"}
_SECRET = ("key", "password", "secret", "token")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--spider", metavar="NAME", help="with the settings of this spider")
    parser.add_argument("--changed", action="store_true", help="only settings that are set somewhere")
    parser.add_argument("--json", action="store_true", help="as a JSON object")


async def run(context: Context) -> int:
    settings: Any = crawler_of(context, context.options.spider).settings
    values = SessionsSettings.from_settings(settings)
    rows: list[tuple[str, Any, str]] = []
    for field in SessionsSettings.model_fields:
        name = setting_name(field)
        value, source = getattr(values, field), "default"
        if setting_of(settings, field) is not None:
            priority = settings.getpriority(name)
            names = (source for source, number in SETTINGS_PRIORITIES.items() if number == priority)
            source = next(names, f"priority {priority}")
            source = _SOURCES.get(source, source)
        if field == "store" and context.options.store is not None:
            value, source = context.options.store, "command line"
        if source != "default" or not context.options.changed:
            rows.append((name, _without_secrets(field, value), source))
    if context.options.json:
        content = {name: {"value": value, "source": source} for name, value, source in rows}
        context.write_json(content, indent=2)
    elif rows:
        print_table(context, ("SETTING", "VALUE", "SET BY"), [(name, _text(value), by) for name, value, by in rows])
    else:
        context.write("All settings have their defaults")
    return 0


def _without_secrets(field: str, value: Any) -> Any:
    """Return *value*, without its secrets, as JSON can represent it."""
    if isinstance(value, str):
        return HIDDEN if any(word in field for word in _SECRET) else url_without_password(value)
    if isinstance(value, Profile):
        content = value.model_dump(exclude_defaults=True)
        if value.headers:
            content["headers"] = dict.fromkeys(value.headers, HIDDEN)
        if value.meta:
            content["meta"] = dict.fromkeys(value.meta, HIDDEN)
        if value.proxy is not None:
            content["proxy"] = url_without_password(value.proxy)
        return content
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, Mapping):
        return {
            name: _without_secrets(str(name), each) if isinstance(each, str | BaseModel) else each
            for name, each in value.items()
        }
    if value is None or isinstance(value, bool | int | float | list):
        return value
    return global_object_name(value if callable(value) else type(value))


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else as_json(value)
