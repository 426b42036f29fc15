"""Encrypt the stored sessions. "new" prints a random key, and stores it nowhere:
keep it where you keep passwords. Without it the sessions can't be read again.
With the key in the environment variable SCRAPY_SESSIONS_KEY, or in
SESSIONS_ENCRYPTION_KEY, crawls and commands encrypt what they save. Several keys
are separated by commas: the first encrypts, all decrypt.

"rotate" encrypts with the first key what is stored in plain or under another
key, while crawls may run. If it is interrupted, call it again. Afterwards the
other keys can be removed, once no process uses them any more.

  (umask 077; scrapy sessions key new > ~/sessions.key)
  export SCRAPY_SESSIONS_KEY="$(cat ~/sessions.key)"
  scrapy sessions key rotate
  SCRAPY_SESSIONS_KEY="NEW,OLD" scrapy sessions key rotate
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.commands.support.text import count
from scrapy_sessions.exceptions import CorruptRecord, EncryptionKeyError
from scrapy_sessions.keys import VARIABLE, new_key
from scrapy_sessions.storage.base import Key, Outcome, Row
from scrapy_sessions.storage.codec import in_plain
from scrapy_sessions.storage.encryption import Cipher, decrypt

HELP = "print a new encryption key, or encrypt what is stored with the first key"

NEEDS_STORE = False

_PASSES = 5  # each after the first finds what crawls have saved meanwhile
_BATCH = 200
_NAMED = 5  # sessions at fault that are named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("new", "rotate"), help="what to do")


async def run(context: Context) -> int:
    """Print a key, or rotate, and return 1 if something is left under another key."""
    if context.options.action == "new":
        context.write(new_key())
        return 0
    await context.open()
    cipher = context.store.cipher
    if cipher is None:
        raise CommandError(f"There is no key to encrypt with: scrapy sessions key new prints one. Set {VARIABLE} to it")
    return await _rotate(context, cipher)


async def _rotate(context: Context, cipher: Cipher) -> int:
    store, faults = context.store, dict[Key, str]()
    encrypted = 0
    with context.progress("Encrypting") as advance:
        for _ in range(_PASSES):
            found = 0
            async for page in context.pages(_BATCH):
                rows = await store.load_many([Key(info["namespace"], info["session_id"]) for info in page])
                old = [row for row in rows if row is not None and not cipher.is_current(row.body)]
                new = _encrypted(old, cipher, faults)
                outcomes = await store.replace(new, [row for row in old if row.key not in faults])
                found += len(new)
                encrypted += outcomes.count(Outcome.SAVED)
                advance(len(page))
            if not found:
                break
    await store.encrypt_rest(lambda body: _encrypted_rest(body, cipher))
    await store.epoch()  # now, what was stored before is erased
    context.write(f"{count(encrypted, 'session')} encrypted with the first key")
    for text in list(faults.values())[:_NAMED]:
        context.note(text)
    if faults:
        context.note(f"{count(len(faults), 'session')} left as they are")
    elif found:
        context.note(
            "A process saves sessions that aren't encrypted with this key: restart it with the new keys, and call this "
            "again"
        )
    return int(bool(faults or found))


def _encrypted(rows: Sequence[Row], cipher: Cipher, faults: dict[Key, str]) -> list[Row]:
    """Return *rows* encrypted with the first key, without those that can't be decrypted: they are added to *faults*."""
    new = []
    for row in rows:
        try:
            new.append(row._replace(body=cipher.encrypt(in_plain(row, cipher).body)))
        except (CorruptRecord, EncryptionKeyError) as error:  # noqa: PERF203  # the others must be encrypted
            faults[row.key] = str(error)
    return new


def _encrypted_rest(body: bytes, cipher: Cipher) -> bytes:
    if cipher.is_current(body):
        return body
    try:
        return cipher.encrypt(decrypt(body, cipher, "It"))
    except (CorruptRecord, EncryptionKeyError):
        return body  # nobody reads it any more, with these keys
