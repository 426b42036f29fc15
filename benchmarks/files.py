"""Reading large files, from their bytes to the cookies that an import merges, against the readers of Python.

A HAR against ``json.load``, which every reader of one needs; a cookies.txt against ``http.cookiejar``.
"""

from __future__ import annotations

import gc
import json
import tempfile
import time
from collections.abc import Callable
from http.cookiejar import MozillaCookieJar
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Size, compare
from scrapy_sessions.formats.contents import Reading, Source
from scrapy_sessions.formats.netscape import HEADER
from scrapy_sessions.formats.registry import detect, read

__all__ = ["measure"]

_HAR_BOUND = 3.0
_COOKIES_BOUND = 5.0
_LATE = 2_051_222_400
_HEADERS = (
    "accept accept-encoding accept-language cache-control referer sec-ch-ua sec-fetch-dest sec-fetch-mode user-agent"
)


def measure(size: Size) -> list[Figure]:
    """Read both files in turns with the other reader."""
    with tempfile.TemporaryDirectory() as folder:
        har, cookies = Path(folder) / "shop.har", Path(folder) / "cookies.txt"
        _write_har(har, size.recorded)
        _write_cookies(cookies, size.imported)
        megabytes = f"{har.stat().st_size / 1e6:.2g} MB"
        return [
            _in_turns(
                f"a HAR of {megabytes} with bodies, CPU", size, har, _load_json, "json.load of the same", _HAR_BOUND
            ),
            _in_turns(
                *(f"cookies.txt of {size.imported} cookies, CPU", size, cookies, _load_mozilla),
                *("MozillaCookieJar.load", _COOKIES_BOUND),
            ),
        ]


def _in_turns(name: str, size: Size, file: Path, other: Callable[[Path], int], against: str, bound: float) -> Figure:
    ours, theirs = [], []
    for number in range(size.rounds + 1):
        took, found = _timed(_import, file)
        took_other, expected = _timed(other, file)
        if expected and found != expected:
            raise AssertionError(f"{found} cookies were read, and {expected} by {against}")
        if number:  # the first round warms up
            ours.append(took)
            theirs.append(took_other)
    return compare(name, ours, theirs, "ms", against, bound=bound)


def _timed(work: Callable[[Path], int], file: Path) -> tuple[float, int]:
    gc.collect()
    began = time.process_time()
    found = work(file)
    return (time.process_time() - began) * 1e3, found


def _import(file: Path) -> int:
    source, reading = Source(file.read_bytes()), Reading(now=time.time())
    return len(read(detect(source, reading), source, reading).cookies)


def _load_json(file: Path) -> int:
    with file.open(encoding="utf-8") as stream:
        json.load(stream)
    return 0


def _load_mozilla(file: Path) -> int:
    jar = MozillaCookieJar(file)
    jar.load()
    return len(jar)


def _write_har(file: Path, bytes_: int) -> None:
    """Write a recording of so many bytes: 20 hosts, 10 cookies a request, a Set-Cookie on every fifth response."""
    with file.open("w", encoding="utf-8") as stream:
        stream.write('{"log": {"version": "1.2", "entries": [\n')
        number = 0
        while stream.tell() < bytes_:
            stream.write(",\n" if number else "")
            stream.write(json.dumps(_entry(number), ensure_ascii=False))
            number += 1
        stream.write("\n]}}\n")


def _entry(number: int) -> dict[str, Any]:
    headers = [{"name": name, "value": "x" * 40} for name in _HEADERS.split()]
    cookies = [{"name": f"n{each}", "value": "v" * 20} for each in range(10)]
    header = "; ".join(f"{each['name']}={each['value']}" for each in cookies)
    set_cookie = f"n{number % 50}=v{number}; Domain=shop.example; Path=/; Secure; HttpOnly; Max-Age=9999999"
    sets = [{"name": "set-cookie", "value": set_cookie}] if number % 5 == 0 else []
    body = "<p>A page of the shop, ünicode included.</p>\n" * 200
    return {
        "startedDateTime": f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}.123Z",
        "time": 12.5,
        "request": {
            "method": "GET",
            "url": f"https://www{number % 20}.shop.example/page/{number}",
            "headers": [*headers, {"name": "cookie", "value": header}],
            "cookies": cookies,
        },
        "response": {
            "status": 200,
            "headers": [*headers, *sets],
            "cookies": [],
            "content": {"size": len(body), "mimeType": "text/html", "text": body},
        },
        "timings": {"send": 0.1, "wait": 10.2, "receive": 2.2},
    }


def _write_cookies(file: Path, number: int) -> None:
    lines = [
        f".site{each % 1000}.example\tTRUE\t/\t{'TRUE' if each % 2 else 'FALSE'}\t{_LATE}\tname{each}\tvalue{each}"
        for each in range(number)
    ]
    file.write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8")
