"""Runs the spider ``accounts_browser`` twice against a shop whose login needs a browser that runs its script.

The first run logs in with Chromium, and reads all other pages over plain HTTP. The second run needs no browser at all.

``python example_project/demo_browser.py``: exit status 0 if it went that way, 1 with the spider's log if it did not.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from demo import DemoError, Run, crawl, main, seen_by_shop, shop

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-proxy-server"]


def browser() -> str:
    """Return the path of the installed Chromium. Raises :exc:`DemoError` if there is none."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise DemoError(
            "There is no browser: install chromium (on Debian and Ubuntu: apt install chromium), or name one in the "
            "environment, as CHROMIUM."
        )
    return found


def show(number: int, run: Run) -> None:
    print(
        f"run {number}: {run.logins} logins, {run.in_browser} pages in the browser, "
        f"{run.pages - run.in_browser} pages over HTTP, {run.items} items",
        flush=True,
    )


def demonstrate(folder: Path) -> None:
    """Print both runs. Raises :exc:`DemoError` if they did not go as promised."""
    options = json.dumps({"executable_path": browser(), "args": ARGUMENTS})
    with shop("--scripted") as url:
        print(f"A shop is open at {url}. Its login needs a browser that runs the script of the form.", flush=True)
        first = crawl(url, folder, "accounts_browser", PLAYWRIGHT_LAUNCH_OPTIONS=options)
        show(1, first)
        second = crawl(url, folder, "accounts_browser", PLAYWRIGHT_LAUNCH_OPTIONS=options)
        show(2, second)
        counts = seen_by_shop(url)
    if first.logins != counts["logins"] or not first.logins:
        raise DemoError("The first run should have logged in by the browser, and once for each customer.", first.log)
    if not 0 < first.in_browser < first.pages:
        raise DemoError("The first run should have opened the login alone in the browser.", first.log)
    if second.logins or second.in_browser or second.items != first.items:
        raise DemoError("The second run should have read the same pages without a login and a browser.", second.log)
    if counts["mixed_identities"]:
        raise DemoError("The shop saw a session come with another user agent.", second.log)
    print(f"The shop counted {counts['logins']} logins in all, and no session that changed its browser.")


if __name__ == "__main__":
    sys.exit(main(demonstrate))
