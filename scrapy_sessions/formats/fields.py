"""What the exchange formats have in common: reading a JSON document field by field, and making a cookie of fields.

Every fault names its place, the line or the JSON path, and never quotes a value: it may be a password.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

from scrapy_sessions.cookies.hosts import canonical_host, is_ip, site_of
from scrapy_sessions.cookies.parse import MAX_EXPIRES, SameSite
from scrapy_sessions.exceptions import FormatError
from scrapy_sessions.models import Cookie

__all__ = ["Fields", "fitting", "is_text", "items", "made", "parse_json"]

_KINDS = {dict: "an object", list: "a list", str: "a string", bool: "true or false", float: "a number"}


def parse_json(text: str) -> Any:
    """Return the content of the JSON document *text*. Raises :exc:`~scrapy_sessions.exceptions.FormatError`.

    Stricter than :mod:`json`: no infinity and no NaN, which no number of a session can be.
    """
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except json.JSONDecodeError as error:
        fault = FormatError(f"line {error.lineno}, column {error.colno}", f"this is not JSON: {error.msg}")
    except RecursionError:
        fault = FormatError("the document", "it is nested too deeply")
    except ValueError:  # a number of thousands of digits
        fault = FormatError("the document", "it holds a number that is too large")
    raise fault  # here, outside of `except`: json's error keeps the whole text


def _no_number(constant: str) -> NoReturn:
    raise ValueError(constant)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(digits)
    return number


def is_text(value: str) -> bool:
    """Whether *value* can be stored: JSON may hold half a character (a lone surrogate), a record can't."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def items(value: Any, path: str) -> Iterator[Fields]:
    """Yield the objects of the list *value*, which stands at *path*."""
    if not isinstance(value, list):
        raise FormatError(path, "it must be a list")
    return (Fields(each, f"{path}[{index}]") for index, each in enumerate(value))


class Fields:
    """An object of a JSON document, and where it stands."""

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
        value: str = self._get(name, str, default)
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        value: bool = self._get(name, bool, default)
        return value

    def number(self, name: str) -> float | None:
        """Return the number *name* as a float; ``None``: it isn't there, or null."""
        value = self.content.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail(name, "it must be a number")
        try:
            return float(value)
        except OverflowError:
            self.fail(name, "the number is too large")

    def child(self, name: str) -> Fields:
        if name not in self.content:
            self.fail(name, "it is missing")
        return Fields(self.content[name], self.place(name))

    def items(self, name: str, *, needed: bool = False) -> Iterator[Fields]:
        """Yield the objects of the list *name*; one that isn't there is empty, unless it is *needed*."""
        if needed and name not in self.content:
            self.fail(name, "it is missing")
        return items(self.content.get(name, []), self.place(name))

    def _get(self, name: str, kind: type, default: Any) -> Any:
        value = self.content.get(name, default)
        if value is None and default is None and name not in self.content:
            self.fail(name, "it is missing")
        if not isinstance(value, kind):
            self.fail(name, f"it must be {_KINDS[kind]}")
        return value


def made(
    place: str,
    *,
    name: str,
    value: str,
    domain: str,
    host_only: bool | None = None,
    path: str = "/",
    expires: float | None = None,
    secure: bool = False,
    http_only: bool = False,
    same_site: SameSite | None = None,
    partition_key: str | None = None,
    now: float = 0.0,
) -> Cookie:
    """Return the cookie of these fields, which stand at *place*. Whether a jar takes it is another question.

    :param domain: with or without a leading dot
    :param host_only: ``None``: as the leading dot says
    :param expires: UNIX seconds; later than the year 9999 counts as its last second
    """
    if not domain:
        raise FormatError(place, "its domain is missing: every cookie needs one")
    host = canonical_host(domain.removeprefix("."))
    if host is None:
        raise FormatError(place, f"its domain {domain!r:.80} is no host name (a port or a scheme is no part of one)")
    if not path.startswith("/"):
        raise FormatError(place, "its path must begin with a /")
    return Cookie.model_construct(
        name=name,
        value=value,
        domain=host,
        # No other host lies below an IP address: what is shared by all below it is for it alone.
        host_only=(not domain.startswith(".") if host_only is None else host_only) or is_ip(host),
        path=path,
        expires=None if expires is None else min(expires, MAX_EXPIRES),
        secure=secure,
        http_only=http_only,
        same_site=same_site,
        partition_key=partition_key,
        created=now,
        updated=now,
    )


def fitting(cookie: Cookie) -> bool:
    """Whether a format without partitions can hold *cookie*: it has none, or that of its own site."""
    return cookie.partition_key in {None, f"https://{site_of(cookie.domain)}"}
