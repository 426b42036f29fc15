"""Removes what may be secret from URLs and texts for analytics, logs and reports."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from scrapy import Request

logger = logging.getLogger(__name__)

_OWN = str(Path(__file__).parents[1])  # the folder of this package
# A quotation mark ends a URL only if another one is before it: a URL may contain one.
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{0,30}://"  # bounded, so that a long word is not scanned from each of its letters
# Compiled by `re` at first use: not at the start of each crawl.
URL = rf"(?<='){_SCHEME}[^\s<>']+|(?<=\"){_SCHEME}[^\s<>\"]+|{_SCHEME}[^\s<>]+"
# A relative URL: a path, or the part of one that begins with a parameter or a query with a value.
_RELATIVE = r"(?:(?<![^\s(\[,=:'\"])/|;[^\s/?#;=]+=|\?[^\s?=]*=)[^\s<>]*"
_ADDRESS = f"{URL}|{_RELATIVE}"
_PARAMETERS = re.compile(r";[^/]*")  # ";jsessionid=..." in a path
# A URL that has a query at most. It is not the form of one with a password, a parameter in its path or a fragment.
_USUAL = re.compile(r"(https?://[a-z0-9.-]+(?::[1-5]?[0-9]{1,4})?(?:/[^?;#@\s\\]*)?)(?:\?([^;#@\s]*))?")
_LONGEST = 300  # characters of a detail


def tidy(detail: str) -> str:
    """Return *detail* shortened, and :func:`without_secrets`."""
    text = without_secrets(detail)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def without_secrets(text: str, *, names: bool = True) -> str:
    """Return *text* with :func:`safe_url` applied to every absolute and relative URL in it.

    A relative URL begins with a slash, or has a parameter or query with a value: ``cart;id=1``, ``cart?id=1``.
    """
    return re.sub(_ADDRESS, lambda found: safe_url(found[0], names=names), text)


def describe_fault(error: BaseException) -> str:
    """Return the type of *error*, which other code than ours raised, and where. Log its frames at level DEBUG.

    Its message isn't part of it: it may contain passwords, tokens and pages.
    """
    kind = type(error).__name__
    frames = [(frame.filename, frame.lineno) for frame in extract_tb(error.__traceback__)]
    if not frames:
        return kind
    logger.debug("%s was raised by way of %s", kind, "; ".join(f"{name}:{line}" for name, line in frames))
    own = next((frame for frame in frames if not frame[0].startswith(_OWN)), frames[-1])
    where = "{}:{}".format(*own)
    return f"{kind} at {where}" if own == frames[-1] else "{} at {}, from {}:{}".format(kind, where, *frames[-1])


def safe_request(request: Request) -> str:
    """Return the text of *request* for the log, with :func:`safe_url`."""
    return f"<{request.method} {safe_url(request.url)}>"


def safe_url(url: str, *, names: bool = True) -> str:
    """Return *url*, which may be relative, without user, password, path parameters, query values and fragment.

    :param names: whether the names in the query are kept: some sites put secrets there

    >>> safe_url("https://bob:pw@shop.example/cart;jsessionid=1?token=2#3")
    'https://shop.example/cart?token=…'
    >>> safe_url("/cart?token=2", names=False)
    '/cart?…'
    """
    usual = _USUAL.fullmatch(url)  # the URL of a page: this runs at each response
    if usual is not None:
        place, query = usual.groups(default="")
        name, has_value, _ = query.partition("=")
        if names and has_value and "&" not in query:  # a single parameter, as usual
            return f"{place}?{name}=…"
        return f"{place}{_safe_query(query, names)}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "(a URL that can't be read)"
    origin = f"{parts.scheme}://" if parts.scheme else ""
    if host:
        origin = f"{origin or '//'}{f'[{host}]' if ':' in host else host}{'' if port is None else f':{port}'}"
    elif parts.netloc or (parts.scheme and "://" not in url):
        return f"{parts.scheme}:…"  # the rest may be anything: data:, mailto:
    return f"{origin}{_PARAMETERS.sub('', parts.path)}{_safe_query(parts.query, names)}"


def _safe_query(query: str, names: bool) -> str:
    kept = [pair.partition("=")[0] for pair in query.split("&") if "=" in pair] if names else []
    return "?" + "&".join([f"{name}=…" for name in kept]) if kept else "?…" if query else ""
