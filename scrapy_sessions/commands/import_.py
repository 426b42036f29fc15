"""``scrapy sessions import``: sessions out of files of our own and of other tools."""

from __future__ import annotations

import argparse
import re
import time
from collections import Counter
from typing import NamedTuple

from pydantic import ValidationError

from scrapy_sessions.commands.support.context import CommandError, Context, missing_store
from scrapy_sessions.commands.support.stdio import STANDARD, read_input
from scrapy_sessions.commands.support.tables import print_table
from scrapy_sessions.commands.support.text import moment, printable
from scrapy_sessions.cookies import REFUSAL_REASONS
from scrapy_sessions.exceptions import FormatError, NewerSchema
from scrapy_sessions.formats.importing import Change, Merge, RecordPlan, apply, merge, plan_records, save_records
from scrapy_sessions.formats.registry import FORMATS, Contents, Site, detect, from_bytes, read
from scrapy_sessions.models import PersistentSession, Profile, check_session_id
from scrapy_sessions.pools.claim import check_profile
from scrapy_sessions.sessions.manager import SessionManager
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.storage import MemoryStore
from scrapy_sessions.storage.base import Key, SessionStore
from scrapy_sessions.storage.codec import decode

__all__ = ["DESCRIPTION", "HELP", "NEEDS_STORE", "add_arguments", "run"]

NEEDS_STORE = False  # it makes the store, if need be
HELP = "read sessions from files: our JSON, cookies.txt, storage_state, HAR, …"
DESCRIPTION = """
Read FILE, in whichever of the formats it is, and show what changes. Cookies are merged into the session ID, the newest
wins; a session that isn't there is made, and counts as logged in. Our own JSON brings whole sessions, under their own
ids or, if it is one, under ID. A session that is there already isn't overwritten without --replace.

Nothing is saved before all of the file was read. Cookies that no site could set, as one for all of co.uk, are refused;
the others are imported.

A site may tie its cookies to the browser they are from: give a new session that browser's user agent. A HAR recording
brings it along.

  scrapy sessions import cookies.txt alice --namespace shop --user-agent "Mozilla/5.0 …"
  scrapy sessions import state.json alice --dry-run
  pbpaste | scrapy sessions import - alice --format header --url https://shop.example/
  scrapy sessions import alice.json
"""


# Of a session with its browser's agent: none of the settings, so that no crawl takes that agent for an outdated one.
_PROFILE = "imported"
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="what to read; - is standard input")
    parser.add_argument("id", metavar="ID", nargs="?", help="the session; not needed for our own JSON")
    parser.add_argument("--format", metavar="NAME", help=f"{', '.join(FORMATS)} (default: as the content says)")
    parser.add_argument("--url", metavar="URL", help="of a header: where it was sent")
    parser.add_argument(
        "--domain",
        metavar="DOMAIN",
        help="of a header, instead of --url: its host; with a leading dot for subdomains too",
    )
    parser.add_argument("--user-agent", metavar="TEXT", help="of a new session: the browser that the cookies are from")
    parser.add_argument("--session-profile", metavar="NAME", help="of a new session: its profile, of SESSIONS_PROFILES")
    parser.add_argument("--pool", metavar="NAME", help="of a new session: its pool")
    parser.add_argument(
        "--replace", action="store_true", help="replace all cookies of the session, or a session of our own JSON"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")


async def run(context: Context) -> int:
    """Read, plan, show and save."""
    options = context.options
    if options.format is not None and options.format not in FORMATS:
        raise CommandError(f"There is no format {options.format!r:.40}: use one of {', '.join(FORMATS)}")
    if options.url is not None and options.domain is not None:
        raise CommandError("Give either --url or --domain, not both")
    if options.id is not None:
        check_session_id(options.id)
    now = time.time()
    name, contents = _read(context, now)
    if (options.url or options.domain) and name != "header":
        raise CommandError(f"The file says itself whom its cookies are for ({name}): leave out --url and --domain")
    if isinstance(context.store, MemoryStore):
        raise CommandError("The store is memory://, which ends with this command: name another with --store")
    there = missing_store(context.store) is None
    if there or not options.dry_run:
        await context.open(must_exist=False)
    for note in contents.notes:
        context.err.print(f"{_name(options.file)}: {note}", soft_wrap=True)
    if FORMATS[name].whole:
        return await _import_records(context, contents, now, there)
    return await _import_cookies(context, contents, now, there)


def _read(context: Context, now: float) -> tuple[str, Contents]:
    options = context.options
    text = from_bytes(read_input(options.file))
    fault = ""
    try:
        name = options.format or detect(text, placed=bool(options.url or options.domain))
        return name, read(name, text, Site(now, options.url, options.domain))
    except (FormatError, NewerSchema) as e:
        fault = str(e)
    raise CommandError(f"{_name(options.file)} was not imported, nothing is changed: {fault}", 1)


def _name(file: str) -> str:
    return "standard input" if file == STANDARD else file


class _Target(NamedTuple):
    """The session that takes the cookies: where it stands, and what there is of it.

    ``expired``: what was there before has expired, and a new session takes its place.
    """

    key: Key
    manager: SessionManager
    record: PersistentSession | None
    expired: PersistentSession | None


async def _import_cookies(context: Context, contents: Contents, now: float, there: bool) -> int:
    options = context.options
    if options.id is None:
        raise CommandError("Which session are these cookies for? Name its id after the file")
    if not (contents.cookies or contents.local_storage):
        raise CommandError(f"{_name(options.file)} holds no cookie: nothing is changed", 1)
    target = await _target(context, now, there)
    profile = _identity(context, contents, target)
    merged = merge(target.record, contents, now=now, replace=options.replace)
    if target.record is None and not (merged.cookies or merged.local_storage):
        _show(context, merged.changes)
        raise CommandError("No cookie of it can be kept: the session is not made", 1)
    if not options.dry_run:
        async with target.manager as manager:
            session = await manager.live(options.id, pool=options.pool, profile=options.session_profile)
            if target.record is None and profile is not None:
                _lay(session, profile, keep=options.session_profile is not None)
            merged = merge(session.snapshot(), contents, now=now, replace=options.replace)
            apply(merged, session)
            if not await manager.save(session):
                raise CommandError(f"The session {options.id!r} was deleted meanwhile: import again", 1)
    _show(context, merged.changes)
    _tell(context, contents, target, merged, profile)
    return 0


async def _target(context: Context, now: float, there: bool) -> _Target:
    options = context.options
    namespace = options.namespace or context.session_settings.namespace
    if namespace is None and there:
        info = await context.manager.get_session_info(options.id)
        namespace = info["namespace"] if info is not None else None
    if namespace is None:
        raise CommandError(
            f"The session {options.id!r} is new: say with --namespace whose it is. That is the spider's name, unless "
            f"SESSIONS_NAMESPACE says otherwise"
        )
    key = Key(namespace, options.id)
    row = await context.store.load(key) if there else None
    record = None if row is None else decode(row)
    if record is not None and record.status == "retired":
        raise CommandError(
            f"The session {options.id!r} is retired, no request goes out in it: delete it, or import into another",
            1,
        )
    expired = record if record is not None and record.expiry is not None and record.expiry[0] <= now else None
    return _Target(key, context.manager_of(namespace), None if expired is not None else record, expired)


def _identity(context: Context, contents: Contents, target: _Target) -> Profile | None:
    """Return what a new session is to be born with, ``None``: what its profile says."""
    options = context.options
    asked = {"--user-agent": options.user_agent, "--session-profile": options.session_profile, "--pool": options.pool}
    given = [flag for flag, value in asked.items() if value is not None]
    if target.record is not None:
        if given:
            raise CommandError(
                f"The session {options.id!r} is there and keeps the identity it was born with: leave out "
                f"{', '.join(given)}, or import into a new one"
            )
        return None
    if options.session_profile is not None:
        check_profile(options.session_profile, context.session_settings)
    if options.pool is not None and not target.manager.pool(options.pool).may_hold(options.id):
        raise CommandError(f"The pool {options.pool!r} is one of named sessions, and {options.id!r} is none of them")
    agent = options.user_agent
    if agent is None and options.session_profile is None:
        agent = contents.user_agent
    if agent is None:
        return None
    fault = ""
    try:
        return Profile(user_agent=agent, language=contents.language)
    except ValidationError as e:
        fault = ", ".join(str(error["loc"][0]) for error in e.errors(include_input=False))
    raise CommandError(f"This can't be sent as a header: {fault} holds control characters")


def _lay(session: SessionRuntime, profile: Profile, *, keep: bool) -> None:
    """Give the new *session* the identity *profile*; *keep*: only its agent, the rest is that of its own profile."""
    session.user_agent = profile.user_agent
    if not keep:
        # Nothing of a profile that was its turn's: its headers may be those of another browser.
        session.profile_name = _PROFILE
        session.timezone = session.proxy = None
        session.viewport_width = session.viewport_height = None
        session.bound_headers.restore({})
        session.language = profile.language
    session.forget_identity()


def _show(context: Context, changes: list[Change]) -> None:
    shown = [change for change in changes if change.what != "same"]
    if shown:
        print_table(
            context,
            ("CHANGE", "COOKIE", "DOMAIN", "PATH", "EXPIRES"),
            [
                (
                    change.what,
                    change.cookie.name,
                    change.cookie.domain if change.cookie.host_only else f".{change.cookie.domain}",
                    change.cookie.path,
                    "with the session" if change.cookie.expires is None else moment(change.cookie.expires),
                )
                for change in shown
            ],
        )
    for cookie in (change.cookie for change in changes if change.reason == "malformed"):
        odd = [field for field in ("name", "value", "path") if _CONTROL.search(getattr(cookie, field))]
        if odd:
            context.err.print(
                f"{printable(cookie.name)} of {cookie.domain}: a control character is in its {' and '.join(odd)}",
                soft_wrap=True,
            )
    for reason, number in Counter(change.reason for change in changes if change.reason).items():
        context.err.print(f"{number} refused ({reason}): {REFUSAL_REASONS[reason]}", soft_wrap=True)


def _cookies(record: PersistentSession) -> str:
    return "1 cookie" if len(record.cookies) == 1 else f"{len(record.cookies)} cookies"


def _tell(context: Context, contents: Contents, target: _Target, merged: Merge, profile: Profile | None) -> None:
    options = context.options
    would = "would be " if options.dry_run else ""
    counts = Counter(change.what for change in merged.changes)
    made = "changed" if target.record is not None else "made" if target.expired is None else "replaced"
    parts = [f"{number} {what}" for what, number in counts.items()]
    storage = f", local storage of {len(contents.local_storage)} origins" if contents.local_storage else ""
    context.write(
        f"{options.id} of {target.key.namespace} {would}{made}: cookies {', '.join(parts) or 'none'}{storage}".rstrip()
    )
    if target.expired is not None and target.expired.expiry is not None:
        context.err.print(
            f"The session that was there had expired (by its {target.expired.expiry[1]}): the new one has nothing of "
            f"its {_cookies(target.expired)}, its data, its history and its identity",
            soft_wrap=True,
        )
    if target.record is None and profile is not None and options.user_agent is None:
        context.err.print(
            f"Its user agent is that of the recording: {printable(profile.user_agent or '')}", soft_wrap=True
        )
    elif target.record is None and profile is None and options.session_profile is None:
        context.err.print(
            "It has no user agent of its own. Cookies of a browser go best with that browser's: --user-agent",
            soft_wrap=True,
        )
    elif target.record is not None and contents.user_agent not in {None, target.record.user_agent}:
        context.err.print(
            "The recording was made with another user agent than the session's, which stays", soft_wrap=True
        )


async def _import_records(context: Context, contents: Contents, now: float, there: bool) -> int:
    options = context.options
    given = [flag for flag in ("user_agent", "session_profile", "pool") if getattr(options, flag) is not None]
    if given:
        raise CommandError(f"The file holds whole sessions: leave out --{given[0].replace('_', '-')}")
    if options.id is not None and len(contents.records) != 1:
        raise CommandError(f"The file holds {len(contents.records)} sessions, which can't all be {options.id!r}")
    if not contents.records:
        raise CommandError(f"{_name(options.file)} holds no session: nothing is changed", 1)
    store: SessionStore | None = context.store if there else None
    plans = await plan_records(store, contents.records, namespace=options.namespace, session_id=options.id)
    taken = [plan.record.session_id for plan in plans if plan.stored is not None]
    if taken and not options.replace:
        names = ", ".join(taken[:5]) + (", …" if len(taken) > 5 else "")
        raise CommandError(f"There already: {names}. Nothing is changed; --replace puts the file's in their place", 1)
    if not options.dry_run:
        await save_records(context.store, plans)
    _tell_records(context, plans, now)
    return 0


def _tell_records(context: Context, plans: list[RecordPlan], now: float) -> None:
    would = "would be " if context.options.dry_run else ""
    for plan in plans:
        record = plan.record
        done = "made" if plan.stored is None else "replaced"
        context.write(f"{record.session_id} of {record.namespace} {would}{done}: {_cookies(record)}")
        _show(context, plan.refused)
        if record.expiry is not None and record.expiry[0] <= now:
            context.err.print(
                f"{record.session_id} has expired by its own {record.expiry[1]}: the next crawl begins it anew",
                soft_wrap=True,
            )
