"""The fields of a cookie as tools write them: domain and scope, expiry, SameSite, partition."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Any

from pydantic import TypeAdapter

from scrapy_sessions.cookies.hosts import canonical_host, is_ip
from scrapy_sessions.cookies.parse import MAX_EXPIRES, SameSite, parse_http_date
from scrapy_sessions.cookies.scope import is_own_partition
from scrapy_sessions.exceptions import FormatError
from scrapy_sessions.formats.contents import Reading
from scrapy_sessions.formats.fields import Fields
from scrapy_sessions.models import Cookie

Partition = tuple["str | None", "bool | None"]
"""A partition key, and whether it has a cross-site ancestor."""

_SAME_SITE: dict[str, SameSite | None] = {
    "strict": "Strict",
    "lax": "Lax",
    "none": "None",
    "no_restriction": "None",
    "no restriction": "None",
    "unspecified": None,
    "unset": None,
    "default": None,
    "": None,
}
_CONTRADICTION = "the leading dot of the domain and the flag for subdomains contradict each other: the flag is used"

SESSION_WORDS = frozenset({"", "session", "0", "-1"})
"""The texts, in lower case, that mean a session cookie."""

# Seconds between 1601, the epoch of Chrome and Windows, and 1970.
_EPOCH_1601 = 11_644_473_600.0
_MOST_MILLISECONDS = MAX_EXPIRES * 1e3
_LEAST_SINCE_1601 = _EPOCH_1601 * 1e6
_MOST_SINCE_1601 = (MAX_EXPIRES + _EPOCH_1601) * 1e6
_ISO = TypeAdapter(datetime)


def make_cookie(
    place: str,
    reading: Reading,
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
    partition: Partition = (None, None),
) -> Cookie:
    """Return the cookie with these fields, which are at *place* in the file. The jar may refuse it later.

    :param domain: with or without a leading dot
    :param host_only: ``None``: True unless the domain has a leading dot
    :param partition: the result of :func:`read_partition`. An unknown cross-site ancestor is derived: the partition of
        another site always has one
    :param expires: in any unit that :func:`to_seconds` recognises

    Raises :exc:`~scrapy_sessions.exceptions.FormatError`, which quotes no field: in shifted columns, the value may be
    in place of the domain.
    """
    if not domain:
        raise FormatError(place, "its domain is missing: every cookie needs one")
    host = canonical_host(domain.removeprefix("."))
    if host is None:
        raise FormatError(place, "its domain is no host name (a port or a scheme is no part of one)")
    if not path.startswith("/"):
        raise FormatError(place, "its path must begin with a /")
    dotted = domain.startswith(".")
    if dotted and host_only:
        reading.remarks.add(_CONTRADICTION, place)
    if expires is not None:
        expires, unit = to_seconds(expires)
        if unit is not None:
            reading.remarks.add(f"the expiry is in {unit}, not in seconds, and was converted", place)
    key, ancestor = partition
    return Cookie.model_construct(
        name=name,
        value=value,
        domain=host,
        # An IP address has no subdomains.
        host_only=(not dotted if host_only is None else host_only) or is_ip(host),
        path=path,
        expires=expires,
        secure=secure,
        http_only=http_only,
        same_site=same_site,
        partition_key=key,
        cross_site_ancestor=key is not None and (not is_own_partition(host, key) if ancestor is None else ancestor),
        created=reading.now,
        updated=reading.now,
    )


def read_expiry(fields: Fields, *names: str) -> float | None:
    """Return the first of the expiries *names* that exists, a number or a date; ``None``: a session cookie.

    -1 is a session cookie in the lists of browser drivers, but a date of 1969 in those of extensions.
    """
    for name in names:
        value = fields.content.get(name)
        if isinstance(value, str):
            if value.strip().lower() in SESSION_WORDS:
                return None
            date = parse_date(value)
            if date is None:
                fields.fail(name, "it must be a number of seconds since 1970, or a date")
            return date
        if value is not None:
            number = fields.number(name)
            return None if number == -1 and name != "expirationDate" else number
    return None


def to_seconds(number: float) -> tuple[float, str | None]:
    """Return *number* as UNIX seconds, at most the end of the year 9999, and its unit if it isn't seconds.

    A number beyond the year 9999 is in another unit: milliseconds, microseconds, or microseconds since 1601. Their
    ranges don't overlap for dates from 1978 to 2339.
    """
    if number <= MAX_EXPIRES:
        return number, None
    if number <= _MOST_MILLISECONDS:
        return number / 1e3, "milliseconds"
    if number < _LEAST_SINCE_1601:
        return number / 1e6, "microseconds"
    if number <= _MOST_SINCE_1601:
        return number / 1e6 - _EPOCH_1601, "microseconds since 1601"
    return MAX_EXPIRES, None


def parse_date(text: str) -> float | None:
    """Return the UNIX seconds of a date, or of a number in any unit; ``None`` if it can't be read."""
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        return _iso(text) if text[:4].isdigit() else parse_http_date(text)
    return to_seconds(number)[0] if math.isfinite(number) else None


def _iso(text: str) -> float | None:
    try:
        date = _ISO.validate_python(text)  # datetime.fromisoformat() of Python 3.10 reads no Z
        return (date if date.tzinfo is not None else date.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return None


def read_same_site(fields: Fields, name: str) -> SameSite | None:
    """Return SameSite from any spelling, ``None`` if it is missing or unspecified."""
    value = fields.content.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or value.lower() not in _SAME_SITE:
        fields.fail(name, "it must be Strict, Lax, None, no_restriction or unspecified")
    return _SAME_SITE[value.lower()]


def read_partition(fields: Fields) -> Partition:
    """Return the partition key and its cross-site ancestor, ``None`` for what is missing.

    Tools write the key as a text, as an object of two forms, or as null.
    """
    value: Any = fields.content.get("partitionKey")
    ancestor = "_crHasCrossSiteAncestor"  # Playwright's name, beside the key
    if isinstance(value, dict):
        fields, ancestor = fields.child("partitionKey"), "hasCrossSiteAncestor"
        names = ("topLevelSite", "sourceOrigin")
        value = next((fields.text(each) for each in names if fields.content.get(each) is not None), None)
    if value is not None and not isinstance(value, str):
        fields.fail("partitionKey", "it must be a string, or an object with topLevelSite or sourceOrigin")
    if not value:
        return None, None
    return value, fields.flag(ancestor) if fields.content.get(ancestor) is not None else None
