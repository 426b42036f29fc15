"""A login with a one-time code, which the site accepts once."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from tests.field.application import application
from tests.field.crawling import PASSWORDS, run

KEY = b"12345678901234567890"
STEP = 3
URI = f"otpauth://totp/shop:alice?secret={base64.b32encode(KEY).decode()}&period={STEP}"


def test_password_and_code(tmp_path: Path) -> None:
    """A logout in the middle costs one more code, which is another one; the second run needs none."""
    notes = [f"/notes/{number}/" for number in range(1, 21)]
    secret = {"ALICE": json.dumps({"username": "alice", "password": PASSWORDS["alice"], "totp": URI})}
    with application(tmp_path / "app", "two_factor", KEY.hex(), str(STEP)) as app:
        app.log_out(["alice"], after=5)
        for logins in ({"alice": 2}, {}):
            done = run(
                tmp_path,
                app,
                "two_factor.TwoFactor",
                ["alice"],
                notes,
                environment=secret,
                SESSIONS_CREDENTIALS="env:ALICE",
            )
            done.check(["alice"], notes)
            assert done.counts.logins == logins
            assert "12345678" not in done.crawl.log
            assert PASSWORDS["alice"] not in done.crawl.log
