"""The tests' own site: what crawl tests prove rests on its answers and on its memory being right."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import BadStatusLine, HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.resolver import RESOLVER_SETTINGS
from tests.support.site import HOST, Site
from tests.support.waiting import HANG, slowness, wait_until

ROOT = Path(__file__).parents[2]


@dataclass
class Answer:
    """What came back over the wire: the body as sent, still compressed."""

    status: int
    header_pairs: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for found, value in self.header_pairs if found.lower() == name.lower()]

    def json(self) -> Any:
        return json.loads(self.body)


def fetch(url: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: str | None = None) -> Answer:
    parts = urlsplit(url)
    with closing(HTTPConnection(parts.netloc, timeout=HANG)) as connection:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(method, target, body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "127.0.0.3", "localhost"])
@pytest.mark.parametrize("second", [False, True])
def test_it_listens_on_two_ports_of_every_loopback_name(site: Site, host: str, second: bool) -> None:
    """Each address and each port reaches the site, and the journal tells them apart."""
    fetch(site.url("/answer", host, second=second))
    [arrival] = site.journal()
    assert (arrival.host, arrival.port) == (f"{host}:{site.ports[second]}", site.ports[second])


def test_the_journal_keeps_what_arrived(site: Site) -> None:
    """Method, target, headers, and cookies with repeated names stand in the journal as they came."""
    fetch(site.url("/a", q="1"), "POST", {"X-One": "1", "Cookie": "n=x; n=y; bare"}, "k=v")
    [arrival] = site.journal()
    assert (arrival.method, arrival.target, arrival.path, arrival.header("x-one")) == ("POST", "/a?q=1", "/a", "1")
    assert arrival.cookie_pairs == [("n", "x"), ("n", "y"), ("", "bare")]
    assert arrival.cookies["n"] == "x"
    assert arrival.header("Accept-Language") is None


def test_the_journal_is_filtered_by_path(site: Site) -> None:
    """A prefix picks the requests of one part of the site."""
    for path in ("/a/1", "/b/1", "/a/2"):
        fetch(site.url(path))
    assert [arrival.path for arrival in site.journal("/a/")] == ["/a/1", "/a/2"]


def test_a_reset_forgets_everything(site: Site) -> None:
    """Journal, visitors, violations, failures and robots.txt begin anew."""
    site.robots("User-agent: *\nDisallow: /\n")
    fetch(site.url("/fail"))
    fetch(site.url("/identity/1"), headers={"Cookie": "sid=x; sid=y"})
    assert site.violations()
    site.reset()
    assert (site.journal(), site.violations(), site.visitors()) == ([], [], {})
    assert fetch(site.url("/fail")).status == 500
    assert b"Allow" in fetch(site.url("/robots.txt")).body


@pytest.mark.parametrize("status", [200, 204, 301, 304, 404, 500, 503])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_any_answer_sets_cookies(site: Site, status: int, method: str) -> None:
    """``set`` adds its raw values, in order, to an answer of every status and method."""
    cookies = ["a=1; Path=/x", "b=2; Domain=shop.test", "=;;nonsense"]
    answer = fetch(site.url("/answer", status=status, set=cookies), method)
    assert (answer.status, answer.all("Set-Cookie")) == (status, cookies)


def test_a_cookie_may_hold_any_byte(site: Site) -> None:
    """Bytes that are neither ASCII nor UTF-8 go out as they were asked for."""
    raw = b"n=\xff\xe9\x01"
    answer = fetch(site.url("/answer", set=raw))
    assert answer.all("Set-Cookie")[0].encode("latin-1") == raw


@pytest.mark.parametrize(
    ("encoding", "decode"), [("gzip", gzip.decompress), ("deflate", zlib.decompress), ("identity", bytes)]
)
def test_a_page_is_compressed_on_demand(site: Site, encoding: str, decode: Any) -> None:
    """``encoding`` compresses the body, sets its header, and leaves cookies as they are."""
    answer = fetch(site.url("/answer", encoding=encoding, body="hello", set="a=1"))
    assert decode(answer.body) == b"hello"
    assert answer.all("Content-Encoding") == ([] if encoding == "identity" else [encoding])
    assert answer.all("Set-Cookie") == ["a=1"]


def test_a_page_is_gzipped_for_who_accepts_it(site: Site) -> None:
    """Without ``encoding`` the client's ``Accept-Encoding`` decides."""
    answer = fetch(site.url("/page/1"), headers={"Accept-Encoding": "gzip, deflate"})
    assert b"Page 1" in gzip.decompress(answer.body)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_of_every_kind(site: Site, status: int) -> None:
    """``to`` and ``status`` redirect to any URL, here to another port of another name."""
    target = site.url("/whoami", "localhost", second=True)
    answer = fetch(site.url("/redirect", status=status, to=target))
    assert (answer.status, answer.all("Location")) == (status, [target])


def test_a_chain_leads_on(site: Site) -> None:
    """``/chain/2`` redirects twice and then to ``then``, each hop with the same status."""
    target, hops = site.url("/chain/2", status=307, then="/whoami"), []
    for _ in range(3):
        answer = fetch(target)
        assert answer.status == 307
        [location] = answer.all("Location")
        hops.append(location.partition("?")[0])
        target = site.url(location)
    assert hops == ["/chain/1", "/chain/0", "/whoami"]


def test_fail_recovers(site: Site) -> None:
    """``/fail`` answers the wanted error ``times`` times for its key, then the page."""
    statuses = [fetch(site.url("/fail", times=2, key="k", fail=503)).status for _ in range(3)]
    assert statuses == [503, 503, 200]
    assert fetch(site.url("/fail", key="other")).status == 500


def test_drop_closes_without_an_answer(site: Site) -> None:
    """``/drop`` is noted in the journal and gets no byte back."""
    with pytest.raises(BadStatusLine):
        fetch(site.url("/drop"))
    assert [arrival.path for arrival in site.journal()] == ["/drop"]


def test_drop_recovers(site: Site) -> None:
    """``/drop`` with ``times`` answers once its failures are used up."""
    with pytest.raises(BadStatusLine):
        fetch(site.url("/drop", times=1))
    assert fetch(site.url("/drop", times=1)).status == 200


def test_a_slow_answer_holds_up_no_other(site: Site) -> None:
    """``ms`` delays its own answer, while others are served."""
    parts = urlsplit(site.url("/slow", ms=2000 * HANG))
    with closing(HTTPConnection(parts.netloc, timeout=HANG)) as connection:
        connection.request("GET", f"{parts.path}?{parts.query}")
        assert fetch(site.url("/answer")).status == 200


def test_a_slow_answer_takes_its_time(site: Site) -> None:
    """``ms`` delays an answer for at least that long."""
    begun = time.monotonic()
    assert fetch(site.url("/slow", ms=300)).status == 200
    assert time.monotonic() - begun >= 0.3


def test_an_answer_waits_for_other_requests(site: Site) -> None:
    """``until`` delays an answer until so many requests for a path have come."""
    parts = urlsplit(site.url("/first", until="2:/second"))
    with closing(HTTPConnection(parts.netloc, timeout=HANG)) as connection:
        connection.request("GET", f"{parts.path}?{parts.query}")
        wait_until(lambda: site.journal("/first"))
        for _ in range(2):
            assert site.journal("/first")[0].status == 0
            assert fetch(site.url("/second")).status == 200
        assert connection.getresponse().status == 200


def test_robots_txt_is_configurable(site: Site) -> None:
    """Text and status of robots.txt are what the test set."""
    site.robots("User-agent: *\nDisallow: /secret\n", status=201)
    answer = fetch(site.url("/robots.txt"))
    assert (answer.status, answer.body) == (201, b"User-agent: *\nDisallow: /secret\n")


def test_a_cached_page_is_revalidated(site: Site) -> None:
    """The ETag of the first answer earns a 304, until the version changes; cookies go out with either."""
    first = fetch(site.url("/cached", max_age=9))
    [etag] = first.all("ETag")
    assert (first.status, first.all("Cache-Control")) == (200, ["max-age=9"])
    again = fetch(site.url("/cached", set="a=1"), headers={"If-None-Match": etag})
    assert (again.status, again.body, again.all("Set-Cookie")) == (304, b"", ["a=1"])
    assert fetch(site.url("/cached", version=2), headers={"If-None-Match": etag}).status == 200


def test_whoami_knows_its_visitor(site: Site) -> None:
    """The first visit is given a cookie; the second, with it, is recognised and given none."""
    first = fetch(site.url("/whoami"), headers={"User-Agent": "one"})
    [cookie] = first.all("Set-Cookie")
    assert first.json()["new"] is True
    assert first.json()["headers"]["user-agent"] == "one"
    second = fetch(site.url("/whoami"), headers={"Cookie": cookie.partition(";")[0]})
    assert (second.json()["new"], second.all("Set-Cookie")) == (False, [])
    assert second.json()["who"] == first.json()["who"]


def test_two_visitors_are_two(site: Site) -> None:
    """No two visitors get the same cookie."""
    assert fetch(site.url("/whoami")).json()["who"] != fetch(site.url("/whoami")).json()["who"]


def test_a_secret_needs_its_cookie(site: Site) -> None:
    """Only the cookie of a login opens ``/secret``; others are told so in either of two ways."""
    assert fetch(site.url("/secret"), headers={"Cookie": "auth=forged"}).status == 401
    assert fetch(site.url("/secret", login="redirect")).all("Location") == ["/login?next=/secret"]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    login = fetch(site.url("/login"), "POST", form, "user=alice")
    assert (login.status, login.all("Location")) == (303, ["/secret"])
    cookie = login.all("Set-Cookie")[0].partition(";")[0]
    assert b"alice" in fetch(site.url("/secret"), headers={"Cookie": cookie}).body


def test_pages_link_to_each_other(site: Site) -> None:
    """From page 0 every page below ``of`` is linked exactly once, with the query kept."""
    body = "".join(fetch(site.url(f"/page/{n}", of=10)).body.decode() for n in range(10))
    assert sorted(f"/page/{n}?of=10" for n in range(1, 10)) == sorted(
        part.partition('"')[0] for part in body.split('href="')[1:]
    )


def visit(site: Site) -> dict[str, str]:
    """Go to ``/identity/`` as a newcomer, and return the headers to come back with."""
    headers = {"User-Agent": "one", "Accept-Language": "en"}
    [cookie] = fetch(site.url("/identity/1", expect="one"), headers=headers).all("Set-Cookie")
    return {**headers, "Cookie": cookie.partition(";")[0]}


def test_a_faithful_visitor_violates_nothing(site: Site) -> None:
    """The same sid with the same agent, language and expectation is welcome, again and again."""
    headers = visit(site)
    for _ in range(3):
        fetch(site.url("/identity/2", second=True, expect="one"), headers=headers)
    assert site.violations() == []
    [seen] = site.visitors().values()
    assert (seen["visits"], seen["user_agent"], seen["language"], seen["expect"]) == (4, "one", "en", "one")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"User-Agent": "two"}, "user agent"),
        ({"Accept-Language": "de"}, "language"),
        ({"Host": "elsewhere.test"}, "host"),
    ],
)
def test_another_identity_is_a_violation(site: Site, change: dict[str, str], what: str) -> None:
    """A known sid that arrives with another agent, another language, or at a host it is not for, is recorded."""
    fetch(site.url("/identity/2"), headers={**visit(site), **change})
    [violation] = site.violations()
    assert (violation["what"], violation["path"]) == (what, "/identity/2")
    assert violation["now"] in change.values()


def test_a_crossed_cookie_is_a_violation(site: Site) -> None:
    """A sid that arrives under another session's ``X-Expect`` is recorded even if all headers agree."""
    fetch(site.url("/identity/2", expect="other"), headers=visit(site))
    assert [violation["what"] for violation in site.violations()] == ["expect"]


def test_two_sids_at_once_are_a_violation(site: Site) -> None:
    """A request that carries the sids of two visitors is recorded."""
    fetch(site.url("/identity/1"), headers={"Cookie": "sid=v1; sid=v2"})
    assert [violation["what"] for violation in site.violations()] == ["several sids"]


def test_a_domain_cookie_may_go_to_subdomains(site: Site) -> None:
    """A sid given for a domain is welcome on its subdomains, and nowhere else."""
    headers = {"Host": "www.shop.test"}
    [cookie] = fetch(site.url("/identity/1", domain="shop.test"), headers=headers).all("Set-Cookie")
    assert cookie.endswith("; Domain=shop.test")
    sid = {"Cookie": cookie.partition(";")[0]}
    fetch(site.url("/identity/2"), headers={"Host": "api.shop.test", **sid})
    assert site.violations() == []
    fetch(site.url("/identity/3"), headers={"Host": "myshop.test", **sid})
    assert [violation["what"] for violation in site.violations()] == ["host"]


def test_an_identity_page_may_redirect_and_fail(site: Site) -> None:
    """Redirects and failures of the area assign and check identities too."""
    assert fetch(site.url("/identity/1", to="/identity/2")).all("Set-Cookie") != []
    assert fetch(site.url("/identity/3", times=1)).all("Set-Cookie") != []
    assert len(site.visitors()) == 2


def test_five_thousand_requests_are_quick(site: Site) -> None:
    """The site answers and remembers 5,000 requests within half a minute, or longer if the machine has other work."""
    begun = time.monotonic()
    with closing(HTTPConnection(HOST, site.ports[0], timeout=HANG)) as connection:
        for number in range(5000):
            connection.request("GET", f"/identity/{number}", headers={"Cookie": f"sid=s{number % 50}"})
            connection.getresponse().read()
    assert time.monotonic() - begun < 30 * slowness()
    assert len(site.journal("/identity/")) == 5000
    assert len(site.visitors()) == 50


def test_it_stops_cleanly() -> None:
    """Leaving the context ends the process with status 0."""
    running = Site().start()
    assert running.stop() == 0
    assert running.stop() == 0


def test_it_dies_with_its_parent() -> None:
    """When the process that started the site is killed, the site ends."""
    parent_code = "from tests.support.site import Site; print(Site().start().pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", parent_code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as parent:
        assert parent.stdout is not None
        assert int(parent.stdout.readline()) != parent.pid
        parent.kill()
        # The site writes to the same standard error: that pipe ends only once both processes are gone.
        parent.communicate(timeout=HANG)


SPIDER = """
import scrapy

class Names(scrapy.Spider):
    name = "names"

    async def start(self):
        for host in ("www.shop.test", "shop.test", "localhost"):
            yield scrapy.Request(f"http://{host}:{self.port}/answer")

    def parse(self, response):
        pass
"""


def test_the_resolver_sends_test_names_to_the_site(site: Site, tmp_path: Path) -> None:
    """A real crawl reaches the site as www.shop.test and shop.test, and other names still resolve."""
    (tmp_path / "names.py").write_text(SPIDER)
    options = [f"-s{name}={value}" for name, value in RESOLVER_SETTINGS.items()]
    finished = subprocess.run(
        [sys.executable, "-m", "scrapy", "runspider", "names.py", "-a", f"port={site.ports[0]}", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert "DNS_RESOLVER setting is deprecated" not in finished.stderr
    hosts = sorted(arrival.host.partition(":")[0] for arrival in site.journal("/answer"))
    assert hosts == ["localhost", "shop.test", "www.shop.test"], finished.stderr
