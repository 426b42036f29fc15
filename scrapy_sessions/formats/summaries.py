"""Session summaries, written by Scrapy's feed exporters: csv, jsonlines, xml, json, and those of the project."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import IO

from scrapy.exporters import BaseItemExporter
from scrapy.settings import BaseSettings
from scrapy.utils.misc import load_object

from scrapy_sessions.exceptions import FormatError
from scrapy_sessions.models import SessionInfo

_FIELDS = [name for name in SessionInfo.__annotations__ if name != "storage"]


def exporter_for(settings: BaseSettings, name: str | None, file_name: str) -> Callable[..., BaseItemExporter]:
    """Return the class of ``FEED_EXPORTERS`` for the format *name*, or for the suffix of *file_name*.

    Raises :exc:`~scrapy_sessions.exceptions.FormatError`, which lists the available formats.
    """
    known = {word: path for word, path in settings.getwithbase("FEED_EXPORTERS").items() if path is not None}
    word = name or PurePath(file_name).suffix.removeprefix(".") or "csv"
    if word not in known:
        raise FormatError(f"the format {word!r:.40}", f"summaries come as {', '.join(sorted(known))}")
    exporter: Callable[..., BaseItemExporter] = load_object(known[word])
    return exporter


def write_summaries(
    exporter: Callable[..., BaseItemExporter], settings: BaseSettings, infos: Iterable[SessionInfo], file: IO[bytes]
) -> None:
    """Write the summaries of *infos* to *file*, with the encoding and indent of the project's feeds."""
    indent = settings["FEED_EXPORT_INDENT"]
    writer = exporter(
        file,
        fields_to_export=_FIELDS,
        encoding=settings["FEED_EXPORT_ENCODING"],
        indent=None if indent is None else int(indent),
    )
    writer.start_exporting()
    for info in infos:
        writer.export_item({name: value for name, value in info.items() if name in _FIELDS})
    writer.finish_exporting()
