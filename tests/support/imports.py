"""What an import loads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import scrapy_sessions

__all__ = ["loaded_by"]


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after *statement*."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    # An interpreter looks where it stands first: there, it finds the very package under test.
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=Path(scrapy_sessions.__file__).parents[1], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))
