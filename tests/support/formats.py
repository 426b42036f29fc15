"""Reading a text in one of the formats, as an import does."""

from __future__ import annotations

import json
from typing import Any

from scrapy_sessions import Cookie
from scrapy_sessions.formats.contents import Contents, Reading, Source
from scrapy_sessions.formats.registry import read

__all__ = ["load", "read_json", "read_text"]


def read_text(name: str, text: str | bytes, **reading: Any) -> Contents:
    """What *text*, in the format *name*, contains; *reading* are the fields of :class:`Reading`."""
    return read(name, Source(text), Reading(**reading))


def read_json(name: str, document: Any, **reading: Any) -> Contents:
    """The same, of the JSON of *document*."""
    return read_text(name, json.dumps(document), **reading)


def load(name: str, text: str | bytes, **reading: Any) -> list[Cookie]:
    """The cookies of *text*."""
    return read_text(name, text, **reading).cookies
