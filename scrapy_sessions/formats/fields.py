"""Reads a JSON document field by field. An error contains the JSON path, but no value, which may be a password."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from scrapy_sessions.exceptions import FormatError


def parse_json(text: str) -> Any:
    """Return the content of the JSON document *text*. Raises :exc:`~scrapy_sessions.exceptions.FormatError`.

    Stricter than :mod:`json`: infinity and NaN are refused, because no number of a session can be one.
    """
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except json.JSONDecodeError as error:
        fault = FormatError(f"line {error.lineno}, column {error.colno}", f"this is not JSON: {error.msg}")
    except RecursionError:
        fault = FormatError("the document", "it is nested too deeply")
    except ValueError:  # a number of thousands of digits
        fault = FormatError("the document", "it contains a number that is too large")
    raise fault  # here, outside of `except`: json's error contains the whole text


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(digits)
    return number


def is_text(value: str) -> bool:
    """Whether *value* can be stored: JSON allows half a character (a lone surrogate), a record doesn't."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def names(text: str) -> frozenset[str]:
    """Return the words of *text* as a set."""
    return frozenset(text.split())


class Fields:
    """An object of a JSON document and its path."""

    __slots__ = ("content", "path")

    def __init__(self, content: Any, path: str) -> None:
        if not isinstance(content, dict):
            raise FormatError(path or "the document", "it must be an object")
        self.content: dict[str, Any] = content
        self.path = path

    def __contains__(self, name: str) -> bool:
        return name in self.content

    def place(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def fail(self, name: str, message: str) -> NoReturn:
        raise FormatError(self.place(name), message)

    def text(self, name: str, default: str | None = None) -> str:
        """Return the text *name*, or *default* if it is missing; without a default, a missing text is an error."""
        value = self.content.get(name, default)
        if value is None and name not in self.content:
            self.fail(name, "it is missing")
        if not isinstance(value, str):
            self.fail(name, "it must be a string")
        return value

    def flag(self, name: str) -> bool:
        """Return the truth value *name*, False if it is missing or null."""
        value = self.content.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            self.fail(name, "it must be true or false")
        return value

    def number(self, name: str) -> float | None:
        """Return the number *name* as a float, ``None`` if it is missing or null."""
        value = self.content.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail(name, "it must be a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            self.fail(name, "the number is too large")
        return number

    def items(self, name: str) -> list[Any]:
        """Return the list *name*, empty if it is missing or null."""
        value = self.content.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self.fail(name, "it must be a list")
        return value

    def child(self, name: str) -> Fields:
        if name not in self.content:
            self.fail(name, "it is missing")
        return Fields(self.content[name], self.place(name))
