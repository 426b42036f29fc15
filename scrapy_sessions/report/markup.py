"""HTML and SVG out of small functions: what isn't markup already is escaped, wherever it stands."""

from __future__ import annotations

import html
from collections.abc import Iterable

__all__ = ["Child", "Html", "details", "hint", "join", "note", "printable", "tag"]

_VOID = frozenset({"br", "input", "link", "meta"})
_SHAPES = frozenset({"circle", "line", "path", "rect"})  # SVG's, which may close themselves


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Child = str | None | Iterable[str | None]


def printable(text: str) -> str:
    """Return *text* with a sign in place of each character that is not to be seen.

    Such characters may turn the direction of what follows, and a lone surrogate can't be written to a file. The command
    line has its own, which writes them out: who reads there may have to type them; here they would only make it longer.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


def tag(name: str, *children: Child, **attributes: str | float | bool | None) -> Html:
    """Return the element *name*. ``class_="a"`` is ``class="a"``, ``data_v=1`` is ``data-v="1"``; what is ``None`` or
    False is left out.

    >>> tag("p", "1 < 2", title='"')
    '<p title="&quot;">1 &lt; 2</p>'
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        parts.append(f" {key.rstrip('_').replace('_', '-')}")
        if value is not True:
            parts.append(f'="{_text(value) if isinstance(value, str) else f"{value:.10g}"}"')
    content = join(*children)
    if name in _VOID:
        return Html("".join((*parts, ">")))
    if name in _SHAPES and not content:
        return Html("".join((*parts, "/>")))
    return Html("".join((*parts, ">", content, f"</{name}>")))


def join(*children: Child) -> Html:
    """Return *children* one after the other."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, str):
            parts.append(_text(child))
        else:
            parts.extend(_text(each) for each in child if each is not None)
    return Html("".join(parts))


def hint(words: str) -> Html:
    """Small print below a chart or table."""
    return tag("p", words, class_="hint")


def note(words: str) -> Html:
    """What stands in place of a chart."""
    return tag("p", words, class_="note")


def details(summary: str, content: Html) -> Html:
    """*content* that opens at a click on *summary*."""
    return tag("details", tag("summary", summary), tag("div", content, class_="scroll", tabindex=0))


def _text(text: str) -> str:
    return text if isinstance(text, Html) else html.escape(printable(text))
