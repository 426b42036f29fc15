"""Lists of cookies in JSON: those of Selenium, Playwright, Puppeteer, browser extensions, requests and rookiepy.

They have the same fields under different names. One reader supports all names. The table of shapes identifies the tool
and lists the known fields.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from scrapy_sessions.cookies.parse import SameSite
from scrapy_sessions.exceptions import FormatError
from scrapy_sessions.formats.contents import Contents, Reading, Source, host_of, read_entries
from scrapy_sessions.formats.cookie_fields import make_cookie, read_expiry, read_partition, read_same_site
from scrapy_sessions.formats.fields import Fields, is_text, names
from scrapy_sessions.models import Cookie


class Shape(NamedTuple):
    """The list of cookies of one tool: the fields that identify it, and those without meaning for a cookie."""

    title: str
    marks: frozenset[str]
    ignored: frozenset[str] = frozenset()


# The first shape with one of its marks in the list is taken: "expires" is also in other lists.
SHAPES = {
    "extension": Shape(
        "a list of a browser extension", names("expirationDate hostOnly storeId firstPartyDomain"), names("id")
    ),
    "cookiejar": Shape(
        "a list of requests or http.cookiejar",
        names("_rest rfc2109 domain_specified domain_initial_dot"),
        names("version port port_specified path_specified discard comment comment_url"),
    ),
    "rookiepy": Shape("a list of rookiepy", names("http_only same_site")),
    "selenium": Shape("a Selenium list", names("expiry")),
    "puppeteer": Shape(
        "a Puppeteer list", names("size session priority sameParty sourceScheme sourcePort partitionKeyOpaque")
    ),
    "playwright": Shape("a Playwright list", names("expires _crHasCrossSiteAncestor")),
}
"""By the name of the format, in the order of detection."""

_WRAPPERS = names("cookies url userAgent cookieManagerVersion origins")
_READ = names(
    "name value domain url hostOnly host_only path expirationDate expiry expires secure httpOnly http_only sameSite "
    "same_site partitionKey session"
)
_KNOWN = _READ.union(*(shape.marks | shape.ignored for shape in SHAPES.values()))
_SAMPLE = 50  # entries that are searched for marks
_SHOWN = 8  # unknown fields in one note


def find_list(document: Any) -> tuple[Fields | None, Any, str] | None:
    """Return the list of cookies in *document*, with the object around it, if any, and its path; ``None``: no list."""
    if isinstance(document, list):
        return None, document, "cookies"
    if not isinstance(document, dict):
        return None
    if "cookies" in document:
        return Fields(document, ""), document["cookies"], "cookies"
    reply = document.get("result")  # the whole reply of the DevTools protocol
    if isinstance(reply, dict) and "cookies" in reply:
        return Fields(reply, "result"), reply["cookies"], "result.cookies"
    return None


def shape_of(cookies: Any) -> str | None:
    """Return the name of the shape of the list *cookies*, ``None`` if it has no marks."""
    if not isinstance(cookies, list):
        return None
    fields: set[str] = set().union(*(each for each in cookies[:_SAMPLE] if isinstance(each, dict)))
    found = next((name for name, shape in SHAPES.items() if fields & shape.marks), None)
    if found is None and {"name", "value", "domain", "httpOnly"} <= fields:
        return "selenium"  # whose session cookies have no mark
    return found


def misfit(source: Source, name: str) -> str | None:
    """Say why *source* isn't a list of the shape *name*; ``None`` if it is."""
    found = find_list(source.document)
    if found is None or not isinstance(found[1], list):
        return "it has no list of cookies"
    shape = shape_of(found[1]) or "extension"
    return None if shape == name else f"its fields are those of {SHAPES[shape].title}"


def read(source: Source, reading: Reading) -> Contents:
    """Return the cookies of a list of any shape, which may be inside an object."""
    found = find_list(source.document)
    if found is None:
        raise FormatError("the document", "it has no list of cookies")
    wrapper, cookies, path = found
    contents = Contents(read_cookies(cookies, path, reading))
    if wrapper is not None:
        agent = wrapper.content.get("userAgent")
        contents.user_agent = agent if isinstance(agent, str) and is_text(agent) else None
        contents.notes += unread(wrapper.content, _WRAPPERS, "of the file")
    return contents


def read_cookies(value: Any, path: str, reading: Reading) -> list[Cookie]:
    """Return the cookies of the list *value* at *path*; unknown fields are noted."""
    return read_entries(value, path, lambda fields: _cookie(fields, reading), reading)


def unread(content: dict[str, Any], known: frozenset[str], whose: str) -> list[str]:
    """Return a note with the fields of *content* that are not *known*; empty if there are none."""
    unknown = sorted(name for name in content if name not in known)
    if not unknown:
        return []
    more = ", …" if len(unknown) > _SHOWN else ""
    return [f"fields {whose} that are not read: {', '.join(f'{name:.40}' for name in unknown[:_SHOWN])}{more}"]


def _cookie(fields: Fields, reading: Reading) -> Cookie:
    content = fields.content
    for name in content.keys() - _KNOWN:
        reading.remarks.add(f"the field {name:.40} is not read", fields.path)
    name, value = fields.text("name"), content.get("value")
    if value is None and "_rest" in content:
        name, value = "", name  # http.cookiejar stores the value of a cookie without "=" as its name
    else:
        value = fields.text("value")
    secure = fields.flag("secure")
    domain = content.get("domain")
    host_only = None
    if domain is not None or not (reading.placed or "url" in content):
        if domain is None:
            fields.fail("domain", "it is missing: name the site of the cookies with --url")
        domain = fields.text("domain")
        flag = "host_only" if "host_only" in content else "hostOnly"
        host_only = fields.flag(flag) if content.get(flag) is not None else None
    else:
        domain, encrypted = host_of(fields.text("url"), fields.place("url")) if "url" in content else reading.site()
        secure = secure or encrypted
    return make_cookie(
        fields.path,
        reading,
        name=name,
        value=value,
        domain=domain,
        host_only=host_only,
        path=fields.text("path", "/"),
        expires=None if fields.flag("session") else read_expiry(fields, "expirationDate", "expiry", "expires"),
        secure=secure,
        http_only=fields.flag("http_only") or fields.flag("httpOnly") or _rest_says_http_only(content),
        same_site=_same_site(fields, secure),
        partition=read_partition(fields),
    )


def _rest_says_http_only(content: dict[str, Any]) -> bool:
    rest = content.get("_rest")
    return isinstance(rest, dict) and any(isinstance(key, str) and key.lower() == "httponly" for key in rest)


def _same_site(fields: Fields, secure: bool) -> SameSite | None:
    number = fields.content.get("same_site")
    if isinstance(number, int) and not isinstance(number, bool):
        # rookiepy: the number in the browser's database. 0 is None, which browsers accept in Secure cookies only.
        return {0: "None" if secure else None, 1: "Lax", 2: "Strict"}.get(number)
    rest = fields.content.get("_rest")
    if isinstance(rest, dict) and isinstance(rest.get("SameSite"), str):
        return read_same_site(Fields(rest, fields.place("_rest")), "SameSite")
    return read_same_site(fields, "same_site" if number is not None else "sameSite")
