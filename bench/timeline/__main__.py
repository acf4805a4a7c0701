"""Show what each process of a command did, and when, on one time axis.

    uv run python -m bench.timeline [--out FILE.html|.svg] [--least MS] -- inv sweep GRID --local

Prints the processes, the marks and where the seconds went. How to read it: bench/README.md.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from bench.timeline.picture import page, svg
from bench.timeline.record import record
from bench.timeline.text import LEAST_S, lines


def main() -> None:
    """Run, print, draw; ends with the command's exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.timeline", description=__doc__)
    parser.add_argument("--out", type=Path, help="a picture: FILE.html or FILE.svg")
    parser.add_argument("--least", type=float, default=LEAST_S * 1000, metavar="MS", help="leave out shorter spans")
    parser.add_argument("command", nargs="+", help="after --: what to run")
    options = parser.parse_args()
    if options.out is not None and options.out.suffix not in (".html", ".svg"):
        parser.error(f"--out {options.out}: a name that ends in .html or .svg.")
    try:
        recording = record(options.command)
    except OSError as error:
        parser.error(f"{shlex.join(options.command)} cannot be run: {error.strerror}.")
    print("\n".join(lines(recording, least_s=options.least / 1000)), flush=True)
    if options.out is not None:
        options.out.write_text(page(recording) if options.out.suffix == ".html" else svg(recording))
        print(f"\nPicture: {options.out}")
    sys.exit(recording.code)


if __name__ == "__main__":
    main()
