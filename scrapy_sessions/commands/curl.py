"""Print, for a POSIX shell, the curl command that fetches URL as the session would:
with its user agent, its language, its headers for that site, its proxy, and
the cookies that the session would send there.

The command contains the session's secrets: protect it like a password. curl
doesn't change the session, and follows no redirect by itself. "scrapy sessions
import" reads the command.

  scrapy sessions curl alice https://shop.example/account
  scrapy sessions curl alice https://shop.example/account | sh
"""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from w3lib.url import safe_url_string

from scrapy_sessions.commands.support import argument_types as types
from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.cookies import SessionCookieJar
from scrapy_sessions.models import PersistentSession
from scrapy_sessions.sessions.headers import SessionHeaders, origin_of
from scrapy_sessions.sessions.proxy_token import current_proxy

HELP = "print a curl command that sends one request of a session"
READS_ONLY = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", type=types.session_id, help="the session")
    parser.add_argument("url", metavar="URL", help="what to fetch, with http:// or https://")


async def run(context: Context) -> int:
    try:
        url = safe_url_string(context.options.url)  # as Scrapy does
        origin = origin_of(url)
    except ValueError:
        origin = ""
    if not origin.startswith(("http://", "https://")):
        raise CommandError("The URL needs http:// or https:// and a host")
    record = await context.record(context.options.id)
    arguments = list(_arguments(record, url, origin))
    command = shlex.join(["curl", *arguments])
    context.write_bytes(f"{command}\n".encode("utf-8", "surrogateescape"), "command")
    if not any(argument.startswith("Cookie: ") for argument in arguments):
        context.note(f"No cookie of {record.session_id!r} is sent to {origin}")
    return 0


def _arguments(record: PersistentSession, url: str, origin: str) -> Iterator[str]:
    # Without --globoff, brackets and braces are a pattern.
    yield "--globoff"
    headers = dict(SessionHeaders(record.headers).sent_to(origin))
    names = {name.lower() for name in headers}
    if record.user_agent and "user-agent" not in names:
        yield from ("--user-agent", record.user_agent)
    if record.language and "accept-language" not in names:
        yield from ("--header", f"Accept-Language: {record.language}")
    for name, value in headers.items():
        # A header without a value is written with a semicolon: with a colon, curl leaves it out.
        yield from ("--header", f"{name}: {value}" if value else f"{name};")
    cookies = SessionCookieJar(record.cookies).header(urlsplit(url))
    if cookies is not None:
        # Not --cookie, for which a text without = is the name of a file.
        yield from ("--header", f"Cookie: {cookies.decode('utf-8', 'surrogateescape')}")
    proxy = current_proxy(record, time.time())
    if proxy:
        yield from ("--proxy", proxy)
    yield from ("--url", url)
