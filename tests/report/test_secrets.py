"""A report contains no secrets, and text from a site only as text."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from urllib.parse import quote

import pytest

from scrapy_sessions.analytics.model import HOUR, Event, HourCounts
from scrapy_sessions.analytics.redaction import safe_url, tidy
from scrapy_sessions.models import Cookie, Metrics
from scrapy_sessions.report import build
from scrapy_sessions.report.redact import action, reason, shortened, url_without_query
from tests.support.report_stores import NOW, empty, record, save

HOSTILE = "</script><script>alert(1)</script>\"'&<!--"
VOID = {"br", "input", "link", "meta", "path", "rect", "line", "circle"}


class Page(HTMLParser):
    """The elements of a page, with their attributes, and the text outside of script and style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"script", "style"}:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def forms(secret: str) -> list[str]:
    """*secret* as it may look after it went through a URL or a header."""
    encoded = [base64.b64encode(f"{pad}{secret}".encode()).decode().rstrip("=")[4:-2] for pad in ("", "x", "xx")]
    return [secret, quote(secret, safe=""), secret[::-1], secret.encode().hex(), *encoded]


async def test_no_secret_is_in_the_file() -> None:
    """Values of cookies and headers, proxies, storages, data and queries are not in it, encoded neither."""
    names = (
        *(
            "cookie",
            "header",
            "profile",
            "proxypw",
            "proxyuser",
            "rotation",
            "seed",
            "meta",
            "local",
            "session",
            "data",
            "query",
            "fragment",
        ),
        *("userinfo", "matrix", "lasturl", "reason", "history", "event", "eventquery", "agent", "extra", "namequery"),
    )
    secret = {name: f"S3cr3t+{name}/{number:04}~" for number, name in enumerate(names)}
    address = (
        f"https://{quote(secret['userinfo'], safe='')}:pw@shop.example/shown/path;jsessionid={secret['matrix']}"
        f"?token={secret['query']}&{secret['namequery']}=1#{secret['fragment']}"
    )
    store = empty()
    await save(
        store,
        record(
            "alice",
            pool="staff",
            status="retired",
            retired_reason=f"blocked at {address}, then /cart?auth={secret['reason']}",
            user_agent=secret["agent"],
            headers={"https://shop.example": {"Authorization": secret["header"]}, "*": {"X-Key": secret["profile"]}},
            proxy=f"http://{secret['proxyuser']}:{secret['proxypw']}@proxy.example:8080",
            proxy_rotation={
                "template": f"http://{{token}}:{secret['rotation']}@proxy.example:8080",
                "seed": secret["seed"],
                "lifetime": 60.0,
                "since": 0.0,
            },
            meta={"options": {"key": secret["meta"]}},
            last_url=f"https://shop.example/?{secret['lasturl']}",
            actions_performed=[f"GET {address} 403", f"POST {address} 500", f"typed {secret['history']} 403"],
            cookies=[Cookie(name="sid", value=secret["cookie"], domain="shop.example")],
            local_storage={"https://shop.example": {"token": secret["local"]}},
            session_storage={"https://shop.example": {"token": secret["session"]}},
            indexed_db={"https://shop.example": [{"token": secret["session"]}]},
            data={"password": secret["data"]},
            metrics=Metrics(requests=2, responses={"403": 1, "500": 1}, failures=2),
            unknown_field=secret["extra"],
        ),
    )
    detail = f"blocked at https://u:{quote(secret['event'], safe='')}@shop.example/banned?k={secret['eventquery']}"
    await store.add_analytics(
        [HourCounts("shop", "staff", "alice", int(NOW - 2 * HOUR), requests=2, responses={403: 2}, blocked=1)],
        [
            Event("shop", "alice", "staff", NOW - 3 * HOUR, "created"),
            Event("shop", "alice", "staff", NOW - HOUR, "blocked", detail),
            Event("shop", "gone", "staff", NOW - HOUR, "blocked", detail),
        ],
    )
    page = await build(store, now=NOW)
    shown = ("/shown/path", "alice", "staff", "sid", "/banned", "then /cart?…")
    assert [word for word in shown if word not in page] == []
    found = [name for name in names for form in forms(secret[name]) if form in page]
    assert found == []


async def test_what_a_crawl_met_is_text() -> None:
    """Ids, pools, reasons, URLs and names of cookies that look like markup stay text, in elements and attributes."""
    store = empty()
    hostile_url = "https://shop.example/" + quote("<script>") + "'\"><script>alert(2)</script>"
    await save(
        store,
        record(
            HOSTILE,
            pool=HOSTILE + "p",
            namespace=HOSTILE + "n",
            status="retired",
            retired_reason=f"{HOSTILE} at {hostile_url}",
            actions_performed=[f"GET {hostile_url} 403"],
            cookies=[Cookie(name=HOSTILE, value="v", domain="<b>.example")],
        ),
    )
    event = Event(HOSTILE + "n", HOSTILE, HOSTILE + "p", NOW - 60, "blocked", hostile_url)
    await store.add_analytics([], [event])
    page = await build(store, namespace=HOSTILE + "n", pool=HOSTILE + "p", now=NOW)
    parsed = Page(page)
    assert not parsed.open  # every element is closed where it should be
    tags = [tag for tag, _ in parsed.elements]
    assert (tags.count("script"), tags.count("b")) == (1, 0)
    assert HOSTILE in parsed.text
    assert "<b>.example" in parsed.text
    assert page.count("</script>") == 1
    assert page.count("<!--") == 0
    assert [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")] == []


async def test_unprintable_characters() -> None:
    """A reason with signs that turn the direction, or that can't be encoded, makes a file that can be written."""
    store = empty()
    await save(store, record("a", status="retired", retired_reason="a\u202eb\x1b[31m"))
    await store.add_analytics([], [Event("shop", "x", None, NOW - 60, "retired", "c\ud800d")])
    page = await build(store, now=NOW)
    assert "a\ufffdb\ufffd[31m" in page
    assert "c\ufffdd" in page
    page.encode()


async def test_the_page_asks_for_nothing() -> None:
    """Its policy allows nothing from outside, and the one script and style that are in it; no inline handler."""
    page = await build(empty(), now=NOW)
    parsed = Page(page)
    (policy,) = (a["content"] for _, a in parsed.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert all("style" not in attributes for _, attributes in parsed.elements)
    assert [a for _, a in parsed.elements if "src" in a or "action" in a] == []
    hrefs = [a["href"] or "" for _, a in parsed.elements if "href" in a]
    assert all(href.startswith("#") or href == "data:," for href in hrefs)
    assert re.search(r"@import|url\(|fetch\(|XMLHttp|WebSocket|import\(", page) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://bob:pw@shop.example:8443/a/b?x=1#y", "https://shop.example:8443/a/b?…"),
        ("https://shop.example/a;sid=1/b;c", "https://shop.example/a/b"),
        ("http://[2001:db8::1]/?", "http://[2001:db8::1]/"),
        ("http://[broken/?k=1", "(a URL that can't be read)"),
        ("http://shop.example:99999/", "(a URL that can't be read)"),
        ("data:text/plain,secret", "data:…"),
        ("/relative;p=1?k=1", "/relative?…"),
        ("https://shop.example/" + "a" * 300, "https://shop.example/" + "a" * 78 + "…" + "a" * 99),
    ],
)
def test_urls_are_cut(text: str, shown: str) -> None:
    """Of a URL, origin and path are shown; one that can't be read isn't."""
    assert shortened(safe_url(text, names=False)) == shown
    assert url_without_query(text) == shown.removesuffix("?…")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("GET https://a.example/p;jsessionid=S3?k='S3'&S3#S3 200", "GET https://a.example/p?k=… 200"),
        ("back to /login;jsessionid=S3/in?next=S3", "back to /login/in?next=…"),
        ("at /cart?S3 or cart;sid=S3 or cart?a=S3&b=S3#S3", "at /cart?… or cart or cart?a=…&b=…"),
        ("'https://u:S3@a.example/?k=S3', //u:S3@a.example/x", "'https://a.example/?k=…', //a.example/x"),
        ("http://u:S3/S3@a.example/ failed", "(a URL that can't be read) failed"),
        ("done? yes; no, 1/2 and/or a;b", "done? yes; no, 1/2 and/or a;b"),
    ],
)
def test_what_is_kept_of_texts(text: str, kept: str) -> None:
    """Parameters of paths and values of queries are cut, of relative URLs too; names stay, but not in a report."""
    assert tidy(text) == kept
    assert tidy(kept) == kept
    assert reason(text) == re.sub(r"\?[^\s']*…", "?…", kept)


def test_reasons_and_actions_are_cut() -> None:
    """Queries are cut out of what was said, wherever they stand; what a spider recorded in words is no action."""
    assert reason("first 'https://a.example/?k=1', then /b?k=2 and done? yes") == (
        "first 'https://a.example/?…', then /b?… and done? yes"
    )
    assert action("GET https://a.example/p?k=1 404") == ("https://a.example/p", 404)
    assert action("clicked on https://a.example/p?k=1 404") is None


def test_a_long_word_is_tidied_in_one_pass() -> None:
    """Tidying takes time in proportion to the text: else this one would take minutes."""
    assert tidy("a" * 1_000_000).endswith("a…")
