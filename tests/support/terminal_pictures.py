"""Makes ``docs/_static/terminal-light.svg`` and ``-dark.svg``: ``python -m tests.support.terminal_pictures``.

The spider and the commands are those of the README, run in an empty folder, against a local counterpart of the site.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, MONOKAI
from rich.text import Text

from tests.support.docs_pages import DOCS, README, ROOT, blocks
from tests.support.quotes_site import quotes_site

_RUN = ["runspider", "quotes.py"]
_COMMANDS = (_RUN, _RUN, ["sessions", "list"])
_WIDTH = 100

_LOGGED = "[scrapy_sessions.extension] INFO: "
_SHOWN = ("alice logged in", "{'logged in'", "'sessions/created", "'sessions/logins", "'sessions/restored")


def output_of(arguments: list[str], folder: str, proxy: str) -> str:
    """What ``scrapy`` prints; of a crawl, the lines that concern sessions."""
    environment = {
        **os.environ,
        "COLUMNS": str(_WIDTH),
        "PYTHONPATH": str(ROOT),
        "QUOTES_PASSWORD": "secret",
        "http_proxy": proxy,
    }
    command = [sys.executable, "-m", "scrapy", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    if arguments is not _RUN:
        return done.stdout
    lines = (line.rpartition(_LOGGED)[2].strip() for line in done.stderr.splitlines())
    return "\n".join(line for line in lines if line.startswith(_SHOWN))


def main() -> None:
    """Run the commands, and draw what they print."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO())
    with tempfile.TemporaryDirectory() as folder, quotes_site() as site:
        (spider,) = (block for block in blocks(README) if block.file == "quotes.py")
        Path(folder, "quotes.py").write_text(spider.text, encoding="utf-8")
        for arguments in _COMMANDS:
            console.print(Text.assemble(("$ ", "bold green"), (" ".join(["scrapy", *arguments]), "bold")))
            console.print(Text(output_of(arguments, folder, site.url).rstrip("\n")))
    for name, theme in (("light", DEFAULT_TERMINAL_THEME), ("dark", MONOKAI)):
        path = DOCS / "_static" / f"terminal-{name}.svg"
        console.save_svg(str(path), title="quotes.py", theme=theme, clear=False, unique_id="terminal")


if __name__ == "__main__":
    main()
