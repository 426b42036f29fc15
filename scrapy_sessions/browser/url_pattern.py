"""URL patterns of a command line, in Playwright's notation, which a query or fragment can't meet by accident."""

from __future__ import annotations

import re

from scrapy_sessions.exceptions import SessionConfigurationError

_TOKENS = re.compile(
    r"\\(?P<literal>.)|(?P<folders>(?<=/)\*\*/)|(?P<any>\*\*+)|(?P<part>\*)|(?P<mark>[{},])", re.DOTALL
)

_ORIGIN = re.compile(r"[\w*]+://[^/?#]+")


class URLPattern:
    """A pattern for a URL: ``*`` is any text without a slash, ``**`` any text, ``{a,b}`` one of the texts.

    The login page is often called with the page that was wanted: ``/login?next=/account``. So the query of a URL is
    looked at only if the pattern has a ``?``, the fragment only if it has a ``#``, each by the pattern's own part.

    Raises :exc:`~scrapy_sessions.exceptions.SessionConfigurationError` for braces that don't fit.
    """

    def __init__(self, pattern: str) -> None:
        if _ORIGIN.fullmatch(pattern):
            pattern += "/"  # as browsers write it
        self._parts = [None if part is None else _compiled(part, pattern) for part in _split(pattern)]

    def fits(self, url: str) -> bool:
        """Whether *url* has the pattern."""
        pairs = zip(self._parts, _split(url), strict=True)
        return all(part is None or part.fullmatch(text or "") is not None for part, text in pairs)


def _split(url: str) -> tuple[str, str | None, str | None]:
    """Return *url* without query and fragment, its query and its fragment; ``None``: it has none."""
    rest, has_fragment, fragment = url.partition("#")
    page, has_query, query = rest.partition("?")
    return page, query if has_query else None, fragment if has_fragment else None


def _compiled(glob: str, whole: str) -> re.Pattern[str]:
    in_braces = False
    found, end = [], 0
    for token in _TOKENS.finditer(glob):
        found.append(re.escape(glob[end : token.start()]))
        end = token.end()
        kind = token.lastgroup
        if kind == "literal":
            found.append(re.escape(token["literal"]))
        elif kind == "folders":
            found.append("(?:.*/)?")
        elif kind in {"any", "part"}:
            found.append(".*" if kind == "any" else "[^/]*")
        elif token[0] == ",":
            found.append("|" if in_braces else ",")
        else:
            if in_braces is (token[0] == "{"):
                raise _braces(whole)
            in_braces = not in_braces
            found.append("(?:" if in_braces else ")")
    if in_braces:
        raise _braces(whole)
    return re.compile("".join(found) + re.escape(glob[end:]), re.DOTALL)


def _braces(pattern: str) -> SessionConfigurationError:
    return SessionConfigurationError(f"--until-url: {pattern!r} has braces that don't fit: write {{one,two}}")
