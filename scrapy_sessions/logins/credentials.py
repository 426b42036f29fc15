"""The credentials of a session, read from where they are kept: environment, netrc file, keyring, a command."""

from __future__ import annotations

import asyncio
import json
import netrc
import os
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from scrapy_sessions import child_process
from scrapy_sessions.exceptions import LoginImpossible
from scrapy_sessions.safe_repr import safe_repr

__all__ = ["Credentials", "find_credentials"]

_ALIASES = {"user": "username", "login": "username", "pass": "password", "otp": "totp"}


class Credentials:
    """What a session logs in with. They are read for each login, and neither stored nor logged.

    :param username: the session's id, unless the source has another one
    :param totp: the secret of one-time codes: base32, or an ``otpauth://totp/…`` URI
    :param others: further values of the source by their names, such as ``client_id``
    """

    __slots__ = ("others", "password", "totp", "username")

    def __init__(
        self, username: str, password: str, *, totp: str | None = None, others: Mapping[str, str] | None = None
    ) -> None:
        self.username = username
        self.password = password
        self.totp = totp
        self.others = dict(others or {})

    def __repr__(self) -> str:
        return safe_repr(self)

    @classmethod
    def parse(cls, text: str, username: str) -> Credentials:
        r"""Read a JSON object, or text whose first line is the password, as the password store ``pass`` has it.

        The object has ``password``, and may have ``username``, ``totp`` and others. Further lines of a text are
        ``name: value``, or an ``otpauth://`` URI.

        >>> Credentials.parse("secret\nuser: alice@shop.example", "alice").username
        'alice@shop.example'
        """
        values = _from_json(text)
        if values is None:
            password, *lines = text.split("\n")  # not splitlines(): a password may have its other characters
            values = {"password": password.rstrip("\r")}
            for line in map(str.strip, lines):
                name, colon, value = line.partition(":")
                if line.startswith("otpauth://"):
                    values.setdefault("totp", line)
                elif colon:
                    values.setdefault(name.strip().lower(), value.strip())
        for alias, name in _ALIASES.items():  # a field's own name wins
            if alias in values and name not in values:
                values[name] = values.pop(alias)
        return cls(
            values.pop("username", username), values.pop("password", ""), totp=values.pop("totp", None), others=values
        )


def _from_json(text: str) -> dict[str, str] | None:
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else None
    except ValueError:  # a password that begins with a brace
        return None
    if isinstance(found, dict):
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()}
        return {name: text for name, text in texts.items() if found[name] is not None}
    return None


class _NotFoundError(Exception):
    """A source doesn't have the credentials. The message says where they were looked for."""


async def find_credentials(
    sources: Sequence[str], *, session_id: str, namespace: str, host: str, shared: bool
) -> Credentials:
    """Return the credentials of a session from the first of *sources* that has them (``SESSIONS_CREDENTIALS``).

    :param host: the one of the login, for a netrc file
    :param shared: whether an account of another name than *session_id* will do

    Raises :exc:`~scrapy_sessions.exceptions.LoginImpossible`, which says where they were looked for, and for a source
    that can't be read.
    """
    missed = []
    for source in sources:
        kind, _, argument = source.partition(":")
        values = {"session_id": session_id, "namespace": namespace, "host": host}
        try:
            found = await _SOURCES[kind](argument, values, shared)
        except _NotFoundError as e:
            missed.append(str(e))
            continue
        if found.password or found.others:
            return found
        missed.append(f"what {kind!r} has for it contains no password")
    where = "; ".join(missed) or "SESSIONS_CREDENTIALS is not set"
    raise LoginImpossible(f"no credentials of {session_id!r} were found: {where}")


async def _of_environment(argument: str, values: Mapping[str, str], shared: bool) -> Credentials:
    name = argument.format_map(values)
    text = os.environ.get(name)
    if not text:
        raise _NotFoundError(f"the environment variable {name} is not set")
    return Credentials.parse(text, values["session_id"])


def _expanded(path: str) -> str:
    return str(Path(path).expanduser()) if path else ""


async def _of_netrc(argument: str, values: Mapping[str, str], shared: bool) -> Credentials:
    path = _expanded(argument.format_map(values))
    host, session_id = values["host"], values["session_id"]
    fault = ""
    try:
        # None: the file of the home directory, which must not be readable by others.
        found = await asyncio.to_thread(netrc.netrc, path or None)
    except FileNotFoundError:
        raise _NotFoundError(f"there is no file {path or '~/.netrc'}") from None
    except netrc.NetrcParseError as e:
        # Its message quotes the file, unless it is that of the permissions.
        fault = f"line {e.lineno}" if e.lineno else "others may read it, or it isn't yours"
    except (OSError, UnicodeDecodeError) as e:
        fault = type(e).__name__ if isinstance(e, UnicodeDecodeError) else str(e.strerror)
    if fault:  # raised here, as the exception before it may quote the file
        raise LoginImpossible(f"the credentials in {path or '~/.netrc'} can't be read: {fault}")
    entry = found.hosts.get(host)  # not the entry "default", which would send a password to any host
    if entry is None:
        raise _NotFoundError(f"the netrc file has no entry for the host {host!r}")
    username, _, password = entry
    if username not in ("", session_id) and not shared:
        raise _NotFoundError(f"the entry of the netrc file for the host {host!r} is another account's")
    return Credentials(username or session_id, password or "")


async def _of_keyring(argument: str, values: Mapping[str, str], shared: bool) -> Credentials:
    try:
        import keyring  # noqa: PLC0415  # an extra
        from keyring.errors import KeyringError  # noqa: PLC0415
    except ImportError:
        raise LoginImpossible(
            "the keyring of SESSIONS_CREDENTIALS needs the package keyring: pip install "
            "'scrapy-persistent-sessions[keyring]'"
        ) from None
    service = argument.format_map(values)
    fault = ""
    try:
        text = await asyncio.to_thread(keyring.get_password, service, values["session_id"])
    except KeyringError as e:  # a machine without a desktop has no backend
        fault = type(e).__name__
    if fault:
        raise LoginImpossible(
            f"the keyring can't be read on this machine ({fault}): use 'env:NAME', 'netrc' or 'command:…' in "
            "SESSIONS_CREDENTIALS, or configure a backend of keyring"
        )
    if text is None:
        raise _NotFoundError(f"the keyring has no password of {values['session_id']!r} for the service {service!r}")
    return Credentials.parse(text, values["session_id"])


async def _of_command(argument: str, values: Mapping[str, str], shared: bool) -> Credentials:
    # Split before the placeholders are filled: no session id becomes a second argument, and there is no shell.
    arguments = [part.format_map(values) for part in shlex.split(argument)]
    try:
        status, output = await child_process.run(arguments)
    except OSError as e:
        raise LoginImpossible(f"the command {arguments[0]!r} of SESSIONS_CREDENTIALS can't be run: {e.strerror}") from e
    text = output.decode(errors="replace").rstrip("\r\n")
    if status or not text:
        raise _NotFoundError(f"the command {arguments[0]!r} ended with status {status}, without a password")
    return Credentials.parse(text, values["session_id"])


_SOURCES: Mapping[str, Callable[[str, Mapping[str, str], bool], Awaitable[Credentials]]] = {
    "command": _of_command,
    "env": _of_environment,
    "keyring": _of_keyring,
    "netrc": _of_netrc,
}
