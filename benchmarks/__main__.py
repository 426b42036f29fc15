"""Runs the measures, all or those named, and prints one table of what they found."""

from __future__ import annotations

import argparse
import sys

from benchmarks import cost, header, hold, listing, start
from benchmarks.figures import FULL, TINY, environment, table

MEASURES = {
    "cost": cost.measure,
    "header": header.measure,
    "start": start.measure,
    "hold": hold.measure,
    "listing": listing.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="measure", help=f"of {', '.join(MEASURES)}; by default all")
    parser.add_argument(
        "--tiny", action="store_true", help="small numbers, to see that it runs: the figures say nothing"
    )
    options = parser.parse_args()
    unknown = set(options.names).difference(MEASURES)
    if unknown:
        parser.error(f"there is no measure {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    figures = []
    for name in options.names or MEASURES:
        print(f"{name} …", file=sys.stderr, flush=True)
        figures += MEASURES[name](TINY if options.tiny else FULL)
    print(f"{environment()}\n")
    print(table(figures))


if __name__ == "__main__":
    main()
