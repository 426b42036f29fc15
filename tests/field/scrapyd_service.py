"""A real Scrapyd in a folder of its own, spoken to through its API."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

import scrapy_sessions

__all__ = ["Scrapyd", "build_egg", "scrapyd"]

_SECONDS = 60
_PAUSE = 0.1
# The package under test may be installed, or stand in this checkout.
_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(scrapy_sessions.__file__).parents[1])}
_open = build_opener(ProxyHandler({})).open


class Scrapyd:
    """The service: ``folder`` is the working directory of its jobs, ``url`` its address."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"

    def call(self, method: str, *, egg: Path | None = None, **arguments: Any) -> dict[str, Any]:
        """Return the answer of its method: a GET without arguments, else a POST."""
        body = urlencode(arguments, doseq=True).encode() or None
        headers = {}
        if egg is not None:
            body, headers = _multipart(arguments, egg)
        with _open(Request(f"{self.url}/{method}.json", body, headers), timeout=_SECONDS) as response:
            answer: dict[str, Any] = json.loads(response.read())
        assert answer["status"] == "ok", answer
        return answer

    def run(self, project: str, spider: str, **settings: str) -> str:
        """Run a spider to its end, and return its log."""
        given = [f"{name}={value}" for name, value in settings.items()]
        return self.log(project, spider, self.call("schedule", project=project, spider=spider, setting=given)["jobid"])

    def log(self, project: str, spider: str, job: str) -> str:
        """Return the log of a job, once it has ended."""
        deadline = time.monotonic() + _SECONDS
        while job not in {done["id"] for done in self.call("listjobs")["finished"]}:
            assert time.monotonic() < deadline, f"the job is not done after {_SECONDS} s"
            time.sleep(_PAUSE)
        return (self.folder / "logs" / project / spider / f"{job}.log").read_text()


@contextmanager
def scrapyd(folder: Path, **variables: str) -> Iterator[Scrapyd]:
    """Run Scrapyd with *folder* as its working directory, on a free port, with *variables* in its environment."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "scrapyd.conf").write_text(f"[scrapyd]\nhttp_port = {port}\npoll_interval = 0.1\n")
    with (folder / "scrapyd.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "scrapyd"], cwd=folder, env={**_ENVIRONMENT, **variables}, stdout=log, stderr=log
        )
        try:
            service = Scrapyd(folder, port)
            deadline = time.monotonic() + _SECONDS
            while not _answers(service):
                assert process.poll() is None, (folder / "scrapyd.log").read_text()
                assert time.monotonic() < deadline, (folder / "scrapyd.log").read_text()
                time.sleep(_PAUSE)
            yield service
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def build_egg(project: Path, folder: Path) -> Path:
    """Return the egg of *project*, built in *folder* by scrapyd-client."""
    copy = shutil.copytree(project, folder / "project", ignore=shutil.ignore_patterns("__pycache__"))
    egg = folder / "project.egg"
    deploy = [sys.executable, "-W", "ignore", "-m", "scrapyd_client.deploy", "--debug", "--build-egg", str(egg)]
    done = subprocess.run(deploy, cwd=copy, env=_ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return egg


def _answers(service: Scrapyd) -> bool:
    try:
        service.call("daemonstatus")
    except URLError:
        return False
    return True


def _multipart(fields: dict[str, str], egg: Path) -> tuple[bytes, dict[str, str]]:
    boundary = "--the-boundary"
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    parts.append(b'Content-Disposition: form-data; name="egg"; filename="project.egg"\r\n\r\n' + egg.read_bytes())
    body = b"".join(b"--%s\r\n%s\r\n" % (boundary.encode(), part) for part in parts) + f"--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}
