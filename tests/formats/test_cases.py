"""Small files as other tools write them, each with what a user expects of its import (``cases/README.md``)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.exchange import STORE, stored
from tests.support.in_process import called

CASES = Path(__file__).parent / "cases"
EXPECTED: dict[str, dict[str, Any]] = json.loads((CASES / "expected.json").read_text())
VALUES = ("s-3f9a", "t-5521", "7 items")


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_is_read_for_what_it_is(name: str, tmp_path: Path) -> None:
    """The outcome is one of those accepted for the case; no message contains the value of a cookie."""
    case = EXPECTED[name]
    shutil.copy(CASES / name, tmp_path / name)
    done = called(tmp_path, "--store", STORE, "import", name, "alice", "--namespace", "shop", *case["options"])
    said = (done.out + done.err).replace(name, "").lower()
    assert "traceback" not in said
    assert not [value for value in VALUES if value in said]
    problems = [problem(outcome, done.code, said, tmp_path) for outcome in case["accept"]]
    assert None in problems, (problems, done)


def problem(outcome: dict[str, Any], code: int, said: str, folder: Path) -> str | None:
    """Say what differs from *outcome*, ``None`` if nothing does."""
    record = stored(folder, "alice") if (folder / STORE).exists() else None
    phrases = outcome.get("refused") or outcome["says"]
    if phrases and not any(phrase.lower() in said for phrase in phrases):
        return f"none of {phrases} is said"
    if "refused" in outcome:
        return None if code and record is None else "it was imported"
    if (
        record is None
        or code not in {0, 1}
        or (code and not any(word in said for word in ("expired", "refused", "left out")))
    ):
        return f"it failed with {code}"
    cookies = {cookie.name: cookie.model_dump() for cookie in record.cookies}
    expected = {cookie["name"]: cookie for cookie in outcome["kept"]}
    if cookies.keys() != expected.keys():
        return f"it has the cookies {sorted(cookies)}"
    for cookie_name, fields in expected.items():
        for field, value in fields.items():
            found = cookies[cookie_name][field]
            near = field == "expires" and None not in (found, value) and abs(found - value) < 1
            if found != value and not near:
                return f"{field} of {cookie_name} is {found!r}, not {value!r}"
    for field in ("user_agent", "language"):
        if field in outcome and getattr(record, field) != outcome[field]:
            return f"{field} is {getattr(record, field)!r}"
    return None
