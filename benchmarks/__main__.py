"""Runs the measures, all or those named, and prints one table of what they found. A full run also writes RESULTS.md."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks import (
    browser,
    cost,
    crawl,
    files,
    fleet,
    header,
    hold,
    instructions,
    listing,
    memory,
    pool,
    report,
    saving,
    scale,
    startup,
)
from benchmarks.figures import FULL, TINY, Curve, Row, environment, table
from benchmarks.processes import WorkerFailed

MEASURES = {
    "cost": cost.measure,
    "header": header.measure,
    "crawl": crawl.measure,
    "scale": scale.measure,
    "saving": saving.measure,
    "hold": hold.measure,
    "pool": pool.measure,
    "memory": memory.measure,
    "listing": listing.measure,
    "startup": startup.measure,
    "files": files.measure,
    "instructions": instructions.measure,
    "fleet": fleet.measure,
    "browser": browser.measure,
}


def main() -> None:
    options = _options()
    began = time.monotonic()
    size = TINY if options.tiny else FULL
    size = size._replace(peers="peers" not in options.without, counts="callgrind" not in options.without)
    rows: list[Row | Curve] = []
    failed: list[str] = []
    for name in options.names or MEASURES:
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            rows += MEASURES[name](size)
        except WorkerFailed as error:  # what the others found in twenty minutes is not to be lost
            print(f"{name} failed: {error}", file=sys.stderr)
            failed.append(name)
    print(f"{environment()}\n")
    print(table(rows))
    if failed:
        sys.exit(f"No results were written, as these measures failed: {', '.join(failed)}")
    folder = options.results
    if folder is None and not (options.tiny or options.names or options.without):
        folder = Path(__file__).resolve().parent
    if folder is not None:
        report.write(folder, rows, (time.monotonic() - began) / 60)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="measure", help=f"of {', '.join(MEASURES)}; by default all")
    parser.add_argument(
        "--tiny", action="store_true", help="small numbers, to see that it runs: the figures say nothing"
    )
    parser.add_argument(
        "--without",
        action="append",
        choices=("peers", "callgrind"),
        default=[],
        help="leave out packages that have to be installed for it, or the counting of instructions",
    )
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FOLDER",
        help="write RESULTS.md and the plot there; by default a full run writes them beside this program",
    )
    options = parser.parse_args()
    unknown = set(options.names).difference(MEASURES)
    if unknown:
        parser.error(f"there is no measure {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    return options


if __name__ == "__main__":
    main()
