"""A point's checkpoint folder: what one attempt writes there, the next attempt finds."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sweepfleet.grid.errors import UsageError
from sweepfleet.slot.archives import pack
from sweepfleet.slot.handed import SCRATCH

OUTBOX = ".stored"  # beside the points' folders, where the worker of a cluster stores what is put there
STORED_S = 60.0  # to wait for that
LOOK_S = 0.05
VARIABLE = "SWEEPFLEET_CHECKPOINT_DIR"  # names the folder of the point that runs in this process or above it


@contextlib.contextmanager
def checkpoint_folder(checkpoints: str | None, point_id: str) -> Iterator[Path]:
    """Context with a point's checkpoint folder; it stays if there is something in it, unless the run keeps none.

    Side effect: `VARIABLE` names it meanwhile, also for the processes that the point starts.
    """
    with contextlib.ExitStack() as stack:
        if checkpoints is None:
            name = stack.enter_context(
                tempfile.TemporaryDirectory(
                    prefix=f"checkpoint-{point_id}-", dir=os.environ.get(SCRATCH), ignore_cleanup_errors=True
                )
            )
            folder = Path(name)
        else:
            folder = Path(checkpoints, point_id)
            folder.mkdir(parents=True, exist_ok=True)
            stack.callback(_remove_empty, folder)
        stack.callback(os.environ.pop, VARIABLE, None)
        os.environ[VARIABLE] = str(folder)
        yield folder


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def asked_file(folder: Path) -> Path:
    """The mark of a point that chooses itself when its checkpoint is stored."""
    return folder.parent / OUTBOX / f"{folder.name}.asked"


def checkpoint() -> None:
    """Store the files in the running point's `checkpoint_dir` now: the next attempt finds them as they are.

    On this machine they survive a power cut. On a cluster they are in the bucket when this returns; where S3 does not
    answer for a minute, it returns, and they are stored as soon as it does. From the first call on, nothing but what
    these calls store counts there: what is written in between is not half a checkpoint.

    Raises:
        UsageError: no point runs here, or its function has no keyword `checkpoint_dir`.
        OSError: the disk or the bucket refuses.

    Examples:
        >>> import sweepfleet as sf
        >>> def fit(rate, checkpoint_dir):
        ...     file = checkpoint_dir / "loss"
        ...     loss = float(file.read_text()) if file.exists() else 1.0
        ...     while loss > 0.1:
        ...         loss *= rate
        ...         new = checkpoint_dir / "new"
        ...         new.write_text(repr(loss))
        ...         new.replace(file)
        ...         sf.checkpoint()
        ...     return loss
        >>> run = sf.sweep(fit, {"rate": [0.5]}, name="halves")
        >>> run.frame()["metric.value"].to_list()
        [0.0625]
    """
    name = os.environ.get(VARIABLE)
    if name is None:
        raise UsageError(
            "sweepfleet.checkpoint() stores the checkpoint_dir of a running point, and there is none here. Call it "
            "in the function of a sweep, and give that function the keyword checkpoint_dir."
        )
    for folder, _, files in os.walk(name):
        for file in (Path(folder, each) for each in files):
            with contextlib.suppress(FileNotFoundError):  # renamed meanwhile, by a thread of the point
                if file.is_file():  # to open a named pipe would wait for its other end
                    _sync(file)
        with contextlib.suppress(OSError):  # some file systems have no such thing for folders
            _sync(Path(folder))  # after its files, whose names it has

    if (Path(name).parent / OUTBOX).is_dir():
        _store(Path(name))


def _store(folder: Path) -> None:
    """Have the worker of a cluster store a folder."""
    outbox = folder.parent / OUTBOX
    asked_file(folder).touch()
    archive = outbox / f"{folder.name}.tar"
    going, refused = archive.with_suffix(".going"), archive.with_suffix(".refused")
    pack(folder, archive, asked=True)
    end_s = time.monotonic() + STORED_S
    while time.monotonic() < end_s and (archive.exists() or going.exists()):
        time.sleep(LOOK_S)
    if refused.exists():
        said = refused.read_text()
        refused.unlink()
        raise OSError(f"the checkpoint cannot be stored: {said}")


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
