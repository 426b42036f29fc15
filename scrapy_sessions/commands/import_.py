"""Read FILE in any of the formats, and show what changes. Cookies are merged
into the session ID, the newest wins; a session that doesn't exist is created,
and counts as logged in. Our own JSON contains whole sessions. They keep their
ids, or a single one gets the id ID. An existing session isn't overwritten
without --replace.

Nothing is saved before the whole file was read. Cookies that no site could set,
such as one for all of co.uk, are refused; the others are imported. The exit code
is 1 if cookies were left out because the session is full.

A site may tie its cookies to the browser they are from: give a new session that
browser's user agent. A HAR and a copied curl command contain it.

  scrapy sessions import cookies.txt alice --namespace shop --user-agent "Mozilla/5.0 …"
  scrapy sessions import cookies.json alice --domain shop.example --dry-run
  pbpaste | scrapy sessions import - alice --check https://shop.example/account
  pbpaste | scrapy sessions import - alice --url https://shop.example/
  scrapy sessions import alice.json
"""

from __future__ import annotations

import argparse
import time
from typing import NamedTuple

from pydantic import ValidationError

from scrapy_sessions.commands import import_output as output
from scrapy_sessions.commands.support.context import CommandError, Context, missing_store, read_input
from scrapy_sessions.cookies.hosts import canonical_host
from scrapy_sessions.exceptions import FormatError, NewerSchema
from scrapy_sessions.formats.contents import Contents, Reading, Skipping, Source, host_of
from scrapy_sessions.formats.importing import Merge, apply, merge, plan_records, save_records
from scrapy_sessions.formats.registry import FORMATS, describe, detect, read
from scrapy_sessions.models import EVERYWHERE, Profile, Status, check_session_id
from scrapy_sessions.pools.claim import check_profile
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.sessions.registry import SessionRegistry
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.storage import MemoryStore
from scrapy_sessions.storage.base import Key, SessionStore
from scrapy_sessions.storage.codec import decode

NEEDS_STORE = False  # it creates the store, if need be
HELP = "read sessions from files: cookies.txt, JSON of browsers and scripts, HAR, a copied curl command, …"

# The profile of a session with its own agent. It is not in the settings, so that no crawl changes the agent.
_PROFILE = "imported"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="what to read; - is standard input")
    parser.add_argument("id", metavar="ID", nargs="?", help="the session; not needed for our own JSON")
    parser.add_argument("--format", metavar="NAME", help=f"one of {', '.join(FORMATS)} (default: as the content shows)")
    parser.add_argument("--url", metavar="URL", help="of names and values without a site: where they were sent")
    parser.add_argument(
        "--domain",
        metavar="DOMAIN",
        help="only the cookies of this domain and of all below it; of names and values without a site, instead of "
        "--url: their host, with a leading dot for subdomains too",
    )
    parser.add_argument("--user-agent", metavar="TEXT", help="of a new session: the browser that the cookies are from")
    parser.add_argument("--session-profile", metavar="NAME", help="of a new session: its profile, of SESSIONS_PROFILES")
    parser.add_argument("--pool", metavar="NAME", help="of a new session: its pool")
    parser.add_argument("--replace", action="store_true", help="replace all cookies, or a session of our own JSON")
    parser.add_argument("--skip-bad", action="store_true", help="leave out the entries that can't be read")
    parser.add_argument(
        "--check", metavar="URL", help="then fetch URL in the session: a page without a password field means success"
    )
    parser.add_argument(
        "-y", "--yes", action="store_true", help="don't ask before a proxy, headers for every site, or request meta"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")


class _File(NamedTuple):
    """The file."""

    source: Source
    reading: Reading
    format: str
    contents: Contents


async def run(context: Context) -> int:
    options = context.options
    _check_options(options)
    now = time.time()
    file = _read(context, now)
    if options.url is not None and not FORMATS[file.format].placed:
        raise CommandError(f"The file contains the site of its cookies ({file.format}): leave out --url")
    if isinstance(context.store, MemoryStore):
        raise CommandError("The store is memory://, which ends with this command: name another store with --store")
    exists = missing_store(context.store) is None
    if exists or not options.dry_run:
        await context.open(must_exist=False)
    if FORMATS[file.format].whole:
        code = await _import_records(context, file, now, exists)
    else:
        code = await _import_cookies(context, file, now, exists)
    if file.reading.skipping.faults:
        output.show_skipped(context, file.reading.skipping.faults)
        code = 1
    return code


def _check_options(options: argparse.Namespace) -> None:
    if options.format is not None and options.format not in FORMATS:
        raise CommandError(f"There is no format {options.format!r:.40}: use one of {', '.join(FORMATS)}")
    if options.url is not None and options.domain is not None:
        raise CommandError("Give either --url or --domain, not both")
    if options.domain is not None and canonical_host(options.domain.removeprefix(".")) is None:
        raise CommandError(f"--domain: {options.domain!r:.80} is no host name (a port or a scheme is no part of one)")
    if options.id is not None:
        check_session_id(options.id)
    if options.check is not None:
        if options.dry_run:
            raise CommandError("--check needs the imported session: leave out --dry-run")
        if options.id is None:
            raise CommandError("--check is for one session: name its id after the file")
        try:
            host_of(options.check, "--check")
        except FormatError as e:
            raise CommandError(str(e)) from None


def _read(context: Context, now: float) -> _File:
    options = context.options
    source = Source(read_input(options.file))
    reading = Reading(now, options.url, options.domain, Skipping(options.skip_bad))
    try:
        name = options.format or detect(source, reading)
        return _File(source, reading, name, read(name, source, reading))
    except (FormatError, NewerSchema) as e:
        fault = f"{output.file_name(options.file)} was not imported, nothing is changed: {e}"
        raise CommandError(fault, 1) from None


async def _import_cookies(context: Context, file: _File, now: float, exists: bool) -> int:
    options, contents = context.options, file.contents
    if options.id is None:
        raise CommandError("Which session are these cookies for? Give its id after the file")
    if not (contents.cookies or contents.local_storage or contents.indexed_db or contents.headers):
        output.show_notes(context, contents.notes)
        output.show_skipped(context, file.reading.skipping.faults)
        raise CommandError(f"{output.file_name(options.file)} contains no cookie: nothing is changed", 1)
    target = await _target(context, now, exists)
    profile = _identity(context, contents, target)
    output.show_notes(context, contents.notes, describe(file.format, file.source, contents))
    merged = merge(target.record, contents, now=now, replace=options.replace)
    kept = merged.cookies or merged.local_storage or merged.indexed_db or merged.headers
    if target.record is None and not kept:
        output.show_changes(context, merged.changes)
        raise CommandError("None of its cookies can be kept: the session is not created", 1)
    if contents.proxy is not None and profile is not None and not _agreed(context, ["a proxy"]):
        return 1
    if not options.dry_run:
        was_new = target.record is None
        async with target.manager as manager:
            target, merged = await _save(context, registry_of(manager), contents, target, profile, now)
        if was_new and target.record is not None:
            context.note(f"The session {options.id!r} was created meanwhile: it keeps the identity that it has")
    output.show_changes(context, merged.changes)
    output.show_cookies(context, contents, merged, target)
    output.show_agent(context, contents, target, profile)
    _check_afterwards(context, target.key)
    return 1 if any(change.reason == "evicted" for change in merged.changes) else 0


async def _save(
    context: Context,
    registry: SessionRegistry,
    contents: Contents,
    target: output.Target,
    profile: Profile | None,
    now: float,
) -> tuple[output.Target, Merge]:
    """Save *contents*, in a new session with the identity *profile*; return the target as it is now, and the changes.

    A crawl may have created, retired or deleted the session since *target* was loaded.
    """
    options = context.options
    while True:
        session = await registry.get(options.id, pool=options.pool, profile=options.session_profile)
        if target.record is None and session.revision:
            target = target._replace(record=session.snapshot(), expired=None)
            _identity(context, contents, target)  # refuses one that was asked for
        is_new = target.record is None
        if not is_new and not session.revision:
            break
        _refuse_retired(options.id, session.status)
        if is_new and profile is not None:
            _set_identity(session, profile, keep=options.session_profile is not None)
        merged = merge(session.snapshot(), contents, now=now, replace=options.replace)
        apply(merged, session)
        if await (registry.save_new(session) if is_new else registry.save(session)):
            return target, merged
        if not is_new:  # a new one was created meanwhile: it is loaded now
            break
    raise CommandError(f"The session {options.id!r} was just deleted: import again", 1)


async def _target(context: Context, now: float, exists: bool) -> output.Target:
    options = context.options
    namespace = options.namespace or context.session_settings.namespace
    if namespace is None and exists:
        info = await context.manager.get_session_info(options.id)
        namespace = info["namespace"] if info is not None else None
    if namespace is None:
        raise CommandError(
            f"The session {options.id!r} is new: name its namespace with --namespace. That is the spider's name, "
            f"unless SESSIONS_NAMESPACE is set"
        )
    key = Key(namespace, options.id)
    row = await context.store.load(key) if exists else None
    record = None if row is None else decode(row, context.store.cipher)
    if record is not None:
        _refuse_retired(options.id, record.status)
    expired = record if record is not None and record.expiry is not None and record.expiry[0] <= now else None
    return output.Target(key, context.manager_of(namespace), None if expired is not None else record, expired)


def _refuse_retired(session_id: str, status: Status) -> None:
    if status == "retired":
        raise CommandError(
            f"The session {session_id!r} is retired, no request is sent in it: delete it, or import into another", 1
        )


def _identity(context: Context, contents: Contents, target: output.Target) -> Profile | None:
    """Return the identity of a new session; ``None``: that of its profile."""
    options = context.options
    asked = {"--user-agent": options.user_agent, "--session-profile": options.session_profile, "--pool": options.pool}
    given = [flag for flag, value in asked.items() if value is not None]
    if target.record is not None:
        if given:
            raise CommandError(
                f"The session {options.id!r} exists and keeps the identity that it was created with: leave out "
                f"{', '.join(given)}, or import into a new one"
            )
        return None
    if options.session_profile is not None:
        check_profile(options.session_profile, context.session_settings)
    if options.pool is not None and not registry_of(target.manager).pool(options.pool).may_hold(options.id):
        raise CommandError(f"The pool {options.pool!r} is one of named sessions, and {options.id!r} is none of them")
    agent = options.user_agent
    language, headers, proxy = contents.language, contents.headers.get(EVERYWHERE, {}), contents.proxy
    if agent is None:
        agent = contents.user_agent
        if options.session_profile is not None or not (agent or language or headers or proxy):
            return None
    try:
        return Profile(user_agent=agent, language=language, headers=headers, proxy=proxy)
    except ValidationError as e:
        fields = ", ".join(str(error["loc"][0]) for error in e.errors(include_input=False))
        fault = f"The identity can't be sent: {fields} can't be used, or contains control characters"
        raise CommandError(fault) from None


def _set_identity(session: SessionRuntime, profile: Profile, *, keep: bool) -> None:
    """Give the new *session* the identity *profile*; *keep*: only its agent, and keep the rest of its own profile."""
    session.user_agent = profile.user_agent
    if not keep:
        # The profile of the pool is not mixed with it: its headers may be those of another browser.
        session.profile_name = _PROFILE
        session.timezone = None
        session.viewport_width = session.viewport_height = None
        session.bound_headers.restore({EVERYWHERE: profile.headers} if profile.headers else {})
        session.language, session.meta = profile.language, profile.meta
        session.set_proxy(profile.proxy)
    session.forget_identity()


async def _import_records(context: Context, file: _File, now: float, exists: bool) -> int:
    options, contents = context.options, file.contents
    records = contents.records
    given = [flag for flag in ("user_agent", "session_profile", "pool") if getattr(options, flag) is not None]
    if given:
        raise CommandError(f"The file contains whole sessions: leave out --{given[0].replace('_', '-')}")
    if options.id is not None and len(records) != 1:
        raise CommandError(f"The file contains {len(records)} sessions, which can't all be {options.id!r}")
    if not records:
        raise CommandError(f"{output.file_name(options.file)} contains no session: nothing is changed", 1)
    store: SessionStore | None = context.store if exists else None
    plans = await plan_records(store, records, namespace=options.namespace, session_id=options.id)
    taken = [plan.record.session_id for plan in plans if plan.stored is not None]
    if taken and not options.replace:
        names = ", ".join(taken[:5]) + (", …" if len(taken) > 5 else "")
        raise CommandError(f"These sessions exist: {names}. Nothing is changed; --replace overwrites them", 1)
    output.show_notes(context, contents.notes, describe(file.format, file.source, contents))
    for plan in plans:
        output.show_identity(context, plan.record)
    # What affects all sites: a proxy gets every request, such a header is sent to every site, meta keys change both.
    proxies = any(plan.record.proxy is not None for plan in plans)
    headers = any(plan.record.headers.get(EVERYWHERE) for plan in plans)
    meta = any(plan.record.meta for plan in plans)
    asked = ["a proxy"] * proxies + ["headers for every site"] * headers + ["request meta"] * meta
    if not _agreed(context, asked):
        return 1
    if not options.dry_run:
        await save_records(context.store, plans)
    output.show_records(context, plans, now)
    _check_afterwards(context, Key(plans[0].record.namespace, plans[0].record.session_id))
    return 0


def _check_afterwards(context: Context, key: Key) -> None:
    url = context.options.check
    if url is not None:
        # Imported here: Scrapy's crawler takes as long as all the rest.
        from scrapy_sessions.commands.import_check import check_login  # noqa: PLC0415

        context.afterwards = lambda: check_login(context, url, namespace=key.namespace, session_id=key.session_id)


def _agreed(context: Context, included: list[str]) -> bool:
    """Ask whether to import what is *included*, unless that is nothing, or nothing is saved."""
    options = context.options
    if not included or options.yes or options.dry_run:
        return True
    if context.confirm(f"The file contains {' and '.join(included)}. Import it?"):
        return True
    context.note("Nothing was imported")
    return False
