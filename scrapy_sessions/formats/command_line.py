"""Splits a command line into commands and words, as bash and Windows' cmd do."""

from __future__ import annotations

import re

from scrapy_sessions.cookies.parse import decode, encode
from scrapy_sessions.exceptions import FormatError

_UNCLOSED = FormatError("the command", "a quotation mark is not closed: copy all of the command")
_BASH = re.compile(
    r"""(?P<gap>[ \t\r\n]+)
    |(?P<end>[;&|<>]+)
    |(?P<join>\\\r?\n)
    |'(?P<single>[^']*)'
    |\$'(?P<ansi>(?:[^'\\]|\\.)*)'
    |\$?"(?P<double>(?:[^"\\]|\\.)*)"
    |\\(?P<escaped>.)
    |(?P<plain>[^\\'"$;&|<> \t\r\n]+|\$)""",
    re.VERBOSE | re.DOTALL,
)
_IN_DOUBLE = re.compile(r"\\(?:\r?\n|([$`\"\\]))")
_ANSI = re.compile(
    r"\\(?:u([Dd][89ABab][0-9A-Fa-f]{2})\\u([Dd][C-Fc-f][0-9A-Fa-f]{2})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})"
    r"|U([0-9A-Fa-f]{1,8})|([0-7]{1,3})|c(.)|(.))",
    re.DOTALL,
)
# Browsers write every backslash twice, even where Windows would keep both.
_ARGUMENT = re.compile(r'(?P<gap>[ \t\n]+)|\\[\\"]|"|(?P<plain>[^ \t\n"\\]+|\\)')
_CMD = re.compile(r'(?P<quoted>"[^"]*"?)|(?P<end>[&|<>])|\^\n?(?P<escaped>.?)', re.DOTALL)
_END = "\0"
_LETTERS = {"a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def split_bash(text: str) -> list[list[str]]:
    """Return the words of each command in *text*, with the three kinds of quotes, and continued lines.

    :mod:`shlex` doesn't support ``$'…'``. Raises FormatError.
    """
    commands: list[list[str]] = [[]]
    word: str | None = None
    end = 0
    for piece in _BASH.finditer(text):
        if piece.start() != end:
            raise _UNCLOSED
        end = piece.end()
        kind = piece.lastgroup
        if kind in {"gap", "end"}:
            if word is not None:
                commands[-1].append(word)
            word = None
            if kind == "end":
                commands.append([])
            continue
        if kind == "join":
            continue
        content = piece[kind or 0]
        if kind == "double":
            content = _IN_DOUBLE.sub(lambda found: found[1] or "", content)
        elif kind == "ansi":
            content = _ansi(content)
        word = (word or "") + content
    if end != len(text):
        raise _UNCLOSED
    if word is not None:
        commands[-1].append(word)
    return commands


def _ansi(text: str) -> str:
    """Return *text* with the escapes of ``$'…'`` resolved. Several escaped bytes may be one character."""
    raw = b""
    end = 0
    for found in _ANSI.finditer(text):
        raw += _bytes(text[end : found.start()])
        end = found.end()
        high, low, hexadecimal, short, long, octal, control, letter = found.groups()
        if high:  # the surrogates of one character
            raw += bytes.fromhex(high + low).decode("utf-16-be").encode()
        elif hexadecimal or octal:
            raw += bytes([int(hexadecimal, 16) if hexadecimal else int(octal, 8) & 0xFF])
        elif short or long:
            code = int(short or long, 16)
            raw += _bytes(chr(code)) if code < 0x110000 else b""
        elif control:
            raw += bytes([ord(control.upper()) & 0x1F])
        else:
            raw += _bytes(_LETTERS.get(letter, letter))
    return decode(raw + _bytes(text[end:]))


def _bytes(text: str) -> bytes:
    try:
        return encode(text)
    except UnicodeEncodeError:  # half a character
        return b"?" * len(text)


def split_cmd(text: str) -> list[list[str]]:
    """Return the words of each command in *text*: cmd resolves carets, the program resolves quotes and backslashes."""
    return [_split_arguments(each) for each in _without_carets(text.replace("\r\n", "\n")).split(_END)]


def _without_carets(text: str) -> str:
    # Outside of quotation marks, a caret escapes the next character; before the end of a line, that of the next line.
    def replaced(found: re.Match[str]) -> str:
        if found["end"]:
            return _END
        return found[0] if found["quoted"] else found["escaped"]

    return _CMD.sub(replaced, text)


def _split_arguments(text: str) -> list[str]:
    words: list[str] = []
    word: list[str] | None = None
    quoted = False
    position = 0
    while (piece := _ARGUMENT.match(text, position)) is not None:
        position = piece.end()
        if piece["gap"] and not quoted:
            if word is not None:
                words.append("".join(word))
            word = None
            continue
        word = word if word is not None else []
        if piece["plain"] or piece["gap"]:
            word.append(piece[0])
            continue
        if piece[0].startswith("\\"):
            word.append(piece[0][1])
        elif quoted and text.startswith('"', position):
            word.append('"')
            position += 1
        else:
            quoted = not quoted
    if quoted:
        raise _UNCLOSED
    return words if word is None else [*words, "".join(word)]
