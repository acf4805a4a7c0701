"""A run of calls in its folder: locked for its one driver, and what a killed driver left collected."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from sweepfleet.grid.errors import UsageError
from sweepfleet.run.calls.ledger import CallLedger
from sweepfleet.run.folder import RunFolder
from sweepfleet.slot.calls.batch import Call, Pickled
from sweepfleet.slot.calls.mailbox import SUFFIX, records

LEAVES_S = 2.0


@contextlib.contextmanager
def opened(runs: Path, name: str) -> Iterator[tuple[RunFolder, CallLedger]]:
    """The folder and the ledger of a run of calls, for its one writer. Side effect: makes the run's folder.

    Raises:
        UsageError: the run is a sweep's, or another process writes it.
        StorageError: the folder cannot be written.
    """
    folder = RunFolder(runs / name)
    refuse_a_sweep(folder)
    with _locked(folder), contextlib.closing(CallLedger(folder.calls)) as ledger:
        collect(folder, ledger)
        try:
            yield folder, ledger
        finally:
            collect(folder, ledger)  # of calls that ended while it was told to end


@contextlib.contextmanager
def _locked(folder: RunFolder) -> Iterator[None]:
    """`RunFolder.locked`, with a moment for a driver whose client has just been killed to end."""
    end_s = time.monotonic() + LEAVES_S
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(folder.locked())
                break
            except UsageError as error:
                if time.monotonic() > end_s:
                    option, ours = f"--name {folder.name}-2", f'Executor(run="{folder.name}-2")'
                    raise UsageError(str(error).replace(option, ours)) from None
            time.sleep(LEAVES_S / 20)
        yield


def refuse_a_sweep(folder: RunFolder) -> None:
    """Raise UsageError where the folder has a sweep."""
    if folder.ledger.exists() or folder.grid.exists():
        raise UsageError(
            f"The run {folder.name} is a sweep, and an Executor's calls are another kind of run. Give the Executor "
            f'another run: Executor(run="{folder.name}-calls")'
        )


def collect(folder: RunFolder, ledger: CallLedger) -> None:
    """Commit the results that slots had when their driver was killed, and delete the files that they were in."""
    folder.mailboxes.mkdir(exist_ok=True)
    for path in sorted(folder.mailboxes.glob(f"*{SUFFIX}")):
        found, _ = records(memoryview(path.read_bytes()))
        unknown, nothing = "", Pickled(b"")
        done = ledger.done([each.key for each in found if each.key is not None])
        new = [each for each in found if each.key is not None and each.ok and each.key not in done]
        ledger.keep([(each, Call(each.index, unknown, nothing, each.key)) for each in new])
        path.unlink()
