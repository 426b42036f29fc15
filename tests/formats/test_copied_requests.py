"""Requests copied from a browser: curl for bash and for cmd, PowerShell, and what our own command prints."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrapy_sessions import Cookie, FormatError, PersistentSession
from scrapy_sessions.commands.curl import _arguments
from scrapy_sessions.cookies.parse import decode
from scrapy_sessions.formats.command_line import split_bash, split_cmd
from scrapy_sessions.formats.contents import Contents, Reading, Source
from scrapy_sessions.formats.registry import detect, read
from tests.support.formats import read_text

URL = "https://www.shop.example/account"
SECRET = "hunter2"
few = settings(max_examples=100, deadline=None)

NAMES = st.text(st.sampled_from("abcXYZ019_.$!%^'`"), min_size=1, max_size=6)
# Not Co: in a value, private-use characters represent bytes that are not UTF-8.
VALUES = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Co"), exclude_characters="; ")
    | st.sampled_from("'\"\\\u017d^%!$`&|<>"),
    max_size=9,
).filter(lambda value: value.strip() == value)
COOKIES = st.dictionaries(NAMES, VALUES, min_size=1, max_size=4)
ASCII = st.characters(min_codepoint=32, max_codepoint=126)
AGENTS = st.text(ASCII, min_size=1, max_size=20).map(str.strip).filter(bool)


def for_bash(text: str) -> str:
    """*text* quoted as Chromium does it for bash."""
    if all(" " <= character <= "~" and character not in "'!" for character in text):
        return f"'{text}'"
    units = text.encode("utf-16-be")
    codes = [int.from_bytes(units[place : place + 2], "big") for place in range(0, len(units), 2)]
    short = {ord("\\"): "\\\\", ord("'"): "\\'", ord("\n"): "\\n", ord("\r"): "\\r"}
    plain = {code: chr(code) for code in range(32, 127) if code != ord("!")}
    return "$'" + "".join({**plain, **short}.get(code, f"\\u{code:04x}") for code in codes) + "'"


def for_cmd(text: str) -> str:
    """*text* quoted as Chromium does it for cmd."""
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    harmless = " _-:=+~'/.,?;()*`"
    return '^"' + "".join(c if (c.isascii() and c.isalnum()) or c in harmless else f"^{c}" for c in text) + '^"'


def for_powershell(text: str) -> str:
    """*text* quoted as Chromium does it for PowerShell."""
    quoted = ""
    for character in text:
        if character in '`$"':
            quoted += f"`{character}"
        elif " " <= character <= "~":
            quoted += character
        else:
            units = character.encode("utf-16-le")
            quoted += "".join(
                f"$([char]{int.from_bytes(units[place : place + 2], 'little')})" for place in range(0, len(units), 2)
            )
    return f'"{quoted}"'


def copied(text: str) -> Contents:
    """What a copied request contains; its format is recognised."""
    source = Source(text.encode())
    assert detect(source, Reading()) == "curl"
    return read("curl", source, Reading(now=5.0))


def pairs(contents: Contents) -> dict[str, str]:
    return {cookie.name: cookie.value for cookie in contents.cookies}


def header_of(cookies: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


@pytest.mark.parametrize(
    ("quoted", "line"), [(for_bash, " \\\n  "), (for_cmd, " ^\r\n  "), (for_bash, " "), (for_cmd, " ^\n  ")]
)
@pytest.mark.parametrize("option", ["-b {}", "-H {}"])
@few
@given(COOKIES, AGENTS)
def test_curl_contains_cookies_and_agent(
    quoted: Any, line: str, option: str, cookies: dict[str, str], agent: str
) -> None:
    """What a browser copies for curl comes back byte by byte, in both ways to send cookies."""
    header = header_of(cookies)
    words = [
        f"curl {quoted(URL + '?a=1&b=%20')}",
        f"-H {quoted('accept: */*')}",
        option.format(quoted(header if option.startswith("-b") else f"cookie: {header}")),
        f"-H {quoted('user-agent: ' + agent)}",
        f"--data-raw {quoted('a=b&c')}",
        "--compressed",
    ]
    contents = copied(line.join(words))
    assert pairs(contents) == cookies
    assert contents.user_agent == agent
    assert {(cookie.domain, cookie.host_only, cookie.secure) for cookie in contents.cookies} == {
        ("www.shop.example", True, True)
    }
    assert set(contents.guessed.values()) == {URL}


@few
@given(COOKIES, AGENTS)
def test_powershell_contains_cookies_and_agent(cookies: dict[str, str], agent: str) -> None:
    """So does what a browser copies for PowerShell, with the domain of each cookie."""
    lines = ["$session = New-Object Microsoft.PowerShell.Commands.WebRequestSession"]
    lines.append(f"$session.UserAgent = {for_powershell(agent)}")
    lines += [
        "$session.Cookies.Add((New-Object System.Net.Cookie("
        f'{for_powershell(name)}, {for_powershell(value)}, "/", ".shop.example")))'
        for name, value in cookies.items()
    ]
    lines += [f'Invoke-WebRequest -UseBasicParsing -Uri "{URL}" `', "-WebSession $session `", "-Headers @{"]
    lines += ['"accept-language"="de"', '  "sec-ch-ua"="`"Shop`";v=`"1`""', "}"]
    contents = copied("\r\n".join(lines))
    assert pairs(contents) == cookies
    assert (contents.user_agent, contents.language) == (agent, "de")
    assert contents.headers == {"*": {"sec-ch-ua": '"Shop";v="1"'}}
    assert {(cookie.domain, cookie.host_only) for cookie in contents.cookies} == {("shop.example", False)}


@few
@given(COOKIES, AGENTS, st.none() | st.just("http://user:pass@proxy.example:8080"))
def test_the_command_of_curl_is_read(cookies: dict[str, str], agent: str, proxy: str | None) -> None:
    """The output of ``scrapy sessions curl`` contains cookies, agent, language, headers and proxy."""
    record = PersistentSession(
        session_id="alice",
        user_agent=agent,
        language="de",
        proxy=proxy,
        headers={"*": {"DNT": "1"}, "https://www.shop.example": {"Authorization": "Bearer t", "X-Empty": ""}},
        cookies=[Cookie(name=name, value=value, domain="www.shop.example") for name, value in cookies.items()],
    )
    contents = copied(shlex.join(["curl", *_arguments(record, URL, "https://www.shop.example")]))
    assert pairs(contents) == cookies
    assert (contents.user_agent, contents.language, contents.proxy) == (agent, "de", proxy)
    assert contents.headers == record.headers


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_words_are_split_as_bash_does() -> None:
    """Of a few hundred commands, the words are those that a real bash gives to a program."""
    quoted = ["'b c'", "$'d\\n\\t\\u017d\\x41\\303\\251\\\\\\''", '"e \\" f \\\\ \\x"', "\\ ", "\\'", '""', "''"]
    pieces = [*quoted, "a", " ", "\\\n", "-b", "="]
    commands = {"".join(three) for three in product(pieces, pieces, pieces[::2])}
    commands = {command for command in commands if not command.endswith("\\\n")}
    script = "".join(f"printf '%s\\0' {command} x; printf '\\1'\n" for command in sorted(commands))
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    for command, said in zip(sorted(commands), done.stdout.split(b"\1"), strict=False):
        expected = [decode(word) for word in said.split(b"\0")[:-1]]
        assert split_bash(f"{command} x") == [expected], command


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('a "b c" d', ["a", "b c", "d"]),
        ('^"a^"', ["a"]),
        ('^"\\^"x^\\^" ^%^A^"', ['"x" %A']),
        ('"a ""quoted"" b"', ['a "quoted" b']),
        ('"a\\\\" b', ["a\\", "b"]),
        ("a^&b ^^ c^\n d", ["a&b", "^", "c", "d"]),
        ('^"two^\n\nlines^"', ["two\nlines"]),
        ('"" x', ["", "x"]),
    ],
)
def test_words_are_split_as_cmd_does(text: str, words: list[str]) -> None:
    """Carets escape outside of quotation marks; a backslash escapes quotation marks and itself."""
    assert split_cmd(text) == [words]


@pytest.mark.parametrize(
    ("command", "cookies"),
    [
        ("curl https://www.shop.example/account -bsid=1", {"sid": "1"}),
        ("curl -sSLb sid=1 https://www.shop.example/account", {"sid": "1"}),
        ("curl -b jar.txt -b sid=1 --url https://www.shop.example/account", {"sid": "1"}),
        (
            "curl -o out.html -d a=b -e https://other.example/ -b sid=1 https://www.shop.example/account",
            {"sid": "1"},
        ),
        ("$ curl https://www.shop.example/account -H 'Cookie: sid=1; q=\"a b\"' | jq .", {"sid": "1", "q": '"a b"'}),
        ("curl.exe https://www.shop.example/account --cookie 'sid=1'", {"sid": "1"}),
        ("curl https://www.shop.example/account -b sid=1 ;\ncurl https://www.shop.example/b -b sid=2", {"sid": "2"}),
        ("curl https://www.shop.example/account -H 'Cookie;' -b 'sid=near; sid=far'", {"sid": "near"}),
    ],
)
def test_what_people_type(command: str, cookies: dict[str, str]) -> None:
    """Options may be joined, be followed by their value or by a pipe, and there may be several commands."""
    contents = copied(command)
    assert pairs(contents) == cookies
    assert {cookie.domain for cookie in contents.cookies} == {"www.shop.example"}


def test_kinds_of_headers() -> None:
    """What browsers send everywhere is identity, other headers are bound, those of one request are left out."""
    names = ["Accept", "Sec-CH-UA", "DNT", "Sec-Fetch-Mode", "X-Api-Key", "Authorization", "X-CSRF-Token", "Referer"]
    options = " ".join(f"-H '{name}: {SECRET}'" for name in names)
    contents = copied(f"curl {URL} {options}")
    assert contents.headers == {
        "*": {"Sec-CH-UA": SECRET, "DNT": SECRET},
        "https://www.shop.example": {"X-Api-Key": SECRET, "Authorization": SECRET},
    }
    assert contents.notes == ["its headers are imported for its site only: X-Api-Key, Authorization"]
    assert copied(f"curl -u alice:{SECRET} {URL}").headers == {
        "https://www.shop.example": {"Authorization": "Basic YWxpY2U6aHVudGVyMg=="}
    }


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f"curl 'https://shop.example/ -b sid={SECRET}", "the command"),
        (f"curl -b sid={SECRET}", "the command"),
        (f"curl -b sid={SECRET} ftp://shop.example/", "the URL of the command"),
        (f"curl -b sid={SECRET} https://[x/", "the URL of the command"),
        (f"curl -H 'X-Y: {SECRET}\x07' https://shop.example/", "a header of the command"),
        (f"wget --header 'Cookie: sid={SECRET}' https://shop.example/", "the command"),
        (f'Invoke-WebRequest -Uri "shop {SECRET}"', "the URL of the command"),
    ],
)
def test_what_can_not_be_read_is_named(text: str, place: str) -> None:
    """A command that is cut off, or has no URL of the web, is refused, and not quoted."""
    with pytest.raises(FormatError) as error:
        read_text("curl", text)
    assert error.value.place == place
    assert SECRET not in str(error.value)


def test_names_and_values_in_json() -> None:
    """A JSON object of names and values is for the site that the user names."""
    contents = read_text("name-value", json.dumps({"sid": SECRET, "lang": "de"}), url=URL)
    assert pairs(contents) == {"sid": SECRET, "lang": "de"}
    assert contents.guessed == {("www.shop.example", "sid"): URL, ("www.shop.example", "lang"): URL}
    with pytest.raises(FormatError, match="--url"):
        read_text("name-value", json.dumps({"sid": SECRET}))
