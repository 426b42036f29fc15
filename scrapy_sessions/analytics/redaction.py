"""What analytics, logs and reports may show of a URL or a text."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

__all__ = ["safe_url", "tidy", "without_secrets"]

# A quote ends only what it has opened: it may stand in a URL, in the value of a query too.
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{0,30}://"  # bounded: a long word is not gone through from each of its letters
URL = re.compile(rf"(?<='){_SCHEME}[^\s<>']+|(?<=\"){_SCHEME}[^\s<>\"]+|{_SCHEME}[^\s<>]+")
# What has no origin: a path, or the part of one that begins with a parameter or a query that has a value.
_RELATIVE = re.compile(r"(?:(?<![^\s(\[,=:'\"])/|;[^\s/?#;=]+=|\?[^\s?=]*=)[^\s<>]*")
_ADDRESS = re.compile(f"{URL.pattern}|{_RELATIVE.pattern}")
_PARAMETERS = re.compile(r";[^/]*")  # ";jsessionid=..." in a path
_LONGEST = 300  # characters of a detail


def tidy(detail: str) -> str:
    """Return *detail* fit to be kept: short, and :func:`without_secrets`."""
    text = without_secrets(detail)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def without_secrets(text: str, *, names: bool = True) -> str:
    """Return *text* with every URL and relative URL in it as :func:`safe_url` has it.

    A relative one begins with a slash, or is told by a parameter or query with a value: ``cart;id=1``, ``cart?id=1``.
    """
    return _ADDRESS.sub(lambda found: safe_url(found[0], names=names), text)


def safe_url(url: str, *, names: bool = True) -> str:
    """Return *url*, relative ones too, without user, password, path parameters, values of the query and fragment.

    :param names: whether the names in the query stay: some sites have secrets there

    >>> safe_url("https://bob:pw@shop.example/cart;jsessionid=1?token=2#3")
    'https://shop.example/cart?token=…'
    >>> safe_url("/cart?token=2", names=False)
    '/cart?…'
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "(a URL that can't be read)"
    origin = f"{parts.scheme}://" if parts.scheme else ""
    if host:
        origin = f"{origin or '//'}{f'[{host}]' if ':' in host else host}{'' if port is None else f':{port}'}"
    elif parts.netloc or (parts.scheme and "://" not in url):
        return f"{parts.scheme}:…"  # what comes then may be anything: data:, mailto:
    kept = [pair.partition("=")[0] for pair in parts.query.split("&") if "=" in pair] if names else []
    query = "?" + "&".join(f"{name}=…" for name in kept) if kept else "?…" if parts.query else ""
    return f"{origin}{_PARAMETERS.sub('', parts.path)}{query}"
