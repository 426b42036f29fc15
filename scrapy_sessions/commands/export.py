"""``scrapy sessions export``: sessions as files for other tools, or to be imported elsewhere."""

from __future__ import annotations

import argparse
import hashlib
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

from scrapy_sessions.atomic_file import atomic_write
from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.commands.support.stdio import STANDARD, to_stdout
from scrapy_sessions.exceptions import CorruptRecord, FormatError
from scrapy_sessions.formats.records import piece, whole
from scrapy_sessions.formats.registry import FORMATS, TOOLS, left_out, to_bytes, write
from scrapy_sessions.models import PersistentSession, SessionInfo
from scrapy_sessions.storage.base import Key, Row
from scrapy_sessions.storage.codec import decode

__all__ = ["DESCRIPTION", "HELP", "ONLY_LOOKS", "add_arguments", "run"]

HELP = "write sessions to files: our JSON, cookies.txt, storage_state, … or a summary"
DESCRIPTION = """
Write sessions in our own JSON, which contains all of a session, or in a format of other tools. What a format can't
contain is listed on standard error. Files are readable by you only (mode 0600), as whoever has them is logged in; a
summary contains no secret.

A format of other tools contains one session: of several, each gets a file in the folder that --output names. If there
is no session to write, or one of them can't be written in the format, no file is changed.

  scrapy sessions export alice -o alice.json
  scrapy sessions export alice --format netscape -o cookies.txt
  scrapy sessions export alice --for wget -o cookies.txt
  scrapy sessions export --all --format storage-state -o states/
  scrapy sessions export alice --format header --url https://shop.example/
  scrapy sessions export --summary -o sessions.csv
"""

ONLY_LOOKS = True

_PAGE = 1000  # sessions listed at once
_READ = 200  # records read at once: each is some kB
_LONGEST = 200  # bytes of a file's name, without its suffix: a file system takes 255
_LAYOUT = str.maketrans("", "", "\t\r\n")  # what is in every file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", metavar="ID", nargs="*", help="the sessions")
    parser.add_argument("--all", action="store_true", help="all sessions, of --namespace if given")
    parser.add_argument(
        "--format",
        metavar="NAME",
        help=f"{', '.join(name for name, each in FORMATS.items() if each.write)} (default: json); with --summary csv, "
        "jsonlines, xml, json or another of FEED_EXPORTERS (default: by the suffix of the file, else csv)",
    )
    parser.add_argument(
        *("-o", "--output"),
        metavar="FILE",
        default=STANDARD,
        help="the file, or a folder (DIR/) for one file a session; - is standard output (default: -)",
    )
    parser.add_argument("--url", metavar="URL", help="with --format header: where the header is to be sent")
    parser.add_argument(
        "--for",
        dest="tool",
        metavar="TOOL",
        choices=TOOLS,
        help=f"{' or '.join(TOOLS)}: cookies.txt with HttpOnly cookies as plain ones, as these skip the others",
    )
    parser.add_argument("--summary", action="store_true", help="id, pool, status, times and counts only, no secret")


async def run(context: Context) -> int:
    """Write the sessions asked for."""
    options = context.options
    if options.all and options.ids:
        raise CommandError("Give either ids or --all, not both")
    if not (options.all or options.ids or options.summary):
        raise CommandError("Which sessions? Name their ids, or give --all")
    if options.summary:
        return await _summaries(context)
    name = options.format or ("netscape" if options.tool else "json")
    if name not in FORMATS or FORMATS[name].write is None:
        written = ", ".join(each for each in FORMATS if FORMATS[each].write)
        raise CommandError(
            f"The format {name} can be imported only"
            if name in FORMATS
            else f"There is no format {name!r:.40}: use one of {written}"
        )
    if options.tool and name != "netscape":
        raise CommandError(f"{options.tool} reads cookies.txt: leave out --format {name}")
    if (name == "header") != (options.url is not None):
        raise CommandError("--format header and --url belong together: a header is for one URL")
    infos = await _chosen(context)
    texts: dict[Key, str] = {}
    failed = 0
    async for info, record in _records(context, infos):
        if record is None:
            failed += 1
            continue
        key = Key(info["namespace"], info["session_id"])
        texts[key] = piece(record) if FORMATS[name].whole else _written(context, name, record)
        lost = left_out(name, record, tool=options.tool)
        if lost:
            context.err.print(
                f"{key.session_id}: {name} can't contain all of it. Left out: {', '.join(lost)}", soft_wrap=True
            )
    if not texts:
        raise CommandError("None of the sessions could be read: nothing is written", 1)
    _deliver(context, name, texts)
    return 1 if failed else 0


def _written(context: Context, name: str, record: PersistentSession) -> str:
    options = context.options
    try:
        return write(name, record, url=options.url, tool=options.tool)
    except FormatError as e:
        if options.url is not None:  # a header: the fault is in its URL
            raise
        raise CommandError(f"Nothing is written: session {record.session_id!r} of {record.namespace!r}: {e}", 1) from e


async def _chosen(context: Context) -> list[SessionInfo]:
    if context.options.ids:
        return [await context.info(session_id) for session_id in dict.fromkeys(context.options.ids)]
    infos: list[SessionInfo] = []
    while True:
        page = await context.manager.list_sessions(limit=_PAGE, after=infos[-1] if infos else None)
        infos += page
        if len(page) < _PAGE:
            break
    if not infos:
        # An empty file would replace the last backup.
        namespace = context.options.namespace
        where = f"namespace {namespace!r} of " if namespace else ""
        raise CommandError(f"There is no session in {where}{context.store.location}: nothing is written", 1)
    return infos


async def _records(
    context: Context, infos: list[SessionInfo]
) -> AsyncIterator[tuple[SessionInfo, PersistentSession | None]]:
    """Yield each session's record; ``None`` for one that can't be read, which is said. The store is not changed."""
    with context.progress("Reading", len(infos)) as advance:
        for start in range(0, len(infos), _READ):
            page = infos[start : start + _READ]
            rows = await context.store.load_many([Key(info["namespace"], info["session_id"]) for info in page])
            for info, row in zip(page, rows, strict=True):
                yield info, _record(context, info, row)
            advance(len(page))


def _record(context: Context, info: SessionInfo, row: Row | None) -> PersistentSession | None:
    if row is None:
        context.err.print(f"{info['session_id']} was deleted meanwhile", soft_wrap=True)
        return None
    try:
        return decode(row)
    except CorruptRecord as e:
        context.err.print(str(e), soft_wrap=True)
        return None


def _deliver(context: Context, name: str, texts: dict[Key, str]) -> None:
    output: str = context.options.output
    into = _folder(output)
    if FORMATS[name].whole and into is None:
        _put(context, output, to_bytes(whole(texts.values())), len(texts))
    elif into is not None:
        _fill(context, into, name, texts)
    elif len(texts) > 1:
        raise CommandError(
            f"{name} contains one session, and there are {len(texts)}: name a folder for them, as in -o sessions/"
        )
    else:
        for text in texts.values():
            _put(context, output, to_bytes(text), 1)


def _folder(output: str) -> Path | None:
    return Path(output) if output.endswith(os.sep) or Path(output).is_dir() else None


def _fill(context: Context, folder: Path, name: str, texts: dict[Key, str]) -> None:
    files: dict[str, Key] = {}
    for key in texts:
        file_name = _file_name(key.session_id)
        if file_name in files:
            raise CommandError(
                f"The session {key.session_id!r} is in several namespaces, which would share a file: name one with "
                f"--namespace"
            )
        files[file_name] = key
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for done, (file_name, key) in enumerate(files.items()):
        text = whole([texts[key]]) if FORMATS[name].whole else texts[key]
        path = folder / (file_name + FORMATS[name].suffix)
        try:
            with atomic_write(path) as file:
                file.write(to_bytes(text))
        except OSError as e:
            raise CommandError(
                f"{e.strerror or type(e).__name__}: {path}. Of {len(files)} sessions {done} were written to {folder}", 1
            ) from e
    _say(context, str(folder), len(files))


def _file_name(session_id: str) -> str:
    """Return the name, without suffix, of the file for *session_id*: unique and not too long."""
    name = _quoted(session_id)
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(session_id.encode()).hexdigest()[:16]
    while len(name) + len(digest) >= _LONGEST:
        session_id = session_id[:-1]
        name = _quoted(session_id)
    return f"{name}~{digest}"


def _quoted(session_id: str) -> str:
    # An id may contain anything printable, a slash and a leading dot included. The "~" marks names that were shortened.
    name = quote(session_id, safe=" @+=,").replace("~", "%7E")
    return f"%2E{name[1:]}" if name.startswith(".") else name


def _put(context: Context, output: str, content: bytes, sessions: int) -> None:
    if output == STANDARD:
        _print(context, content)
        return
    with atomic_write(Path(output)) as file:
        file.write(content)
    _say(context, output, sessions)


def _print(context: Context, content: bytes) -> None:
    if context.out.is_terminal and not content.decode("utf-8", "surrogateescape").translate(_LAYOUT).isprintable():
        raise CommandError("The export contains what this terminal would obey: send it into a pipe or a file", 1)
    to_stdout(content)


def _say(context: Context, where: str, sessions: int) -> None:
    many = "1 session was" if sessions == 1 else f"{sessions} sessions were"
    context.err.print(f"{many} written to {where}. Keep it secret: it holds logins", soft_wrap=True)


async def _summaries(context: Context) -> int:
    # Scrapy's exporters bring an XML writer and more along, which no other export needs.
    from scrapy_sessions.formats.summaries import exporter_for, write_summaries  # noqa: PLC0415

    output: str = context.options.output
    if _folder(output) is not None:
        raise CommandError("A summary is one file: -o names a folder")
    exporter = exporter_for(context.settings, context.options.format, "" if output == STANDARD else output)
    infos = await _chosen(context)
    content = io.BytesIO()
    write_summaries(exporter, context.settings, infos, content)
    if output == STANDARD:
        _print(context, content.getvalue())
    else:
        with atomic_write(Path(output)) as file:
            file.write(content.getvalue())
    return 0
