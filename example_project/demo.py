"""Runs the spider ``accounts`` three times against one shop.

The second run needs no login. In the middle of the third, the shop logs alice out: she logs in again, and no page is
lost.

``python example_project/demo.py``: exit status 0 if it went that way, 1 with the spider's log if it did not.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
RUN_SECONDS = 120
STOP_SECONDS = 10


class DemoError(Exception):
    """The demo didn't show what it promises. ``log`` is what the spider wrote meanwhile."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


@dataclass(frozen=True)
class Run:
    """How one run of the spider went."""

    pages: int
    logins: int
    restored: int
    replays: int
    items: int
    in_browser: int
    log: str


@contextmanager
def shop(*options: str) -> Iterator[str]:
    """Run the shop in its own process, on a free port, with *options* of its command line, and give its URL."""
    # The shop stops when its standard input ends, so it can't outlive the demo, however that ends.
    process = subprocess.Popen(
        [sys.executable, "-m", "shop_site", "--stop-at-eof", *options],
        cwd=HERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        if not url:
            raise DemoError("The shop didn't start: see its error above.")
        yield url
    finally:
        process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def crawl(url: str, folder: Path, spider: str = "accounts", **more: str) -> Run:
    """Run *spider* once, with its sessions in *folder* and *more* settings. Raises :exc:`DemoError` if it fails."""
    stats_file = folder / "stats.json"
    stats_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "scrapy", "crawl", spider]
    settings = {"SHOP_SITE": url, "SESSIONS_STORE": f"sqlite:///{folder / 'sessions.db'}", "STATS_FILE": stats_file}
    for name, value in {**settings, **more}.items():
        command += ["-s", f"{name}={value}"]
    log_file = folder / "log.txt"
    with log_file.open("w", encoding="utf-8") as log:
        try:
            status = subprocess.run(
                command, cwd=HERE, stdout=log, stderr=log, timeout=RUN_SECONDS, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            status = None
    text = log_file.read_text(encoding="utf-8", errors="replace")
    if status is None:
        raise DemoError(f"The spider hadn't finished after {RUN_SECONDS} seconds.", text)
    if status or not stats_file.exists():
        raise DemoError(f"The spider failed (exit status {status}).", text)
    stats = json.loads(stats_file.read_text(encoding="utf-8"))
    answered = stats.get("downloader/response_status_count/200", 0)
    return Run(
        pages=answered - stats.get("robotstxt/response_status_count/200", 0),
        logins=stats.get("sessions/logins", 0),
        restored=stats.get("sessions/restored", 0),
        replays=stats.get("sessions/replays", 0),
        items=stats.get("item_scraped_count", 0),
        in_browser=stats.get("playwright/page_count", 0),
        log=text,
    )


def ask(url: str, path: str, method: str = "GET") -> bytes:
    """What the shop answers to somebody without a cookie."""
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=STOP_SECONDS)) as connection:
        connection.request(method, path)
        return connection.getresponse().read()


def seen_by_shop(url: str) -> dict[str, int]:
    """The counts of the shop itself."""
    counts: dict[str, int] = json.loads(ask(url, "/stats"))
    return counts


def log_out(url: str, user: str, after: int) -> None:
    """Let the shop log *user* out once *after* more pages have been read."""
    ask(url, f"/admin/expire?user={user}&after={after}", "POST")


def show(number: int, run: Run) -> None:
    print(
        f"run {number}: {run.pages} pages, {run.logins} logins, {run.restored} sessions restored, "
        f"{run.replays} requests sent again",
        flush=True,
    )


def demonstrate(folder: Path) -> None:
    """Print both runs. Raises :exc:`DemoError` if the second one wasn't let in by the sessions of the first."""
    with shop() as url:
        print(f"A shop is open at {url}. The spider reads the accounts of alice and bob, three times.", flush=True)
        first = crawl(url, folder)
        show(1, first)
        if not first.logins:
            raise DemoError("The first run should have logged in.", first.log)
        second = crawl(url, folder)
        show(2, second)
        print("Now the shop logs alice out, after two more pages of hers.", flush=True)
        log_out(url, "alice", 2)
        third = crawl(url, folder)
        show(3, third)
        counts = seen_by_shop(url)
    if second.logins or counts["logins"] != first.logins + third.logins:
        raise DemoError("The second run logged in again: its sessions were not those of the first.", second.log)
    if not second.restored:
        raise DemoError("The second run restored no session.", second.log)
    if not second.pages:
        raise DemoError("The second run read no page.", second.log)
    if counts["expired"] != 1 or third.logins != 1 or not third.replays:
        raise DemoError("The third run should have been logged out once, and should have logged in again.", third.log)
    if third.items != second.items:
        raise DemoError("The third run lost pages to the logout.", third.log)
    if counts["mixed_identities"]:
        raise DemoError("The shop saw a session come with another user agent.", second.log)
    print(f"The shop counted {counts['logins']} logins in all. The second run needed none, the third recovered.")


def main(demonstrate: Callable[[Path], None]) -> int:
    """Run *demonstrate* in an empty folder, and say what failed."""
    with tempfile.TemporaryDirectory(prefix="scrapy-sessions-demo-") as folder:
        try:
            demonstrate(Path(folder))
        except DemoError as error:
            if error.log:
                print(f"\n--- log of the run ---\n{error.log}--- end of the log ---\n", file=sys.stderr)
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(demonstrate))
