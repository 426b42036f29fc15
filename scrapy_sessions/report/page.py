"""Renders a report with the templates in ``templates/``."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from scrapy_sessions.exceptions import SessionConfigurationError
from scrapy_sessions.report import format as formats
from scrapy_sessions.report.charts import Chart
from scrapy_sessions.report.data import Report
from scrapy_sessions.report.parts import Part
from scrapy_sessions.report.redact import printable
from scrapy_sessions.report.sections import sections

if TYPE_CHECKING:
    from jinja2 import Environment

GENERATOR = "scrapy_sessions report"
"""The generator in the first lines of the page."""

_NEWLINES = re.compile(r"(?<=[>}])\s*\n\s*|\s*\n\s*(?=[<{])|(\s*\n)\s*")


def render(report: Report) -> str:
    """Return the page of *report*: one HTML document that loads nothing from the network.

    Raises :exc:`~scrapy_sessions.exceptions.SessionConfigurationError` if jinja2 is not installed.
    """
    page = templates().get_template("page.html")
    text = page.render(
        report=report,
        sections=[] if report.empty else sections(report),
        style=_file("style.css"),
        script=_file("script.js"),
        generator=GENERATOR,
        version=version("scrapy-persistent-sessions"),
    )
    return f"{text}\n"


@cache
def templates() -> Environment:
    """Return the templates, which escape every value that is not markup. Raises as :func:`render` does."""
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined  # noqa: PLC0415  # an extra
    except ImportError:
        raise SessionConfigurationError(
            "A report needs jinja2: pip install 'scrapy-persistent-sessions[report]'"
        ) from None
    environment = Environment(
        autoescape=True, loader=FunctionLoader(_template), undefined=StrictUndefined, finalize=_shown
    )
    environment.filters |= {name: getattr(formats, name) for name in ("count", "duration", "iso", "moment")}
    environment.filters |= {"digest": _digest, "kind": _kind}
    environment.filters["pct"] = lambda value: f"{value:.3f}".rstrip("0").rstrip(".") + "%"
    return environment


def _template(name: str) -> str:
    """Return a template without the line breaks around its tags, which would enlarge the page."""
    return _NEWLINES.sub(lambda found: " " if found[1] else "", _file(f"templates/{name}"))


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _shown(value: Any) -> Any:
    """Return what a template prints for *value*, before it is escaped."""
    if isinstance(value, float):
        return f"{value:.10g}"
    return printable(value) if type(value) is str else value


def _digest(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _kind(part: Part) -> str:
    """Return the name of the macro for *part*."""
    return part.kind if isinstance(part, Chart) else type(part).__name__.lower()
