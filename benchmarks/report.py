"""What a full run leaves behind: ``RESULTS.md`` and the plot beside it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.environments import PEERS
from benchmarks.figures import Curve, Figure, Missing, Row, environment, table
from benchmarks.svg import plot

__all__ = ["write"]

_RESULTS, _PLOT = "RESULTS.md", "scale.svg"


def write(folder: Path, rows: Sequence[Row | Curve], minutes: float) -> None:
    """Write what was found into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    curves = [row for row in rows if isinstance(row, Curve)]
    if curves:
        (folder / _PLOT).write_text(plot(curves), encoding="utf-8")
    (folder / _RESULTS).write_text(_results(rows, curves, minutes), encoding="utf-8")


def _results(rows: Sequence[Row | Curve], curves: Sequence[Curve], minutes: float) -> str:
    bound = [row for row in rows if isinstance(row, Figure) and row.bound is not None]
    held = sum(bool(row.held) for row in bound)
    parts = [
        "# What sessions cost: results",
        "Written by `python -m tox -e bench`: don't edit. What each row means is in [README.md](README.md).",
        _by_bound(held, len(bound), sum(isinstance(row, Missing) for row in rows)),
        table(rows),
    ]
    if curves:
        parts += [
            "## From ten sessions to a million",
            f"![Cost by number of stored sessions]({_PLOT})",
            _points(curves),
        ]
    versions = "\n".join(f"- {line}" for line in (environment(), *_tools()))
    parts += [
        "## Machine and versions",
        f"{versions}\n- The peers: {'; '.join(', '.join(peer.requirements) for peer in PEERS)}",
        "## How to repeat it",
        "On a machine that does nothing else, with valgrind, and 8 GB free where temporary files go (`TMPDIR`):",
        "```\npython -m tox -e bench\n```",
        f"This run took {minutes:.0f} minutes.",
    ]
    return "\n\n".join(parts) + "\n"


def _by_bound(held: int, bound: int, missing: int) -> str:
    text = f"Of {bound} bounds, {held} are held."
    return f"{text} {missing} rows could not be measured: they say why." if missing else text


def _points(curves: Sequence[Curve]) -> str:
    sizes = [str(n) for n, _ in curves[0].points]
    lines = [("stored sessions", *sizes, "to look at it by")]
    for curve in curves:
        name, level = curve.level
        values = [f"{value:.3g} {curve.unit}" for _, value in curve.points]
        lines.append((curve.name, *values, f"{name}: {level:.3g} {curve.unit}"))
    text = [f"| {' | '.join(line)} |" for line in lines]
    text.insert(1, "|---" * len(lines[0]) + "|")
    return "\n".join(text)


def _tools() -> list[str]:
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return []
    told = subprocess.run([valgrind, "--version"], check=False, capture_output=True, text=True).stdout.strip()
    return [told] if told else []
