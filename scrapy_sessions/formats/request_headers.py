"""The headers of a copied request: the identity of a browser, a login, or neither."""

from __future__ import annotations

import re
from collections.abc import Iterable

from scrapy_sessions.exceptions import FormatError
from scrapy_sessions.formats.contents import Contents
from scrapy_sessions.models import EVERYWHERE, check_header
from scrapy_sessions.sessions.headers import origin_of

# Headers that a browser sends to every site.
_IDENTITY = re.compile(r"sec-ch-.*|dnt|sec-gpc", re.IGNORECASE)
# Headers that depend on the single request, or that its sender generates.
_OF_A_REQUEST = re.compile(
    r"accept|accept-(?:charset|encoding)|cache-control|connection|content-.*|cookie2?|expect|host|if-.*|keep-alive|origin|"
    r"pragma|priority|purpose|range|referer|sec-(?!ch-|gpc).*|te|trailer|transfer-encoding|upgrade.*|via|"
    r"x-requested-with|.*[cx]srf.*|:.*",
    re.IGNORECASE,
)


def take_headers(contents: Contents, headers: Iterable[tuple[str, str]], url: str) -> None:
    """Add the *headers* of a request to *url* to *contents*.

    User agent, language and other headers that a browser sends to every site become the identity of a new session. A
    header that isn't a browser's, such as ``Authorization``, is a login, and bound to the origin of *url*. Others are
    left out. Raises :exc:`~scrapy_sessions.exceptions.FormatError`.
    """
    bound = []
    for name, value in headers:
        try:
            check_header(name, value)
        except ValueError:
            raise FormatError(
                "a header of the command", "its name or value has characters that can't be sent"
            ) from None
        lower = name.lower()
        if lower == "user-agent":
            contents.user_agent = value
        elif lower == "accept-language":
            contents.language = value
        elif _IDENTITY.fullmatch(name):
            contents.headers.setdefault(EVERYWHERE, {})[name] = value
        elif not _OF_A_REQUEST.fullmatch(name):
            contents.headers.setdefault(origin_of(url), {})[name] = value
            bound.append(name)
    if bound:
        names = ", ".join(f"{name:.40}" for name in dict.fromkeys(bound))
        contents.notes.append(f"its headers are imported for its site only: {names}")
