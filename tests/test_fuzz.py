"""Parsers survive whatever they are given: our exception or none, no hang, and no cookie that RFC 6265bis refuses."""

from __future__ import annotations

import os

import pytest

from tests.support.fuzzing import SEEDS, TARGETS, mutations

CASES = int(os.environ.get("FUZZ_CASES") or 100_000)
SHARES = {"set_cookie": 0.5, "record": 0.3, "file": 0.1, "arguments": 0.02, "settings": 0.08}


@pytest.mark.heavy
@pytest.mark.parametrize("name", TARGETS)
def test_any_input(name: str) -> None:
    """Good inputs with random changes: 100,000 in all, a million in ``tox -e long``."""
    target = TARGETS[name]
    for content in SEEDS[name]:
        target(content)
    content = b""
    try:
        for content in mutations(name, round(CASES * SHARES[name]), seed=CASES):
            target(content)
    except BaseException:
        print(f"TARGETS[{name!r}]({content!r})")
        raise
