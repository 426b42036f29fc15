"""The HTML report: what a store tells of its sessions, as one file to look at and to pass on.

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

_HEAD = 1000  # bytes: the page names its maker in its first lines


async def build(
    store: SessionStore,
    *,
    namespace: str | None = None,
    pool: str | None = None,
    since: float | None = None,
    now: float | None = None,
) -> str:
    """Return the page on the sessions of *store*, which must be open. Nothing in the store changes.

    :param namespace: ``None``: all
    :param pool: only sessions of this pool
    :param since: only sessions active since then (UNIX seconds)
    :param now: the time it is made at, by default the present (UNIX seconds)

    Raises :exc:`~scrapy_sessions.exceptions.StoreError`, and
    :exc:`~scrapy_sessions.exceptions.SessionConfigurationError` if jinja2 is not installed.
    """
    return render(await gather(store, namespace=namespace, pool=pool, since=since, now=now))


def is_report(path: Path) -> bool:
    """Whether the file *path* is a page of ours, which a new one may take the place of. Raises :exc:`OSError`."""
    with path.open("rb") as file:
        return f'content="{GENERATOR}"'.encode() in file.read(_HEAD)
