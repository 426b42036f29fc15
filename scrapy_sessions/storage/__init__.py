"""Where sessions last: the interface, the stores, and the URL that picks one."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import re

from scrapy_sessions.exceptions import SessionConfigurationError
from scrapy_sessions.storage.base import (
    AnalyticsStore,
    Expired,
    ExpiryStore,
    Key,
    Lease,
    LeaseStore,
    Outcome,
    ReplaceStore,
    Row,
    SessionStore,
    SharedStore,
)
from scrapy_sessions.storage.memory import MemoryStore
from scrapy_sessions.storage.sqlite.store import SQLiteStore

__all__ = [
    "AnalyticsStore",
    "Expired",
    "ExpiryStore",
    "Key",
    "Lease",
    "LeaseStore",
    "MemoryStore",
    "Outcome",
    "ReplaceStore",
    "Row",
    "SQLiteStore",
    "SessionStore",
    "SharedStore",
    "store_from_url",
]

_ACCEPTED = (
    "Accepted are 'sqlite://' (the project's own file), 'sqlite:///relative/file.db', 'sqlite:////absolute/file.db', "
    "'memory://' and the import path of a SessionStore, 'package.module.Class'"
)
_SCHEMES = ("memory", "sqlite")
_IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def store_from_url(url: str, *, default_path: str | os.PathLike[str] | None = None) -> SessionStore:
    """Return the store that *url* names, not yet opened.

    *default_path* is the file of ``sqlite://``. After ``sqlite:///`` stands a path, taken as it is: relative to the
    current folder, or absolute if it starts with another slash. An import path names a subclass of
    :class:`SessionStore` that can be made without arguments.

    Raises :exc:`~scrapy_sessions.exceptions.SessionConfigurationError`, which says what is accepted.

    >>> store_from_url("memory://")
    MemoryStore()
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return _from_import_path(url)
    scheme = scheme.lower()
    if scheme == "memory" and not rest:
        return MemoryStore()
    if scheme == "sqlite":
        return SQLiteStore(_sqlite_path(rest, default_path))
    # Not the whole URL: it may hold a password.
    raise _refused(f"The session store's URL begins with {scheme!r:.40}, which isn't known", scheme)


def _refused(what: str, word: str = "") -> SessionConfigurationError:
    nearest = difflib.get_close_matches(word.lower(), _SCHEMES, n=1)
    hint = f" Did you mean '{nearest[0]}://'?" if nearest else ""
    return SessionConfigurationError(f"{what}.{hint} {_ACCEPTED}")


def _sqlite_path(rest: str, default_path: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
    if not rest:
        if default_path is None:
            raise _refused("'sqlite://' means the file of a Scrapy project, and there is none here: name the file")
        return default_path
    path = rest[1:]
    if not rest.startswith("/"):
        raise _refused("Of the session store's URL, 'sqlite://' is followed by a host, and a file has none")
    if path in ("", "/"):
        raise _refused("After 'sqlite:///' the session store's URL names no file")
    if path == ":memory:":
        raise _refused("The session store's URL is 'sqlite:///:memory:', which is called 'memory://' here")
    return path


def _from_import_path(path: str) -> SessionStore:
    if not _IMPORT_PATH.fullmatch(path):  # not quoted: it may be a mistyped URL with a password
        raise _refused("The session store is neither a URL nor an import path", path.partition(":")[0])
    module_name, _, class_name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except Exception as error:  # whatever the module does when it is imported
        raise _refused(f"The session store {path!r} can't be imported ({type(error).__name__}: {error})") from error
    if not (isinstance(found, type) and issubclass(found, SessionStore)):
        raise _refused(f"The session store {path!r} isn't a subclass of SessionStore")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise _refused(f"The session store {path!r} lacks the methods {missing}")
    try:
        return found()
    except TypeError as error:
        raise _refused(f"The session store {path!r} can't be made without arguments ({error})") from error
