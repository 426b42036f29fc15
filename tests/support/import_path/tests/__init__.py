"""The tests, for processes that they start: its folder on ``PYTHONPATH`` makes them importable, and nothing else.

The root of the checkout can't stand there: before the packages that are installed it hides the one under test, and
after them a package that came with a top-level ``tests`` of its own, as scrapy-impersonate 1.10 did, hides the tests.
"""

from pathlib import Path

__path__ = [str(Path(__file__).parents[3])]
