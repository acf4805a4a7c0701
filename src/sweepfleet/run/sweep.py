"""Runs one sweep command: from a checked grid to the files of a run's folder."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.sweep import Sweep
from sweepfleet.grid.wording import counted
from sweepfleet.run.bundles import Pending
from sweepfleet.run.calls.about import refuse_calls
from sweepfleet.run.checkpoints import Checkpoints, Folder
from sweepfleet.run.disk import FullDiskError, StoppedFullError
from sweepfleet.run.files_writer import FilesWriter
from sweepfleet.run.folder import RunFolder, write_whole
from sweepfleet.run.handover import Mark
from sweepfleet.run.here import slots_here
from sweepfleet.run.ledger import REDO_REQUEST, Ledger
from sweepfleet.run.left import anything_left, asked_again, begun, nothing_left, points_left
from sweepfleet.run.outputs import Recorder
from sweepfleet.run.ownership import META as OWNER
from sweepfleet.run.ownership import check_owner
from sweepfleet.run.pauses import pauses
from sweepfleet.run.progress import Observer
from sweepfleet.run.provenance import Provenance, manifest, provenance
from sweepfleet.run.request import Request, context_of
from sweepfleet.run.run_files import write_summary
from sweepfleet.run.run_progress import Progress, Stop
from sweepfleet.run.selection import AFRESH, Selection, check_redo
from sweepfleet.run.shortage import check_room, shortages_explained
from sweepfleet.run.summary import Facts, Summary, peak_rss_mb
from sweepfleet.slot.context import Context
from sweepfleet.slot.pool import dismiss, prepare
from sweepfleet.slot.source import Start

if TYPE_CHECKING:
    from sweepfleet.run.engine import Engine

EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130
FULL_LONGEST_S = 15.0  # between two looks whether a full disk has room for tables and report
SHUFFLE_KEY = 0x5EED
STORED_EVERY_S = 60.0  # between two looks at a bucket, whether it has checkpoints of finished points
COUNTED = 10_000  # points that are left, beyond which their number makes no difference to who is told of it
WORKERS_PATIENCE_S = 1800  # for the first worker of a cluster: spot capacity may be a while in coming


@shortages_explained()
def run_sweep(sweep: Sweep, request: Request, observer: Observer) -> tuple[Summary, int]:
    """Run what has not ended yet, and write the run's files.

    Returns:
        the summary, and the command's exit code.

    Raises:
        UsageError: nothing was run: there are no points, the target is refused, the ledger cannot be read, another
            process writes. Or the run's first points do not return the metric; what they returned is kept.
        StorageError: the ledger could not be written any more; what was committed is kept. Or it was removed. A full
            disk is waited for, except before the first point: then it is a FullDiskError.
        ClusterError: the cluster went away; likewise.
        ShortageError: there is too little memory to run it.
    """
    check_redo(request.redo)
    chosen = Selection(sweep)
    chosen.check()
    folder = RunFolder(request.runs / sweep.name)
    refuse_calls(folder)
    stop: Stop | None = None
    started: Start | None = None
    recorder = Recorder(folder.output)
    with folder.locked(), FilesWriter(folder) as writer:
        with observer.waiting("looking for the points left to run"):
            left = anything_left(folder, sweep, chosen, request)
            if request.counted is not None:
                some = points_left(folder, sweep, chosen, request, most=COUNTED) if left else 0
                request.counted(some)
        if left:
            # A cluster's workers do not share this disk.
            artifacts = folder.artifacts.absolute() if request.address is None else request.artifacts
            url = request.machine.artifacts_url if request.machine else None
            checkpoints = folder.checkpoints.absolute() if request.address is None else request.checkpoints
            context = context_of(
                sweep,
                root=request.root,
                artifacts=artifacts,
                artifacts_url=url,
                checkpoints=checkpoints,
                checkpoints_url=request.machine.checkpoints_url if request.machine else None,
                function=request.function,
            )
            writer.start()
            # Git may take a while, in which the children import the target.
            ran = _meanwhile(lambda: _provenance(sweep, request))
            with _engine(sweep, request, context, observer) as engine, contextlib.closing(recorder):
                started = engine.start
                stop, progress = _drive(
                    *(sweep, chosen, folder),
                    ran=ran.result(),
                    engine=engine,
                    request=request,
                    observer=observer,
                    recorder=recorder,
                )
        else:
            _note(folder, sweep, _provenance(sweep, request), request)
            progress = begun(folder, chosen)
            observer.say(nothing_left(chosen, request))
        facts = Facts(
            metric=sweep.metric,
            chosen=chosen.conditions,
            warnings=(*sweep.warnings, *recorder.notes()),
            progress=progress,
            stop=stop,
            born_s=request.born_s,
            driver_peak_rss_mb=peak_rss_mb(),
            start=started._asdict() if started else None,
        )
        write = lambda: (None if left else write_summary(folder, facts)) or writer.write(facts)  # noqa: E731
        summary = _with_room(write, observer, progress, stop=stop)
    if stop == "metric" and progress.done + progress.failed == progress.computed:
        raise UsageError(f"{progress.why}\nReport: {folder.report}")
    if stop == "interrupted":
        return summary, EXIT_INTERRUPTED
    return summary, EXIT_FAILED if progress.failed or stop else EXIT_DONE


def _with_room(write: Callable[[], Summary], observer: Observer, progress: Progress, *, stop: Stop | None) -> Summary:
    """Write tables and report; when the disk is full, as soon as there is room.

    Raises:
        StoppedFullError: the user stopped a sweep whose disk is full.
    """
    waiting_for = "writing tables and report"
    for pause_s in pauses(longest_s=FULL_LONGEST_S):
        try:
            with observer.waiting(waiting_for):
                return write()
        except FullDiskError as full:
            if stop == "interrupted":
                lost = f" {progress.waits}." if progress.waits else ""
                raise StoppedFullError(
                    f"Stopped.{lost} Results that were not written are computed again when the same command resumes. "
                    f"{full}"
                ) from None
            now = f"room to write tables and report: {full.disk.name} is full; {full.disk.fix}"
            if waiting_for != now:
                observer.say(f"Waiting for {now}")
            waiting_for = now
            with observer.waiting(waiting_for):
                time.sleep(pause_s)
    raise AssertionError("pauses have no end")


def _provenance(sweep: Sweep, request: Request) -> Provenance:
    return provenance(sweep, root=request.root, command_line=request.command_line, runs=request.runs)


def _meanwhile(look: Callable[[], Provenance]) -> Future[Provenance]:
    """The result of a call in a thread of its own, which is only waited for when it is asked for."""
    found: Future[Provenance] = Future()

    def run() -> None:
        try:
            found.set_result(look())
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            found.set_exception(error)

    threading.Thread(target=run, daemon=True, name="provenance").start()
    return found


def _note(folder: RunFolder, sweep: Sweep, ran: Provenance, request: Request) -> None:
    """Write the manifest, the grid, and the function that came with the request."""
    write_whole(folder.grid, sweep.text)
    if request.function is not None:
        write_whole(folder.function, request.function)
    write_whole(folder.manifest, json.dumps(manifest(folder, sweep, ran, root=request.root), indent=2) + "\n")


@contextlib.contextmanager
def _engine(sweep: Sweep, request: Request, context: Context, observer: Observer) -> Iterator[Engine]:
    slots = slots_here(sweep, workers=request.workers)
    if request.address is None:
        check_room(slots)
        # Started before dask is imported, which takes a second: the children import the target meanwhile.
        prepare(context, slots=slots)
    with contextlib.ExitStack() as stack:
        stack.callback(dismiss, context)
        here = request.address is None
        first = f"starting {counted(slots, 'slot')}: importing {sweep.target.label}" if here else "workers"
        with observer.waiting(first):
            from sweepfleet.run.engines import local_engine, remote_engine

            port = stack.enter_context(
                local_engine(context, slots=slots)
                if request.address is None
                else remote_engine(
                    context,
                    address=request.address,
                    machine=request.machine,
                    patience_s=WORKERS_PATIENCE_S,
                    most_workers=request.most_workers,
                )
            )
        yield port


def _drive(
    sweep: Sweep,
    chosen: Selection,
    folder: RunFolder,
    *,
    ran: Provenance,
    engine: Engine,
    request: Request,
    observer: Observer,
    recorder: Recorder,
) -> tuple[Stop | None, Progress]:
    from sweepfleet.run.driver import Driver  # which imports numpy: the children already know their target
    from sweepfleet.run.unfinished import Unfinished

    with contextlib.closing(Ledger(folder.ledger)) as ledger, _interruptible() as interrupted:
        owner = check_owner(folder, ledger, sweep, root=request.root).to_json()
        if ledger.meta(OWNER) != owner:
            ledger.set_meta(OWNER, owner)
        ledger.adopt(chosen.whole)
        _note(folder, sweep, ran, request)
        mark = Mark.read(ledger)
        if request.address is None or (request.redo and ledger.meta(REDO_REQUEST) != request.redo_request):
            mark = Mark(ledger)  # what workers still have was computed before this request
        stored = request.stored or Folder(folder.checkpoints)
        checkpoints = Checkpoints(stored, ledger, every_s=STORED_EVERY_S if request.stored else 0.0)
        checkpoints.begin(again=asked_again(sweep, chosen, ledger, request) if request.redo in AFRESH else ())
        ledger.redo(asked_again(sweep, chosen, ledger, request), request=request.redo_request)
        shuffle = SHUFFLE_KEY if sweep.execution.order == "shuffled" else None
        progress = begun(folder, chosen, ledger)
        still_there = folder.watch()

        def stopped() -> Stop | None:
            still_there()
            if request.address is not None:
                mark.note(engine, driver)
            return "interrupted" if interrupted else "budget" if request.spent() else None

        driver = Driver(
            space=chosen.whole,
            ledger=ledger,
            pending=Pending(chosen.space, ledger, shuffle=shuffle),
            engine=engine,
            execution=sweep.execution,
            metric=sweep.metric,
            progress=progress,
            git_commit=ran.commit_mark,
            env_hash=ran.lock_hash,
            show=observer.update,
            stopped=stopped,
            longest_s=request.longest_s,
            left=Unfinished(list(mark.begun)),
            printed=recorder.record,
            committed=checkpoints.committed,
        )
        request.loaded()
        with contextlib.ExitStack() as stack:
            if request.address is not None:
                mark.taken_by(engine, observer)
                stack.enter_context(mark.of(engine, request=request.redo_request))
            with observer.running():
                stop = driver.run()
            checkpoints.end()
            still_there()
            engine.goes_on = stop == "interrupted" and request.goes_on()
        if not engine.goes_on:
            mark.clear()
        return stop, progress


@contextlib.contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM ask the driver to stop, by filling the list; the second one ends it at once."""
    received: list[int] = []

    def handle(number: int, frame: object) -> None:  # noqa: ARG001 - the handler's signature
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
