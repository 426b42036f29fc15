"""The HTML report: the sessions of a store in one file.

.. code-block:: python

    page = await build(store, since=time.time() - 7 * 86400)
    Path("report.html").write_text(page, encoding="utf-8")
"""

from __future__ import annotations

from pathlib import Path

from scrapy_sessions.report.gather import gather
from scrapy_sessions.report.page import GENERATOR, render, templates
from scrapy_sessions.storage.base import SessionStore

__all__ = ["build", "gather", "is_report", "render", "templates"]

_HEAD = 1000  # bytes, which contain the generator


async def build(
    store: SessionStore,
    *,
    namespace: str | None = None,
    pool: str | None = None,
    since: float | None = None,
    now: float | None = None,
) -> str:
    """Return the page about the sessions of *store*, which must be open. The store is not changed.

    :param namespace: ``None``: all
    :param pool: only sessions of this pool
    :param since: only sessions active since then (UNIX seconds)
    :param now: the time of the report, by default the present (UNIX seconds)

    Raises :exc:`~scrapy_sessions.exceptions.StoreError`, and
    :exc:`~scrapy_sessions.exceptions.SessionConfigurationError` if jinja2 is not installed.
    """
    return render(await gather(store, namespace=namespace, pool=pool, since=since, now=now))


def is_report(path: Path) -> bool:
    """Return whether the file *path* is such a page, which a new one may replace. Raises :exc:`OSError`."""
    with path.open("rb") as file:
        return f'content="{GENERATOR}"'.encode() in file.read(_HEAD)
