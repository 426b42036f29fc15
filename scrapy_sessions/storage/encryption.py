"""Encryption at rest: the body of a row is encrypted above the store, which never has it in plain.

A body is the whole record, so that every field is covered, also one that is added later. The columns of the row, which
listing and expiry need, stay plain. An encrypted body is :data:`_MARK`, the id of its key, and a Fernet token in
bytes. By the id a missing key differs from a changed body, and rotation finds the rest.
"""

from __future__ import annotations

import os
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b
from threading import Lock

from scrapy_sessions.exceptions import CorruptRecord, EncryptionKeyError
from scrapy_sessions.keys import VARIABLE

_MARK = b"\0SCSS"  # no JSON begins with it
_ID = slice(len(_MARK), len(_MARK) + 4)  # of the key's id
_VERSION = b"\x80"  # of Fernet
_BLOCK = 16  # bytes, of AES
_PADDING = [bytes((n,)) * n for n in range(_BLOCK + 1)]  # PKCS #7


class Cipher:
    """Encrypts with the first of *keys*, and decrypts with all of them: Fernet, which is AES-128-CBC and HMAC-SHA256.

    Raises :exc:`ValueError` for a key that isn't one.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        # Here, because it takes 40 ms, and is needed with a key only.
        from cryptography import fernet  # noqa: PLC0415
        from cryptography.hazmat.primitives import ciphers, hashes, hmac  # noqa: PLC0415

        self._fernets = {_id(key): fernet.Fernet(key) for key in keys}
        self._invalid = fernet.InvalidToken
        self._prefix = _MARK + _id(keys[0])
        key = urlsafe_b64decode(keys[0])
        self._signature = hmac.HMAC(key[:16], hashes.SHA256())
        aes, first = ciphers.algorithms.AES(key[16:]), ciphers.modes.CBC(os.urandom(_BLOCK))
        self._encryptor = ciphers.Cipher(aes, first).encryptor()
        self._lock = Lock()  # of the encryptor

    def __repr__(self) -> str:  # without the keys
        return f"{type(self).__name__}(<{len(self._fernets)} keys>)"

    def encrypt(self, body: bytes) -> bytes:
        """Return *body* encrypted with the first key."""
        # The token that Fernet(key).encrypt() makes, without its base64, which takes longer than all of this and makes
        # the row larger by a third. One encryptor goes on from body to body, as making one for each costs a third more.
        # So a random block comes first: what it is encrypted to is the initialization vector, which is as random as
        # that block, whatever was encrypted before (RFC 4346, section 6.2.3.2, method 2b).
        content = b"".join((os.urandom(_BLOCK), body, _PADDING[_BLOCK - len(body) % _BLOCK]))
        with self._lock:
            content = self._encryptor.update(content)
        header = _VERSION + int(time.time()).to_bytes(8, "big")
        signature = self._signature.copy()
        signature.update(header)
        signature.update(content)
        return b"".join((self._prefix, header, content, signature.finalize()))

    def is_current(self, body: bytes) -> bool:
        """Whether *body* is encrypted with the first key."""
        return body.startswith(self._prefix)

    def has_key_of(self, body: bytes) -> bool:
        """Whether the key of *body*, which is encrypted, is one of these."""
        return body[_ID] in self._fernets

    def decrypt(self, body: bytes) -> bytes | None:
        """Return *body* in plain; ``None`` if it was changed. Its key is one of these."""
        try:
            return self._fernets[body[_ID]].decrypt(urlsafe_b64encode(body[_ID.stop :]))
        except self._invalid:
            return None


def is_encrypted(body: bytes) -> bool:
    """Whether *body* is encrypted."""
    return body.startswith(_MARK)


def check_key(body: bytes, cipher: Cipher | None, what: str) -> None:
    """Raise :exc:`~scrapy_sessions.exceptions.EncryptionKeyError` if *cipher* can't decrypt *body*, of *what*.

    ``None`` is no key. A plain body needs none.
    """
    if not is_encrypted(body) or (cipher is not None and cipher.has_key_of(body)):
        return
    given = "no key is set" if cipher is None else "none of the keys that are set is its key"
    raise EncryptionKeyError(
        f"{what} is encrypted, and {given}: set {VARIABLE} in the environment, or SESSIONS_ENCRYPTION_KEY, to the key "
        f"that it was saved with. It is left unchanged"
    )


def decrypt(body: bytes, cipher: Cipher | None, what: str) -> bytes:
    """Return *body*, of *what*, in plain.

    Raises :exc:`~scrapy_sessions.exceptions.EncryptionKeyError`, and
    :exc:`~scrapy_sessions.exceptions.CorruptRecord` for a body that was changed.
    """
    check_key(body, cipher, what)
    if cipher is None or not is_encrypted(body):
        return body
    plain = cipher.decrypt(body)
    if plain is None:
        raise CorruptRecord(f"{what} can't be read: its encrypted content was changed")
    return plain


def encrypt(body: bytes, cipher: Cipher | None) -> bytes:
    """Return *body* encrypted with the first key of *cipher*, or as it is without one."""
    return body if cipher is None else cipher.encrypt(body)


def _id(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=_ID.stop - _ID.start, person=b"scrapy_sessions").digest()
