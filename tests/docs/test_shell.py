"""What the documentation shows of ``scrapy shell`` and ``scrapy fetch`` does what it says."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.support.docs_pages import blocks, page_named
from tests.support.shells import Project, Prompt, names
from tests.support.site import Site


def test_shell_page_runs(tmp_path: Path, site: Site) -> None:
    """The commands of the page and what it types at their prompts work; who logged in by hand is in for the crawl."""
    project = Project(tmp_path, site)
    code = [block for block in blocks(page_named("shell")) if block.language in ("console", "python")]
    text = "\n".join(block.text for block in code).replace("https://shop.example/account", site.url("/secret"))
    text = text.replace("https://shop.example", site.url("").rstrip("/"))
    shell, fetch, *lines = filter(None, text.splitlines())
    by_hand = next(n for n, line in enumerate(lines) if line.startswith("$ "))

    def arguments(line: str, command: str) -> list[str]:
        assert line.startswith(f"$ scrapy {command} ")
        return shlex.split(line)[3:]

    with Prompt(project, *arguments(shell, "shell")) as prompt:
        assert prompt.say("response.css('p::text').get()") == "Hello, alice"
        assert prompt.say(*lines[:by_hand], "orders.status, session.actions[-1][-3:]") == "200 200"
        prompt.leave()
    record = project.record()
    assert (record.data, names(record)) == ({"basket": 17}, ["auth", "currency"])
    assert project.record("bob").generation == 2  # one login, and login_again()
    output, _ = project.run("fetch", *arguments(fetch, "fetch"))
    assert "Hello, alice" in output
    with Prompt(project, *arguments(lines[by_hand], "shell")) as prompt:
        assert prompt.say(*lines[by_hand + 1 : -2], lines[-2]) == site.url("/secret")
    carol = project.record("carol", spider="plain")
    assert (names(carol), carol.idle_timeout) == (["auth"], 0)
    project.run("crawl", *arguments(lines[-1], "crawl"), "-a", "pages=1")
    assert site.journal("/answer")[-1].cookies == {cookie.name: cookie.value for cookie in carol.cookies}
