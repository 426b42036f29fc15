"""The keys that records are encrypted with: where they are given, and how they are written."""

from __future__ import annotations

import binascii
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode

from scrapy_sessions.exceptions import SessionConfigurationError

VARIABLE = "SCRAPY_SESSIONS_KEY"
"""The environment variable with the keys, where the setting has none."""

_SIZE = 32  # bytes, as Fernet requires


def new_key() -> str:
    """Return a random key: 32 bytes in URL-safe base64, as Fernet writes them."""
    return urlsafe_b64encode(os.urandom(_SIZE)).decode()


def given_keys(setting: str | None) -> list[str]:
    """Return the keys of the *setting* ``SESSIONS_ENCRYPTION_KEY``, else of the environment; empty: there is none.

    Raises :exc:`~scrapy_sessions.exceptions.SessionConfigurationError`.
    """
    try:
        return parse_keys(setting or os.environ.get(VARIABLE, ""))
    except ValueError as error:
        name = "SESSIONS_ENCRYPTION_KEY" if setting else VARIABLE
        raise SessionConfigurationError(f"{name}: {error}") from None


def parse_keys(text: str) -> list[str]:
    """Return the keys in *text*, separated by commas. Raises :exc:`ValueError`, which quotes none of them."""
    keys = [key for key in map(str.strip, text.split(",")) if key]
    for number, key in enumerate(keys, 1):
        if not _is_key(key):
            raise ValueError(
                f"key {number} of {len(keys)} isn't one: 'scrapy sessions key new' prints a key, 32 bytes in URL-safe "
                f"base64; several are separated by commas"
            )
    return keys


def _is_key(text: str) -> bool:
    try:
        content = urlsafe_b64decode(text)
    except (binascii.Error, ValueError):
        return False
    # Only the usual form: other characters would be skipped, and two forms of a key would count as two keys.
    return len(content) == _SIZE and urlsafe_b64encode(content).decode() == text
