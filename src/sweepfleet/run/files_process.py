"""The process that makes a run's files: `python -m sweepfleet.run.files_process RUN_FOLDER [--early] < facts.json`.

A line feed on standard output says that it is ready, the summary follows once the facts have come. With `--early` it
is started before points run, long before its facts: then a thread of the lowest priority imports what it needs, which
the kernel runs where a core has nothing else to do, and the main thread waits at the ordinary priority, at which it
does the work later. Nobody may raise a priority that was lowered: hence two threads. polars starts its own ones when
it is first used, by the main thread, so they have its priority.

An early process ends when its owner does, and when it is not asked for `KEEP_S`: a week's sweep does not carry it.
"""

# What is imported up here costs points time.
import os
import select
import sys
import threading

KEEP_S = 30.0
EXIT_FULL = 28  # ENOSPC: the disk has no room for the files
EXIT_AFRESH = 75  # before it was ready: its owner starts another one


def main() -> None:
    """Write the files of the folder that the command line names."""
    folder, *options = sys.argv[1:]
    if options == ["--early"]:
        facts = _facts_later()
    else:
        _prepare()
        facts = sys.stdin.read()
    code = _write(folder, facts)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # there is nothing to be put in order, which takes Python and polars a while


def _facts_later() -> str:
    """The facts, when they arrive; meanwhile this process prepares. Does not return when none arrive."""
    threading.Thread(target=_prepare_aside, daemon=True).start()
    come, _, _ = select.select([sys.stdin], [], [], KEEP_S)
    facts = sys.stdin.read() if come else ""
    if not facts:
        os._exit(0)
    return facts  # they come only when this process has said that it is ready


def _prepare_aside() -> None:
    """Prepare in a thread that runs only on idle cores."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # of this thread, not of the process
        _prepare()
    except BaseException:  # noqa: BLE001 - whatever it is: a fresh process meets it too, and says so
        os._exit(EXIT_AFRESH)


def _prepare() -> None:
    """Import what writing them needs, and say so."""
    from sweepfleet.slot.compiled import keep

    keep()  # before all else is imported
    import numpy.ma  # noqa: F401 - polars imports it when it meets an array

    from sweepfleet.run.report.assemble import PLOTLY, library

    library(*PLOTLY)
    os.write(1, b"\n")


def _write(folder: str, facts: str) -> int:
    """Write the files, and the summary to standard output; the exit code."""
    import json
    from pathlib import Path

    from sweepfleet.grid.errors import SweepfleetError
    from sweepfleet.run.disk import FullDiskError
    from sweepfleet.run.folder import RunFolder
    from sweepfleet.run.run_files import write_files
    from sweepfleet.run.summary import Facts

    try:
        summary = write_files(RunFolder(Path(folder)), Facts.from_json(facts))
    except SweepfleetError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FULL if isinstance(error, FullDiskError) else 1
    json.dump(summary.to_dict(), sys.stdout)
    return 0


if __name__ == "__main__":
    main()
