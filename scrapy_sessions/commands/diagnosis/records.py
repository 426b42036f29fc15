"""The check of every record: whether a spider could read it."""

from __future__ import annotations

from scrapy_sessions.commands.diagnosis.findings import Finding, error, ok
from scrapy_sessions.commands.support.context import Context
from scrapy_sessions.commands.support.text import count
from scrapy_sessions.exceptions import CorruptRecord, NewerSchema
from scrapy_sessions.storage import SessionStore
from scrapy_sessions.storage.base import Key
from scrapy_sessions.storage.codec import decode

__all__ = ["examine_records"]

_NAMED = 5  # records at fault that are named


async def examine_records(context: Context, store: SessionStore) -> list[Finding]:
    """Decode each record, which is left as it is."""
    corrupt: list[str] = []
    newer: list[str] = []
    read = 0
    async for page in context.pages():
        for row in await store.load_many([Key(info["namespace"], info["session_id"]) for info in page]):
            if row is None:
                continue  # deleted meanwhile
            read += 1
            try:
                decode(row)
            except CorruptRecord as fault:
                corrupt.append(str(fault))
            except NewerSchema as fault:
                newer.append(str(fault))
    findings = []
    if corrupt:
        findings.append(
            error(
                "records",
                _listed(corrupt, "can't be read"),
                "A spider that needs such a session quarantines it, and begins a new one. Restore a backup, or delete "
                "the session",
            )
        )
    if newer:
        findings.append(
            error(
                "records",
                _listed(newer, "written by a newer version"),
                "Upgrade: python -m pip install -U scrapy-persistent-sessions. Until then, no request of them is sent",
            )
        )
    return findings or [ok("records", f"{count(read, 'record')} can be read")]


def _listed(faults: list[str], what: str) -> str:
    last = f", the first {_NAMED}" if len(faults) > _NAMED else ""
    return f"{count(len(faults), 'record')} {what}{last}: {'; '.join(faults[:_NAMED])}"
