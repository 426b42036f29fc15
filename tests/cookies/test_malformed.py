"""A malformed or foreign ``Set-Cookie`` costs that cookie, never the response and never the other cookies."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tests.support.crawl import MODES, Crawl, Job, crawl_jobs
from tests.support.site import Arrival, Site

BAD = {
    "empty": b"",
    "no name and no value": b"=",
    "semicolons": b";;;",
    "control character": b"bad=a\x01b; Path=/",
    "foreign": b"bad=1; Domain=evil.test; Path=/",
    "numeric domain": b"bad=1; Domain=0.1; Path=/",
    "too large": b"bad=" + b"x" * 5000,
    "secure over http": b"bad=1; Secure; Path=/",
    "prefix without its promise": b"__Host-bad=1; Path=/",
}
ODD = {
    "expires": b"odd1=1; Expires=never; Path=/",
    "max-age": b"odd2=1; Max-Age=soon; Path=/",
    "no text": b"odd3=\xff\xfe; Path=/",
    "no date": b"odd4=1; Expires=Fri, 99 Foo 99999 99:99:99 GMT; Path=/",
    "no attributes": b"odd5=1; =x; ; Path=/",
}
KINDS = {"200": 200, "404": 404, "500": 500, "302": 302, "304": 304}


class Run(NamedTuple):
    """The crawl, and what arrived by path, of a retried one the last."""

    crawled: Crawl
    seen: dict[str, Arrival]


@pytest.fixture(scope="module", params=MODES)
def run(request: pytest.FixtureRequest, site_process: Site, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A crawl of answers of every kind that set bad, odd and good cookies, then of a page that is sent them."""
    site = site_process
    site.reset()
    cookies = [*BAD.values(), *ODD.values(), b"good=1; Path=/"]
    if request.param == "reactorless":  # aiohttp lets no such header through
        cookies = [cookie for cookie in cookies if cookie not in {BAD["control character"], ODD["no text"]}]
    first, second = [], []
    for kind, status in KINDS.items():
        meta = {"session_id": kind}
        to: dict[str, Any] = {"to": site.url(f"/target/{kind}")} if status == 302 else {}
        first.append({"url": site.url(f"/answer/{kind}", status=status, set=cookies, **to), "meta": meta})
        second.append({"url": site.url(f"/after/{kind}"), "meta": meta})
    spider = Job("tests.support.spiders.base.Listed", {"steps": [first, second]})
    (crawled,) = crawl_jobs(tmp_path_factory.mktemp("malformed"), spider, mode=request.param, errors=True)
    assert len(crawled.errors) == 1, crawled.log  # that the 500 was given up
    return Run(crawled, {arrival.path: arrival for arrival in site.journal()})


@pytest.mark.parametrize("kind", KINDS)
def test_the_response_reaches_its_callback(run: Run, kind: str) -> None:
    """An answer of any status reaches its callback whatever cookies it brings."""
    path, status = (f"target/{kind}", 200) if kind == "302" else (f"answer/{kind}", int(kind))
    assert run.crawled.item(path=path)["status"] == status


@pytest.mark.parametrize("kind", KINDS)
def test_the_other_cookies_are_kept(run: Run, kind: str) -> None:
    """A good cookie among bad ones is kept, of an answer of any status."""
    assert run.seen[f"/after/{kind}"].cookies["good"] == "1"


@pytest.mark.parametrize("kind", KINDS)
def test_bad_cookies_are_not_sent(run: Run, kind: str) -> None:
    """None of the bad cookies goes back to the site."""
    assert {name for name in run.seen[f"/after/{kind}"].cookies if "bad" in name or not name} == set()


def test_odd_attributes_cost_only_themselves(run: Run) -> None:
    """A cookie with an attribute that says nothing is kept."""
    sent = run.seen["/after/200"].cookies
    assert {sent.get(f"odd{n}") for n in (1, 2, 4, 5)} == {"1"}


@pytest.mark.parametrize("run", ["asyncio"], indirect=True)
def test_a_value_that_is_no_text_is_kept(run: Run) -> None:
    """The bytes of a value go back to the site as they came, whatever they are."""
    assert run.seen["/after/200"].cookies["odd3"] == "\xff\xfe"


def test_refusals_are_counted(run: Run) -> None:
    """Each cookie that was refused is counted, by its reason; a header that holds none at all is not one."""
    counted = {
        name.rpartition("/")[2]: n
        for name, n in run.crawled.stats.items()
        if name.startswith("sessions/cookies/refused/")
    }
    answers = len(KINDS) + 2  # 500 is tried three times
    assert counted["domain_mismatch"] == 2 * answers
    for reason in ("too_large", "insecure_secure", "prefix"):
        assert counted[reason] == answers
    assert run.crawled.stats["sessions/cookies/refused"] == sum(counted.values())
