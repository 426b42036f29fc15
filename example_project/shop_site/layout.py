"""The shop's HTML: a frame, a table, a form. Every value is escaped here, at the last moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from shop_site.goods import TEXTS
from shop_site.visits import Visit

__all__ = ["definitions", "form", "frame", "link", "paragraph", "table"]

STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 0 auto; padding: 1rem; color: #223 }
header { display: flex; flex-wrap: wrap; gap: 1rem; border-bottom: 2px solid #357; padding-bottom: .5rem }
header strong { flex: 1 } a { color: #357 } h1 { font-weight: 400 }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .3rem .6rem }
tr:nth-child(even) td { background: #eef3f8 } dt { font-weight: 600 } label { display: block; margin: .6rem 0 }
button { background: #357; color: #fff; border: 0; border-radius: .2rem; padding: .4rem 1rem }
.error { color: #a22 }
"""


def frame(title: str, content: str, visit: Visit, language: str) -> str:
    """A whole page, with the navigation as *visit* has it."""
    texts = TEXTS[language]
    links = [
        link("/catalogue", texts["catalogue"]),
        link("/basket", f"{texts['basket']} ({visit.basket.total()})"),
        link("/account", texts["account"]) if visit.user else link("/login", texts["log_in"]),
    ]
    if visit.user:
        links.append(link("/logout", texts["log_out"]))
    return (
        f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width">\n<style>{STYLE}</style>\n</head>\n<body>\n'
        f'<header><strong><a href="/">{escape(texts["shop"])}</a></strong> {" ".join(links)}</header>\n'
        f"<main>\n<h1>{escape(title)}</h1>\n{content}\n</main>\n</body>\n</html>\n"
    )


def link(url: str, text: str, **attributes: str) -> str:
    extra = "".join(f' {name.rstrip("_")}="{escape(value)}"' for name, value in attributes.items())
    return f'<a href="{escape(url)}"{extra}>{escape(text)}</a>'


def paragraph(text: str, css_class: str = "") -> str:
    return f'<p class="{css_class}">{escape(text)}</p>' if css_class else f"<p>{escape(text)}</p>"


def table(css_id: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of *rows*, whose first cells are HTML already and whose others are text."""
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "\n".join(
        f"<tr><td>{first}</td>{''.join(f'<td>{escape(cell)}</td>' for cell in rest)}</tr>" for first, *rest in rows
    )
    return f'<table id="{css_id}">\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>'


def definitions(css_id: str, entries: Iterable[tuple[str, str, str]]) -> str:
    """A list of (CSS class, label, value)."""
    lines = "\n".join(
        f'<dt>{escape(label)}</dt><dd class="{name}">{escape(value)}</dd>' for name, label, value in entries
    )
    return f'<dl id="{css_id}">\n{lines}\n</dl>'


def form(css_id: str, action: str, visit: Visit, fields: str, button: str) -> str:
    """A form that is posted with the token of *visit*, without which the shop takes none."""
    return (
        f'<form id="{css_id}" method="post" action="{escape(action)}">\n'
        f'<input type="hidden" name="csrf" value="{escape(visit.csrf)}">\n{fields}\n'
        f"<button>{escape(button)}</button>\n</form>"
    )
