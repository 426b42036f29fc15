"""Write sessions in our own JSON, which contains all of a session, or in a format
of other tools. What a format can't contain is listed on standard error. The
files are readable by you only (mode 0600), because they contain logins; a
summary contains no secret.

A format of other tools contains one session: several sessions get a file each,
in the folder that --output names. If there is no session to write, or one of
them can't be written in the format, no file is changed.

  scrapy sessions export alice -o alice.json
  scrapy sessions export alice --format netscape -o cookies.txt
  scrapy sessions export alice --for wget -o cookies.txt
  scrapy sessions export --all --format storage-state -o states/
  scrapy sessions export alice --format header --url https://shop.example/
  scrapy sessions export --summary -o sessions.csv
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

from scrapy_sessions.atomic_file import atomic_write
from scrapy_sessions.commands.support.context import STANDARD, CommandError, Context
from scrapy_sessions.commands.support.text import count
from scrapy_sessions.cookies.parse import encode
from scrapy_sessions.exceptions import CorruptRecord, FormatError
from scrapy_sessions.formats.records import piece, whole
from scrapy_sessions.formats.registry import FORMATS, TOOLS, left_out, write
from scrapy_sessions.models import PersistentSession, SessionInfo
from scrapy_sessions.storage.base import Key
from scrapy_sessions.storage.codec import decode

HELP = "write sessions to files: our JSON, cookies.txt, storage_state, … or a summary"
READS_ONLY = True

WRITTEN = tuple(name for name, each in FORMATS.items() if each.write)
"""The formats that sessions can be written in."""

_READ = 200  # records read at once: each is some kB
_MAX_NAME = 200  # bytes of a file's name, without its suffix: file systems allow 255


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", metavar="ID", nargs="*", help="the sessions")
    parser.add_argument("--all", action="store_true", help="all sessions, or those of --namespace")
    parser.add_argument(
        "--format",
        metavar="NAME",
        help=f"one of {', '.join(WRITTEN)} (default: json); with --summary: csv, jsonlines, xml, json or another name "
        "in FEED_EXPORTERS (default: by the suffix of the file, else csv)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        default=STANDARD,
        help="the file; or DIR/, a folder for one file per session; or -, standard output (default: -)",
    )
    parser.add_argument("--url", metavar="URL", help="with --format header: the URL that the header is for")
    parser.add_argument(
        "--for",
        dest="tool",
        metavar="TOOL",
        choices=TOOLS,
        help=f"for {' or '.join(TOOLS)}: cookies.txt with HttpOnly cookies as plain ones, since the tool skips others",
    )
    parser.add_argument("--summary", action="store_true", help="only id, pool, status, times and counts: no secrets")


async def run(context: Context) -> int:
    options = context.options
    if options.all and options.ids:
        raise CommandError("Give either ids or --all, not both")
    if not (options.all or options.ids or options.summary):
        raise CommandError("Which sessions? Give their ids, or --all")
    if options.summary:
        return await _summaries(context)
    name = options.format or ("netscape" if options.tool else "json")
    if name not in WRITTEN:
        fault = f"The format {name} is for import only" if name in FORMATS else f"There is no format {name!r:.40}"
        raise CommandError(f"{fault}: use one of {', '.join(WRITTEN)}")
    if options.tool and name != "netscape":
        raise CommandError(f"{options.tool} reads cookies.txt: leave out --format {name}")
    if (name == "header") != (options.url is not None):
        raise CommandError("--format header and --url require each other: a header is for one URL")
    infos = await _selected(context)
    texts: dict[Key, str] = {}
    async for record in _records(context, infos):
        key = Key(record.namespace, record.session_id)
        texts[key] = piece(record) if FORMATS[name].whole else _text(context, name, record)
        lost = left_out(name, record, tool=options.tool)
        if lost:
            context.note(f"{key.session_id}: {name} can't contain all of it. Left out: {', '.join(lost)}")
    if not texts:
        raise CommandError("None of the sessions can be read: nothing is written", 1)
    _deliver(context, name, texts)
    return 0 if len(texts) == len(infos) else 1


def _text(context: Context, name: str, record: PersistentSession) -> str:
    options = context.options
    try:
        return write(name, record, url=options.url, tool=options.tool)
    except FormatError as e:
        if options.url is not None:  # a header: the fault is in its URL
            raise
        raise CommandError(f"Nothing is written: session {record.session_id!r} of {record.namespace!r}: {e}", 1) from e


async def _selected(context: Context) -> list[SessionInfo]:
    if context.options.ids:
        return [await context.info(session_id) for session_id in dict.fromkeys(context.options.ids)]
    # In one query: in pages, a session that a crawl uses meanwhile could be missing.
    infos = await context.manager.list_sessions()
    if not infos:  # an empty file would replace the last backup
        raise CommandError(f"There is no session{context.where()}: nothing is written{await context.nearest()}", 1)
    return infos


async def _records(context: Context, infos: list[SessionInfo]) -> AsyncIterator[PersistentSession]:
    """Yield the records of *infos*. One that can't be read is reported, skipped, and left as it is in the store."""
    with context.progress("Reading", len(infos)) as advance:
        for start in range(0, len(infos), _READ):
            page = infos[start : start + _READ]
            rows = await context.store.load_many([Key(info["namespace"], info["session_id"]) for info in page])
            for info, row in zip(page, rows, strict=True):
                if row is None:
                    context.note(f"The session {info['session_id']!r} was just deleted")
                    continue
                try:
                    record = decode(row, context.store.cipher)
                except CorruptRecord as e:
                    context.note(str(e))
                else:
                    yield record
            advance(len(page))


def _deliver(context: Context, name: str, texts: dict[Key, str]) -> None:
    output: str = context.options.output
    if _is_folder(output):
        _fill(context, Path(output), name, texts)
        return
    if len(texts) > 1 and not FORMATS[name].whole:
        raise CommandError(
            f"{name} contains one session, and there are {len(texts)}: name a folder for them, as in -o sessions/"
        )
    content = whole(texts.values()) if FORMATS[name].whole else next(iter(texts.values()))
    _write(context, output, encode(content))
    if output != STANDARD:
        _note_written(context, output, len(texts))


def _is_folder(output: str) -> bool:
    return output.endswith(os.sep) or Path(output).is_dir()


def _fill(context: Context, folder: Path, name: str, texts: dict[Key, str]) -> None:
    files: dict[str, Key] = {}
    for key in texts:
        file_name = _file_name(key.session_id)
        if file_name in files:
            raise CommandError(
                f"Several namespaces contain the session {key.session_id!r}, whose files would have the same name: "
                f"give one with --namespace"
            )
        files[file_name] = key
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for done, (file_name, key) in enumerate(files.items()):
        text = whole([texts[key]]) if FORMATS[name].whole else texts[key]
        path = folder / (file_name + FORMATS[name].suffix)
        try:
            with atomic_write(path) as file:
                file.write(encode(text))
        except OSError as e:
            raise CommandError(
                f"{e.strerror or type(e).__name__}: {path}. {done} of {len(files)} sessions were written to {folder}", 1
            ) from e
    _note_written(context, str(folder), len(files))


def _file_name(session_id: str) -> str:
    """Return the name, without suffix, of the file for *session_id*: unique and not too long."""
    name = _quoted(session_id)
    if len(name) <= _MAX_NAME:
        return name
    digest = hashlib.sha256(session_id.encode()).hexdigest()[:16]
    while len(name) + len(digest) >= _MAX_NAME:
        session_id = session_id[:-1]
        name = _quoted(session_id)
    return f"{name}~{digest}"


def _quoted(session_id: str) -> str:
    # An id may contain a slash or a leading dot. The "~" marks names that were shortened.
    name = quote(session_id, safe=" @+=,").replace("~", "%7E")
    return f"%2E{name[1:]}" if name.startswith(".") else name


def _write(context: Context, output: str, content: bytes) -> None:
    if output == STANDARD:
        context.write_bytes(content, "export")
        return
    with atomic_write(Path(output)) as file:
        file.write(content)


def _note_written(context: Context, where: str, sessions: int) -> None:
    verb = "was" if sessions == 1 else "were"
    context.note(f"{count(sessions, 'session')} {verb} written to {where}. Keep it secret: it contains logins")


async def _summaries(context: Context) -> int:
    # Scrapy's exporters load an XML writer and more, which the other formats don't need.
    from scrapy_sessions.formats.summaries import exporter_for, write_summaries  # noqa: PLC0415

    output: str = context.options.output
    if _is_folder(output):
        raise CommandError("A summary is one file: -o names a folder")
    exporter = exporter_for(context.settings, context.options.format, "" if output == STANDARD else output)
    infos = await _selected(context)
    content = io.BytesIO()
    write_summaries(exporter, context.settings, infos, content)
    _write(context, output, content.getvalue())
    return 0
