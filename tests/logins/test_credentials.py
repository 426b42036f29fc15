"""Where credentials are looked for, and what is said if they aren't there."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import keyring
import keyring.backend
import keyring.backends.fail
import pytest

from scrapy_sessions import BrowserSession
from scrapy_sessions.exceptions import LoginImpossible, SessionConfigurationError
from scrapy_sessions.logins import Credentials, LoginConfig
from scrapy_sessions.settings import SessionsSettings
from tests.support.login_pages import LOGIN, config_of

SECRET = "hunter2"
POOLS = {"staff": {"sessions": ["alice", "bob"]}, "visitors": {"size": 2}}


class Shop(LoginConfig):
    login_url = LOGIN


async def found(*sources: str, session_id: str = "alice", pool: str | None = None) -> Credentials:
    config = config_of(Shop, SESSIONS_CREDENTIALS=list(sources), SESSIONS_POOLS=POOLS)
    credentials: Credentials = await config.credentials(BrowserSession(session_id, pool=pool))
    return credentials


def program(text: str) -> str:
    """The command that runs the Python program *text* with the session's id as its argument."""
    return f"command:{shlex.join([sys.executable, '-c', text])} {{session_id}}"


@pytest.mark.parametrize(
    ("text", "username", "password", "totp", "others"),
    [
        (SECRET, "alice", SECRET, None, {}),
        (f"{SECRET}\nuser: alice@shop.test\nPIN: 12", "alice@shop.test", SECRET, None, {"pin": "12"}),
        (f"{SECRET}\r\notpauth://totp/a?secret=ABC\r\n", "alice", SECRET, "otpauth://totp/a?secret=ABC", {}),
        (json.dumps({"login": "al", "password": SECRET, "otp": "ABC"}), "al", SECRET, "ABC", {}),
        (json.dumps({"client_id": "c", "client_secret": "s", "n": 1}), "alice", "", None, None),
        (json.dumps({"username": None, "password": SECRET, "totp": None}), "alice", SECRET, None, {}),
        (f"{SECRET}\nuser: al\nlogin: https://shop.test/", "al", SECRET, None, {"login": "https://shop.test/"}),
        (f"{SECRET}\nusername: al\nuser: other", "al", SECRET, None, {"user": "other"}),
        ("p\x0cw\u2028", "alice", "p\x0cw\u2028", None, {}),
        ("{not json", "alice", "{not json", None, {}),
        ("pass:word", "alice", "pass:word", None, {}),
    ],
)
def test_forms_of_a_source(text: str, username: str, password: str, totp: str | None, others: Any) -> None:
    """A password alone, the format of ``pass``, or JSON."""
    parsed = Credentials.parse(text, "alice")
    assert (parsed.username, parsed.password, parsed.totp) == (username, password, totp)
    assert others is None or parsed.others == others


def test_repr_shows_nothing() -> None:
    """Neither names nor secrets are in the ``repr()``."""
    assert repr(Credentials("alice", SECRET, totp="ABC", others={"client_id": "c"})) == "Credentials()"


async def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The id of the session is filled in; an empty variable is no password; the next source is tried."""
    monkeypatch.setenv("SHOP_alice@shop.test-alice", SECRET)
    monkeypatch.setenv("EMPTY", "")
    credentials = await found("env:EMPTY", "env:SHOP_{session_id}@{host}-alice")
    assert credentials.password == SECRET


async def test_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry of the login's host, of the file of the home directory or of another one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (tmp_path / ".netrc", tmp_path / "other"):
        path.write_text(f"machine shop.test login alice password {SECRET}{path.name}\n")
        path.chmod(0o600)
    assert (await found("netrc")).password == f"{SECRET}.netrc"
    assert (await found(f"netrc:{tmp_path}/other")).password == f"{SECRET}other"
    assert (await found("netrc:~/other")).password == f"{SECRET}other"


async def test_netrc_mixes_no_accounts(tmp_path: Path) -> None:
    """An entry serves the session of its name, and anonymous ones, which share an account; ``default`` serves none."""
    path = tmp_path / "netrc"
    path.write_text(f"machine shop.test login alice password {SECRET}\n")
    source = f"netrc:{path}"
    for name, pool in (("alice", None), ("alice", "staff"), ("visitors#1", "visitors"), ("default#1", "default")):
        assert (await found(source, session_id=name, pool=pool)).username == "alice"
    for name, pool in (("bob", None), ("bob", "staff")):
        with pytest.raises(LoginImpossible, match="is another account's"):
            await found(source, session_id=name, pool=pool)
    path.write_text(f"default login alice password {SECRET}\n")
    with pytest.raises(LoginImpossible, match=r"no entry for the host 'shop\.test'"):
        await found(source)


async def test_netrc_that_cant_be_read(tmp_path: Path) -> None:
    """The error names file and line, and quotes nothing of it."""
    path = tmp_path / "netrc"
    for text in (f"machine {SECRET} nonsense {SECRET}\n", f"machine shop.test login alice password two {SECRET}\n"):
        path.write_text(text)
        with pytest.raises(LoginImpossible, match=r"netrc can't be read: line \d$") as caught:
            await found(f"netrc:{path}")
        assert SECRET not in str(caught.value)
        assert caught.value.__context__ is None
    with pytest.raises(LoginImpossible, match="there is no file"):
        await found(f"netrc:{tmp_path}/none")
    with pytest.raises(LoginImpossible, match="directory"):
        await found(f"netrc:{tmp_path}")


class Ring(keyring.backend.KeyringBackend):
    priority = 1.0  # type: ignore[assignment]  # a property of the class there

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError

    def delete_password(self, service: str, username: str) -> None:
        raise NotImplementedError

    def get_password(self, service: str, username: str) -> str | None:
        return {("shop", "alice"): SECRET}.get((service, username))


async def test_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """The password of the session's id for the service; without a backend, the error names the alternatives."""
    monkeypatch.setattr(keyring.core, "_keyring_backend", Ring())
    assert (await found("keyring:shop")).password == SECRET
    with pytest.raises(LoginImpossible, match="the keyring has no password of 'bob' for the service 'shop'"):
        await found("keyring:shop", session_id="bob")
    monkeypatch.setattr(keyring.core, "_keyring_backend", keyring.backends.fail.Keyring())
    with pytest.raises(LoginImpossible, match=r"\(NoKeyringError\): use 'env:NAME', 'netrc' or 'command:…'"):
        await found("keyring:shop")


async def test_no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package, the error names the line that installs it."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(LoginImpossible, match=r"pip install 'scrapy-persistent-sessions\[keyring\]'"):
        await found("keyring:shop")


async def test_command() -> None:
    """Its output is read as any source; the id of a session is one argument, and no part of a shell's line."""
    sly = "a; touch /tmp/x $(id) 'b"
    source = program("import sys; print(sys.argv[1:]); print('user:', 'al')")
    credentials = await found(source, session_id=sly)
    assert credentials.password == str([sly])
    assert credentials.username == "al"


async def test_commands_that_fail() -> None:
    """What a failing command prints is in no message."""
    with pytest.raises(LoginImpossible, match="ended with status 3, without a password") as caught:
        await found(program(f"import sys; print('{SECRET}'); sys.exit(3)"))
    assert SECRET not in str(caught.value)
    with pytest.raises(LoginImpossible, match="ended with status 0, without a password"):
        await found(program(""))
    with pytest.raises(LoginImpossible, match="'no-such-vault' of SESSIONS_CREDENTIALS can't be run: No such file"):
        await found("command:no-such-vault {session_id}")


async def test_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names each place."""
    monkeypatch.delenv("SHOP_alice", raising=False)
    monkeypatch.setenv("NO_PASSWORD", '{"username": "al"}')
    with pytest.raises(LoginImpossible, match="what 'env' has for it contains no password"):
        await found("env:NO_PASSWORD")
    message = "no credentials of 'alice' were found: the environment variable SHOP_alice is not set; the command"
    with pytest.raises(LoginImpossible, match=message):
        await found("env:SHOP_{session_id}", "command:false")
    with pytest.raises(LoginImpossible, match="SESSIONS_CREDENTIALS is not set"):
        await found()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("vault:x", "'vault' is no source of credentials; there are: command, env, keyring, netrc"),
        ("env", "'env:' needs a name"),
        ("env:SHOP_{user}", "another placeholder than {session_id}, {namespace}, {host}"),
        ("env:{session_id.x}", "another placeholder"),
        ("env:{", "another placeholder"),
        ("command:pass 'shop", "can't be split into arguments"),
        (["netrc", 5], "string"),
    ],
)
def test_bad_settings(value: object, message: str) -> None:
    """A source that can't work is refused before the first request."""
    with pytest.raises(SessionConfigurationError) as caught:
        SessionsSettings.from_settings({"SESSIONS_CREDENTIALS": value})
    assert message in str(caught.value)


def test_from_the_command_line() -> None:
    """One source as it is, several as JSON."""
    for value, expected in (
        ("command:vault read a,b", ["command:vault read a,b"]),
        ('["netrc", "env:X"]', ["netrc", "env:X"]),
    ):
        assert SessionsSettings.from_settings({"SESSIONS_CREDENTIALS": value}).credentials == expected


async def test_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A code of RFC 6238 is used once; what isn't a secret is refused without being quoted."""
    config: Shop = config_of(Shop)
    alice = BrowserSession("alice")
    period = "otpauth://totp/shop:a%20b?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&period=1&digits=8"
    sessions = [alice, BrowserSession("default#1"), alice]  # which may share an account
    codes = [await config.one_time_code(each, Credentials("alice", "", totp=period)) for each in sessions]
    assert len(set(codes)) == 3
    assert all(len(code) == 8 for code in codes)
    for bad in (f"{SECRET}!", f"otpauth://totp/x?secret={SECRET}!", f"otpauth://hotp/x?secret=ABC{SECRET}&counter=1"):
        with pytest.raises(LoginImpossible, match="neither base32 nor") as caught:
            await config.one_time_code(alice, Credentials("alice", "", totp=bad))
        assert SECRET not in str(caught.value)
    with pytest.raises(LoginImpossible, match="its credentials have no totp"):
        await config.one_time_code(alice, Credentials("alice", ""))
    monkeypatch.setitem(sys.modules, "pyotp", None)
    with pytest.raises(LoginImpossible, match=r"pip install 'scrapy-persistent-sessions\[totp\]'"):
        await config.one_time_code(alice, Credentials("alice", "", totp="ABC"))
