"""The environments of the peers: one each, as one of them shares our import name. Made once, with ``venv`` and pip."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

__all__ = ["COOKIES_FIXED", "CRAWLEE", "PEERS", "SCRAPY_SESSIONS", "Peer", "PeerUnavailable", "python_of"]

_FOLDER = "SCRAPY_SESSIONS_BENCH_PEERS"
_TIMEOUT = 300  # seconds that pip may take
_NOT_TRIED_TWICE: dict[str, str] = {}


class PeerUnavailable(Exception):
    """Says why a peer can't be measured here, in words for the table: no path, no host."""


class Peer(NamedTuple):
    """A package to be compared with.

    :param name: as people know it, without the version
    :param pins: what pip installs, the peer first; ``{scrapy}`` stands for the version of Scrapy that we run on
    """

    name: str
    pins: tuple[str, ...]

    @property
    def requirements(self) -> list[str]:
        # The same Scrapy on both sides: what differs is then what the peer does.
        return [pin.format(scrapy=version("scrapy"), twisted=version("twisted")) for pin in self.pins]

    @property
    def title(self) -> str:
        return self.pins[0].replace("==", " ")


_SCRAPY = ("scrapy=={scrapy}", "twisted=={twisted}")
SCRAPY_SESSIONS = Peer("scrapy-sessions", ("scrapy-sessions==0.9", *_SCRAPY))
# Its metadata name none of the two that it imports.
COOKIES_FIXED = Peer(
    "scrapy-cookies-fixed", ("scrapy-cookies-fixed==0.3.6.1", *_SCRAPY, "six==1.17.0", "pymongo==4.20.0")
)
CRAWLEE = Peer("crawlee", ("crawlee==1.11.0",))
PEERS = (SCRAPY_SESSIONS, COOKIES_FIXED, CRAWLEE)


def python_of(peer: Peer) -> Path:
    """Return the Python of the environment of *peer*, made if it isn't there. Raises :exc:`PeerUnavailable`."""
    if peer.name in _NOT_TRIED_TWICE:
        raise PeerUnavailable(_NOT_TRIED_TWICE[peer.name])
    names = "-".join(requirement.replace("==", "-") for requirement in peer.requirements)
    folder = _folder() / f"py{sys.version_info.major}{sys.version_info.minor}-{names}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    complete = folder / "complete"
    if not complete.exists():
        print(f"  an environment for {peer.title} …", file=sys.stderr, flush=True)
        try:
            venv.create(folder, with_pip=True, clear=True)
            command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*command, *peer.requirements], check=True, capture_output=True, text=True, timeout=_TIMEOUT)
        except (OSError, subprocess.SubprocessError) as error:
            print(getattr(error, "stderr", None) or error, file=sys.stderr)  # with paths and hosts: not for the table
            _NOT_TRIED_TWICE[peer.name] = f"not measured: pip could not install {' '.join(peer.requirements)}"
            raise PeerUnavailable(_NOT_TRIED_TWICE[peer.name]) from None
        complete.touch()
    return python


def _folder() -> Path:
    return Path(os.environ.get(_FOLDER) or Path(__file__).resolve().parents[1] / ".tox" / "bench_peers")
