"""The colours of the page can be told apart and read, in light and in dark (WCAG 2.2, level AA)."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

STYLE = files("scrapy_sessions.report").joinpath("style.css").read_text(encoding="utf-8")
BLOCKS = re.findall(r"color-scheme: (\w+);([^}]*)}", STYLE)


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("scheme", "block"), BLOCKS, ids=["light", "dark", "dark by the button"])
def test_contrast(scheme: str, block: str) -> None:
    """Text has a contrast of 4.5 to what it stands on, the parts of charts have one of 3."""
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    for text in ("text", "muted", "link"):
        for ground in ("page", "card", "hover"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for text in ("c2", "c3", "c5"):  # the words of a session's state
        assert contrast(colours[text], colours["card"]) >= 4.5, text
    for part in ("c0", "c2", "c3", "c4", "c5", "removed", "pages", "login", "focus"):
        assert contrast(colours[part], colours["card"]) >= 3, part


def test_both_ways_to_dark_are_the_same() -> None:
    """The page is as dark by its button as by the reader's system."""
    assert [scheme for scheme, _ in BLOCKS] == ["light", "dark", "dark"]
    assert BLOCKS[1][1].split() == BLOCKS[2][1].split()


def test_every_colour_is_declared() -> None:
    """No rule asks for a colour that isn't there, and none is declared in vain."""
    declared = set(re.findall(r"--([\w-]+): #", STYLE))
    assert declared == set(re.findall(r"var\(--([\w-]+)\)", STYLE))
