"""The check of every record: whether a spider could read it, and whether its agent fits the browser."""

from __future__ import annotations

from scrapy_sessions.commands.diagnosis.browser import examine_agents
from scrapy_sessions.commands.diagnosis.findings import Finding, error, ok, warning
from scrapy_sessions.commands.support.context import Context
from scrapy_sessions.commands.support.text import count
from scrapy_sessions.exceptions import CorruptRecord, EncryptionKeyError, NewerSchema
from scrapy_sessions.keys import VARIABLE
from scrapy_sessions.storage import SessionStore, SQLiteStore
from scrapy_sessions.storage.base import Key
from scrapy_sessions.storage.codec import decode

_NAMED = 5  # records at fault that are named


async def examine_records(context: Context, store: SessionStore) -> list[Finding]:
    """Decode each record, which is left as it is."""
    corrupt: list[str] = []
    newer: list[str] = []
    locked: list[str] = []
    agents: dict[str, list[str]] = {}
    read = plain = 0
    async for page in context.pages():
        for row in await store.load_many([Key(info["namespace"], info["session_id"]) for info in page]):
            if row is None:
                continue  # deleted meanwhile
            read += 1
            plain += store.cipher is not None and not store.cipher.is_current(row.body)
            try:
                record = decode(row, store.cipher)
            except CorruptRecord as fault:
                corrupt.append(str(fault))
            except EncryptionKeyError as fault:
                locked.append(str(fault))
            except NewerSchema as fault:
                newer.append(str(fault))
            else:
                if record.user_agent:
                    agents.setdefault(record.user_agent, []).append(f"{record.session_id!r} in {record.namespace!r}")
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
    if locked:
        findings.append(error("records", _listed(locked, "can't be decrypted"), "Add the missing key after the others"))
    if newer:
        findings.append(
            error(
                "records",
                _listed(newer, "written by a newer version"),
                "Upgrade: python -m pip install -U scrapy-persistent-sessions. Until then, no request of them is sent",
            )
        )
    readable = findings or [ok("records", f"{count(read, 'record')} can be read")]
    return [*readable, _protection(store, plain), *await examine_agents(context.settings, agents)]


def _protection(store: SessionStore, plain: int) -> Finding:
    if store.cipher is None:
        rights = "permissions above" if isinstance(store, SQLiteStore) else "rights of its users"
        return ok(
            "protection",
            f"There is no encryption key: the store contains records as plain JSON. The {rights} and, if you "
            f"have one, an encrypted disk protect them; protect backups and exports as well. To encrypt the records, "
            f"set {VARIABLE} to what scrapy sessions key new prints",
        )
    if plain:
        verb = "is" if plain == 1 else "are"
        return warning(
            "protection",
            f"{count(plain, 'record')} {verb} not encrypted with the first key",
            "Encrypt what is stored: scrapy sessions key rotate",
        )
    return ok("protection", "All records are encrypted with the first key. Exports are not: protect them as well")


def _listed(faults: list[str], what: str) -> str:
    last = f", the first {_NAMED}" if len(faults) > _NAMED else ""
    return f"{count(len(faults), 'record')} {what}{last}: {'; '.join(faults[:_NAMED])}"
