"""Only the environment ``field`` of tox.ini has the applications: elsewhere nothing is collected."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

pytest.register_assert_rewrite("tests.field.crawling")
collect_ignore_glob = [] if find_spec("rest_framework") else ["test_*.py"]
