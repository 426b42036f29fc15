"""Pickles of plain data, such as ``pickle.dump(driver.get_cookies(), file)``.

Unpickling any other pickle can run code. So a pickle is read only if all its operations build lists, dicts, texts,
numbers, true, false and null: none of them looks up a name or calls a function. The unpickler also refuses every name.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any, NoReturn

from scrapy_sessions.exceptions import FormatError
from scrapy_sessions.formats.fields import names

_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"(l", b"(d", b"]q", b"}q")
_ALLOWED = names(
    "PROTO FRAME STOP MARK POP POP_MARK DUP MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET "
    "EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS NONE NEWTRUE NEWFALSE "
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8"
)
_MEMO = names("PUT BINPUT LONG_BINPUT")
_OTHER = (
    "this pickle contains objects, and to unpickle them would run code: it is not read. Write JSON instead: "
    "json.dump(driver.get_cookies(), file), or of requests json.dump([vars(each) for each in session.cookies], file)"
)


def is_pickle(content: bytes) -> bool:
    """Whether *content* begins as a pickle does."""
    return content.startswith(_STARTS)


def load_pickle(content: bytes) -> Any:
    """Return the plain data in the pickle *content*. Raises :exc:`~scrapy_sessions.exceptions.FormatError`."""
    fault = ""
    try:
        for operation, argument, _ in pickletools.genops(content):
            if operation.name not in _ALLOWED:
                fault = _OTHER
                break
            if operation.name in _MEMO and int(argument or 0) > len(content):
                fault = "this pickle is damaged"  # the index sizes a table, which would use all memory
                break
        if not fault:
            value = _Unpickler(io.BytesIO(content), encoding="utf-8", errors="surrogateescape").load()
            if _has_text_keys(value):
                return value
            fault = "a dict of this pickle has a key that is no text"
    except Exception:  # noqa: BLE001  # a damaged pickle raises nearly anything, and its message may quote values
        fault = "this pickle is damaged, or is none"
    raise FormatError("the file", fault)


def _has_text_keys(value: Any) -> bool:
    """Whether all dicts in *value* have keys as in JSON. A pickle may contain one list in many places, or in itself."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if not isinstance(each, list | dict) or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, dict):
            if not all(isinstance(key, str) for key in each):
                return False
            waiting += each.values()
        else:
            waiting += each
    return True


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError

    def persistent_load(self, pid: object) -> NoReturn:
        raise pickle.UnpicklingError
