"""``Request(cookies=…)`` goes into the jar once per request, session and generation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.crawl import Job, crawl_jobs
from tests.support.site import Arrival, Site

Seen = Mapping[str, list[Arrival]]
FORMS: dict[str, Any] = {
    "dict": {"token": "spider"},
    "list": [{"name": "token", "value": "spider"}],
    "full": [{"name": "token", "value": "spider", "domain": "127.0.0.1", "path": "/"}],
}


@pytest.fixture(scope="module")
def seen(site_process: Site, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What arrived, by path or else by the header ``X-Step``."""
    site = site_process
    site.reset()
    requests = []
    for form, cookies in FORMS.items():
        retried = site.url(f"/retry-{form}", times=2, set="token=site; Path=/")
        redirected = site.url(f"/from-{form}", set="token=site; Path=/", to=site.url(f"/to-{form}"))
        for kind, url in (("retry", retried), ("redirect", redirected)):
            requests.append({"url": url, "cookies": cookies, "meta": {"session_id": f"{kind} {form}"}})
    url, other = site.url("/seed", set="seed=site; Path=/"), site.url("/other", "127.0.0.2")
    crawl_jobs(
        tmp_path_factory.mktemp("seeding"),
        Job("tests.support.spiders.base.Listed", {"requests": requests}),
        Job("tests.support.spiders.hops.Reseeding", {"url": url, "other_url": other}),
    )
    seen: dict[str, list[Arrival]] = {}
    for arrival in site.journal():
        seen.setdefault(arrival.header("X-Step") or arrival.path, []).append(arrival)
    return seen


@pytest.mark.parametrize("form", FORMS)
def test_a_retry_keeps_what_the_site_set(seen: Seen, form: str) -> None:
    """A cookie that the site changes on a failed try isn't put back by the retries."""
    sent = [arrival.cookies["token"] for arrival in seen[f"/retry-{form}"]]
    assert sent == ["spider", "site", "site"]


@pytest.mark.parametrize("form", FORMS)
def test_a_redirect_keeps_what_the_site_set(seen: Seen, form: str) -> None:
    """A cookie that the site changes with a redirect isn't put back by the request that follows it."""
    assert [arrival.cookies["token"] for arrival in seen[f"/from-{form}"]] == ["spider"]
    assert [arrival.cookies["token"] for arrival in seen[f"/to-{form}"]] == ["site"]


def test_another_session_gets_the_seed(seen: Seen) -> None:
    """A copy of the request in another session puts its cookies into that session's jar, too."""
    assert [arrival.cookies for arrival in seen["session"]] == [{"seed": "planted"}]


def test_a_new_generation_gets_the_seed(seen: Seen) -> None:
    """A copy of the request after a new login puts its cookies into the jar again."""
    assert [arrival.cookies for arrival in seen["generation"]] == [{"seed": "planted"}]


def test_another_url_gets_the_seed(seen: Seen) -> None:
    """The same cookies on a request elsewhere are put there, although its meta was copied from the first one."""
    assert [arrival.cookies for arrival in seen["/other"]] == [{"seed": "planted"}]
