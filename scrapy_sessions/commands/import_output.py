"""The output of ``scrapy sessions import``: kind of file, changes, and omissions. It quotes no value."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from scrapy_sessions.commands.support.context import STANDARD, Context
from scrapy_sessions.commands.support.tables import print_table
from scrapy_sessions.commands.support.text import count, moment, url_without_password
from scrapy_sessions.cookies import REFUSAL_REASONS
from scrapy_sessions.cookies.scope import dotted_domain
from scrapy_sessions.exceptions import FormatError
from scrapy_sessions.formats.contents import Contents
from scrapy_sessions.formats.importing import Change, Merge, RecordPlan
from scrapy_sessions.models import EVERYWHERE, PersistentSession, Profile
from scrapy_sessions.sessions.manager import SessionManager
from scrapy_sessions.storage.base import Key

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_MOST_SKIPPED = 50  # lines


class Target(NamedTuple):
    """The session that gets the cookies. *expired*: its previous record, which a new session replaces."""

    key: Key
    manager: SessionManager
    record: PersistentSession | None
    expired: PersistentSession | None


def file_name(file: str) -> str:
    return "standard input" if file == STANDARD else file


def show_notes(context: Context, notes: Iterable[str], description: str | None = None) -> None:
    """Print the *description* of the file, and the *notes* about it."""
    name = file_name(context.options.file)
    if description is not None:
        context.note(f"{name} is {description}")
    for note in notes:
        context.note(f"{name}: {note}")


def show_skipped(context: Context, faults: Sequence[FormatError]) -> None:
    """Print the entries that were left out because they can't be read."""
    for fault in faults[:_MOST_SKIPPED]:
        context.note(f"Left out: {fault}")
    if faults:
        context.note(f"{'1 entry was' if len(faults) == 1 else f'{len(faults)} entries were'} left out")


def show_changes(context: Context, changes: Sequence[Change]) -> None:
    """Print a table of the cookies that change, and why others are refused."""
    rows = []
    for what, cookie, _ in changes:
        if what != "same":
            expires = "with the session" if cookie.expires is None else moment(cookie.expires)
            rows.append((what, cookie.name, dotted_domain(cookie), cookie.path, expires))
    if rows:
        print_table(context, ("CHANGE", "COOKIE", "DOMAIN", "PATH", "EXPIRES"), rows)
    for cookie in (change.cookie for change in changes if change.reason == "malformed"):
        odd = [field for field in ("name", "value", "path") if _CONTROL.search(getattr(cookie, field))]
        if odd:
            context.note(f"{cookie.name} of {cookie.domain}: its {' and '.join(odd)} contains a control character")
    for reason, number in Counter(change.reason for change in changes if change.reason).items():
        context.note(f"{number} refused ({reason}): {REFUSAL_REASONS[reason]}")


def show_cookies(context: Context, contents: Contents, merged: Merge, target: Target) -> None:
    """Print one line about the session."""
    options, expired = context.options, target.expired
    would = "would be " if options.dry_run else ""
    counts = Counter(change.what for change in merged.changes)
    done = "changed" if target.record is not None else "created" if expired is None else "replaced"
    parts = [f"{number} {what}" for what, number in counts.items()]
    storages = {"local storage": len(contents.local_storage), "IndexedDB": len(contents.indexed_db)}
    storage = "".join(f", {name} of {count(origins, 'origin')}" for name, origins in storages.items() if origins)
    context.write(
        f"{options.id} of {target.key.namespace} {would}{done}: cookies {', '.join(parts) or 'none'}{storage}"
    )
    if expired is not None and expired.expiry is not None:
        context.note(
            f"The previous session had expired (by its {expired.expiry[1]}): the new one keeps none of its "
            f"{count(len(expired.cookies), 'cookie')}, its data, its history and its identity"
        )


def show_agent(context: Context, contents: Contents, target: Target, profile: Profile | None) -> None:
    """Print where the user agent of a new session is from, or that an existing session keeps its own."""
    options = context.options
    if target.record is not None:
        if contents.user_agent not in {None, target.record.user_agent}:
            context.note("The file has another user agent than the session, which keeps its own")
    elif profile is not None and profile.user_agent is not None:
        if options.user_agent is None:
            context.note(f"Its user agent is that of the file: {profile.user_agent}")
    elif options.session_profile is None:
        context.note("It has no user agent of its own. Give it that of the browser with the cookies: --user-agent")


def show_identity(context: Context, record: PersistentSession) -> None:
    """Print what the *record* contains besides its cookies."""
    parts = [f"user agent {record.user_agent}"] if record.user_agent else []
    if record.proxy:
        parts.append(f"proxy {url_without_password(record.proxy)}")
    everywhere = record.headers.get(EVERYWHERE)
    if everywhere:
        parts.append(f"headers for every site: {', '.join(everywhere)}")
    if record.meta:
        parts.append(f"request meta: {', '.join(record.meta)}")
    if parts:
        context.note(f"{record.session_id} contains {'; '.join(parts)}")


def show_records(context: Context, plans: Sequence[RecordPlan], now: float) -> None:
    """Print one line for each session of our own JSON."""
    would = "would be " if context.options.dry_run else ""
    for plan in plans:
        record = plan.record
        done = "created" if plan.stored is None else "replaced"
        context.write(
            f"{record.session_id} of {record.namespace} {would}{done}: {count(len(record.cookies), 'cookie')}"
        )
        show_changes(context, plan.refused)
        if record.expiry is not None and record.expiry[0] <= now:
            context.note(
                f"{record.session_id} has expired by its {record.expiry[1]}: the next crawl creates a new session"
            )
