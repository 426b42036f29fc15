"""The examples of notifications work."""

from __future__ import annotations

import ast
import json
import shlex
import shutil
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.docs_pages import blocks, page_named
from tests.support.site import Site
from tests.support.waiting import HANG

PAGE = page_named("notifications")
EVENT = json.dumps({"event": "retired", "session_id": "alice", "spider": "shop", "reason": "banned"})


class Mail(socketserver.StreamRequestHandler):
    """Takes one message (RFC 5321), and keeps what was said."""

    said: list[str]

    def handle(self) -> None:
        in_message = False
        self.wfile.write(b"220 ready\r\n")
        for line in map(bytes.decode, self.rfile):
            self.said.append(line.rstrip())
            if in_message and line != ".\r\n":
                continue
            command = line.rstrip().upper()
            in_message = command == "DATA"
            self.wfile.write({"DATA": b"354 go on\r\n", "QUIT": b"221 bye\r\n"}.get(command, b"250 done\r\n"))


def test_webhook(site: Site) -> None:
    """The command sends the event to the webhook."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    (text,) = (block.text for block in blocks(PAGE) if "hooks.example" in block.text)
    command = ast.literal_eval(text.partition(" = ")[2]).replace("https://hooks.example/sessions", site.url("/answer"))
    subprocess.run(shlex.split(command), input=EVENT, text=True, check=True, timeout=HANG)
    (arrival,) = site.journal("/answer")
    assert (arrival.method, arrival.header("Content-Type")) == ("POST", "application/json")
    assert arrival.header("Content-Length") == str(len(EVENT))


def test_mail(tmp_path: Path) -> None:
    """The program sends a mail with the event's session and reason."""
    (text,) = (block.text for block in blocks(PAGE) if block.file == "send_mail.py")
    handler = type("Handler", (Mail,), {"said": []})
    with socketserver.TCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        program = tmp_path / "send_mail.py"
        program.write_text(text.replace('"mail.shop.example", 25', f"'127.0.0.1', {server.server_address[1]}"))
        subprocess.run([sys.executable, str(program)], input=EVENT, text=True, check=True, timeout=HANG)
        server.shutdown()
    assert "Subject: shop: retired of alice" in handler.said
    assert "banned" in handler.said
