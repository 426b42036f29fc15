"""``scrapy shell`` in a session: what it changes is in the store after each response, and when it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.crawl import MODES
from tests.support.shells import KILL, Project, Prompt, names
from tests.support.site import Site
from tests.support.waiting import HANG, wait_until

SESSION = "crawler.spider.sessions.of(response)"


@pytest.mark.parametrize("mode", MODES)
def test_response_is_saved_before_the_shell_has_it(tmp_path: Path, site: Site, mode: str) -> None:
    """The shell logs in and follows redirects, and when it is killed at once, every hop is in the store."""
    project = Project(tmp_path, site, mode=mode)
    start = site.url("/chain/0", set="hop=1; Path=/", then=site.url("/secret", set="last=1; Path=/"))
    code = f"print(response.css('p::text').get()), {KILL}"
    output, log = project.run("shell", "--spider", "shop", start, "-c", code, status=-9, log=True)
    assert output == "Hello, alice\n"
    assert "ShellMiddleware" in log
    assert " ERROR: " not in log
    record = project.record()
    assert names(record) == ["auth", "hop", "last"]
    assert (record.status, record.metrics.logins, record.pages_visited) == ("ready", 1, 2)
    assert record.last_url == f"{site.url('/secret')}?set=…"


@pytest.mark.parametrize("mode", MODES)
def test_last_change_is_saved_at_the_end(tmp_path: Path, site: Site, mode: str) -> None:
    """What code changes after the last response is saved when the shell ends, in good order or by an exception."""
    project = Project(tmp_path, site, mode=mode)
    change = f"{SESSION}.data.update(seen=1), {SESSION}.cookies.set('mine', '1', domain='127.0.0.1')"
    output, _ = project.run(
        "shell", "--spider", "shop", site.url("/secret"), "-c", f"response.css('p::text').get(), {change}"
    )
    assert output == "('Hello, alice', None, None)\n"
    record = project.record()
    assert record.data == {"seen": 1}
    assert names(record) == ["auth", "mine"]
    code = f"{SESSION}.data.update(seen=2), 1 / 0"
    _, errors = project.run("shell", "--spider", "shop", site.url("/secret"), "-c", code, status=1)
    assert errors.rstrip().endswith("ZeroDivisionError: division by zero")
    assert project.record().data == {"seen": 2}
    assert sorted(path.name for path in (tmp_path / ".scrapy" / "sessions").glob("sessions.db-*")) == []  # closed
    assert len(site.journal("/login")) == 1


def test_failed_request_is_saved(tmp_path: Path, site: Site) -> None:
    """A request that gets no answer is on record before the shell hears of it."""
    project = Project(tmp_path, site)
    with Prompt(project, "--spider", "shop", site.url("/secret")) as prompt:
        assert prompt.say("response.status") == "200"
        before = project.record()
        prompt.say(f"try: fetch({site.url('/drop')!r})", "except Exception as e: pass", "", "1")
        after = project.record()
    assert after.metrics.failures == before.metrics.failures + 1
    assert after.revision == before.revision + 1


def test_change_between_responses_is_saved_within_the_interval(tmp_path: Path, site: Site) -> None:
    """What is changed at the prompt, in another thread than the crawl's, is saved without a further response."""
    project = Project(tmp_path, site)
    with Prompt(project, "--spider", "shop", "-s", "SESSIONS_SAVE_INTERVAL=0.01", site.url("/secret")) as prompt:
        assert prompt.say(f"session = {SESSION}", "response.css('p::text').get()") == "Hello, alice"
        prompt.say("_ = session.cookies.set('mine', '1', domain='127.0.0.1')", "1")
        wait_until(lambda: names(project.record()) == ["auth", "mine"])


@pytest.mark.parametrize(("spider", "page"), [("plain", "/page/1"), ("shop", "/secret"), ("shop", "/chain/3")])
def test_a_session_that_rests(tmp_path: Path, site: Site, spider: str, page: str) -> None:
    """``fetch()`` doesn't wait for the end of a rest: it says at once until when the session rests, also if its login
    has used the budget up; and again at the next call."""
    project = Project(tmp_path, site)
    url = site.url(page)
    code = f"fetch({url!r}), response, fetch({url!r}), response"
    budget = 'SESSIONS_BUDGET={"per_hour": 1}'
    output, log = project.run("shell", "--spider", spider, "-s", budget, url, "-c", code, log=True)
    assert output == "(None, None, None, None)\n"
    assert len(site.journal()) == 1
    line = f"{url}> was not sent: The session 'alice' has used up its budget (SESSIONS_BUDGET), and rests until 2"
    assert log.count(line) >= 2
    assert " WARNING: " in log
    assert " ERROR: " not in log
    assert "Traceback" not in log


def test_login_by_hand_is_kept_for_the_crawl(tmp_path: Path, site: Site) -> None:
    """A form posted at the prompt leaves the session logged in: for the next shell, for a crawl, after a kill."""
    project = Project(tmp_path, site)
    form = f"fetch(scrapy.FormRequest({site.url('/login')!r}, formdata={{'user': 'carol'}}))"
    code = f"{form}, {KILL}"
    project.run("shell", "--spider", "plain", site.url("/login"), "-c", code, status=-9)
    assert names(project.record(spider="plain")) == ["auth"]
    project.run("crawl", "plain", "-a", "pages=1")
    output, _ = project.run("shell", "--spider", "plain", site.url("/secret"), "-c", "response.css('p::text').get()")
    assert output == "Hello, carol\n"
    assert names(project.record(spider="plain")) == ["auth", "crawl0"]
    assert site.journal("/answer")[0].cookies.keys() == {"auth"}


def test_shell_beside_a_crawl_and_another_shell(tmp_path: Path, site: Site) -> None:
    """A shell, a crawl and another shell in one session at once lose nothing of each other, and hear of each other."""
    project = Project(tmp_path, site)
    with Prompt(project, "--spider", "plain", site.url("/answer", set="first=1")) as prompt:
        prompt.say("1")
        crawl = project.start("crawl", "plain", "-a", "pages=20", "-s", "SESSIONS_SAVE_INTERVAL=0.01")
        for n in range(5):
            prompt.say(f"fetch({site.url('/answer', set=f'shell{n}=1')!r})", "1")
        _, errors = crawl.communicate(timeout=HANG)
        assert (crawl.returncode, errors) == (0, "")
        code = "crawler.spider.sessions.of(response).data.update(second=1)"
        project.run("shell", "--spider", "plain", site.url("/answer", set="second=1"), "-c", code)
        prompt.say("crawler.spider.sessions.of(response).data['first'] = 1", "1")
        prompt.say(f"fetch({site.url('/answer')!r})", f"fetch({site.url('/answer', key='last')!r})", "1")
        prompt.leave()
    record = project.record(spider="plain")
    expected = ["first", "second", *(f"shell{n}" for n in range(5)), *(f"crawl{n}" for n in range(20))]
    assert names(record) == sorted(expected)
    assert record.data == {"first": 1, "second": 1}
    assert record.pages_visited == record.metrics.requests == 1 + 5 + 20 + 1 + 2
    assert sorted(site.journal("/answer")[-1].cookies) == sorted(expected)


def test_coroutines_run_from_the_prompt(tmp_path: Path, site: Site) -> None:
    """``sessions.run()`` does at the prompt what a spider awaits, and what it changed is saved when it returns."""
    project = Project(tmp_path, site)
    with Prompt(project, "--spider", "shop", site.url("/secret")) as prompt:
        prompt.say("sessions = crawler.spider.sessions", "bob = sessions.run(sessions.get('bob'))", "1")
        page = f"sessions.run(bob.fetch(scrapy.Request({site.url('/secret')!r}))).css('p::text').get()"
        assert prompt.say(page) == "Hello, bob"
        assert names(project.record("bob")) == ["auth"]
        prompt.say("_ = sessions.run(sessions.retire('bob', 'enough'))", "1")
        assert project.record("bob").retired_reason == "enough"
        prompt.say("_ = sessions.run(sessions.delete('bob'))", "1")
        assert project.find("bob") is None


def test_fetch_command(tmp_path: Path, site: Site) -> None:
    """``scrapy fetch`` logs in by the spider's config, prints the page, and the next one is still logged in."""
    project = Project(tmp_path, site)
    outputs = []
    for _ in range(2):
        output, log = project.run("fetch", "--spider", "shop", site.url("/secret", set="seen=1"), log=True)
        outputs.append(output)
        assert "Spider closed (finished)" in log
        assert " ERROR: " not in log
        assert "ShellMiddleware" not in log  # a crawl like any other doesn't pay for the shell
    assert all("Hello, alice" in output for output in outputs)
    assert len(site.journal("/login")) == 1
    record = project.record()
    assert (names(record), record.pages_visited) == (["auth", "seen"], 3)


FAULTY = """
from scrapy_sessions import SessionConfig, StoreError
from scrapy_sessions.storage import MemoryStore


class Down(MemoryStore):
    async def open(self):
        raise StoreError("no server")


class Refusing(SessionConfig):
    async def login(self, session, fetch):
        return False
"""


def test_what_would_close_a_crawl_fails_a_fetch(tmp_path: Path, site: Site) -> None:
    """A store that can't be opened raises in ``fetch()``; a login that fails leaves no response, and nothing hangs."""
    project = Project(tmp_path, site)
    (tmp_path / "faulty.py").write_text(FAULTY)
    fetch = f"fetch({site.url('/answer')!r})"
    down = ["--spider", "plain", "-s", "SESSIONS_STORE=faulty.Down", "-c", fetch]
    _, log = project.run("shell", *down, status=1, log=True)
    assert log.count("Sessions can't be used, so every fetch() fails: no server") == 1
    assert log.rstrip().endswith("StoreError: no server")
    refusing = ["--spider", "plain", "-s", "SESSIONS_CONFIG=faulty.Refusing"]
    refusing += ["-s", "SESSIONS_LOGIN_ATTEMPTS=1", "-s", "SESSIONS_LOGIN_BACKOFF=0"]
    fetch = f"fetch(scrapy.Request({site.url('/answer')!r}, meta={{'session_pool': 'default'}}))"
    with Prompt(project, *refusing) as prompt:
        for _ in range(3):
            # As Scrapy's shell does for every IgnoreRequest: no response, and a line in the log.
            assert prompt.say(fetch, "response") == "None"
