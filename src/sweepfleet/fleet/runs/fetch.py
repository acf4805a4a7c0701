"""Brings a run's folder from the bucket to this machine."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws
from sweepfleet.fleet.runs.fetch_names import ARTIFACTS, Skipped, sort_out
from sweepfleet.fleet.steps import Steps
from sweepfleet.grid.errors import UsageError
from sweepfleet.infra.layout import BucketLayout
from sweepfleet.infra.outputs import Outputs
from sweepfleet.run.folder import RunFolder, read_json, storing, write_whole
from sweepfleet.run.runs import check_name

MARK = ".fetched.json"
PARTS = ".fetching"  # files that are on their way
SHOWN = 10  # of objects that are skipped
# What the system says of one file's name, and of no other file: too long, no letters of its, a folder, in a file.
NAMES = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY}
TRANSFERS = 8  # of artifacts at once: a run may have thousands of small ones


@dataclass
class Mark:
    """What a fetched folder says of itself."""

    stack: str
    bucket: str
    files: dict[str, str] = field(default_factory=dict)  # by name, the ETag that it had in the bucket
    ledgers: list[list[int]] = field(default_factory=list)  # what `_state` says of those that came from there

    @classmethod
    def of(cls, folder: RunFolder) -> Mark | None:
        """A folder's mark; None when it was not fetched."""
        found = read_json(folder.path / MARK)
        return cls(**found) if set(found) == set(cls.__dataclass_fields__) else None

    def write(self, folder: RunFolder) -> None:
        """Leave the mark in the folder."""
        write_whole(folder.path / MARK, json.dumps(asdict(self)) + "\n")


def check_place(folder: RunFolder, outputs: Outputs) -> Mark:
    """Be sure that fetching into a folder loses nothing; returns its mark, or a new one.

    Raises:
        UsageError: it has a run that was made here, that came from another stack, or that went on here since.
    """
    mark = Mark.of(folder)
    if mark is None:
        mark = Mark(outputs.stack, outputs.bucket)
        if not rows_of(folder).exists():
            return mark
        what = "a run that was made on this machine"
    elif (mark.stack, mark.bucket) != (outputs.stack, outputs.bucket):
        what = f"a run of the stack {mark.stack}"
    elif rows_of(folder).exists() and _state(rows_of(folder)) not in mark.ledgers:
        what = "a run that was resumed on this machine after it was fetched"
    else:
        return mark
    raise UsageError(
        f"{folder.path} has {what}. Fetching the run of the stack {outputs.stack} would overwrite it. Move the "
        f"folder, or give the run another name: --name {folder.name}-2"
    )


def rows_of(folder: RunFolder) -> Path:
    """The file with a run's results that cannot be made again from others: its ledger, or an Executor's calls."""
    return folder.calls if folder.calls.exists() else folder.ledger


def _state(ledger: Path) -> list[int]:
    """What changes when a ledger is written: its size and time, and the size of its log."""
    log = ledger.with_name(f"{ledger.name}-wal")
    return [ledger.stat().st_size, ledger.stat().st_mtime_ns, log.stat().st_size if log.exists() else 0]


def fetch(
    cloud: Cloud, outputs: Outputs, name: str, *, runs: Path, steps: Steps, files: Iterable[Path] = ()
) -> RunFolder:
    """Bring a run's folder here; files appear whole, and those that did not change since are left.

    What was broken off goes on with the file that it had come to. An object that cannot be a file here is skipped,
    and said: workers choose the names of artifacts.

    Args:
        cloud: the stack's account.
        outputs: of the stack.
        name: of the run.
        runs: the folder of all runs here.
        steps: shows which file is on its way, and how much has come.
        files: newer than those of these names in the bucket, and here already; see `stored_files`.

    Raises:
        UsageError: see `check_place`; or somebody writes to the folder now.
        StorageError: this machine's disk cannot be written to.
        ClusterError: there are no results of the run, or they cannot be had.
    """
    check_name(name)
    folder = RunFolder(runs / name)
    check_place(folder, outputs)
    s3 = cloud.client("s3")
    steps.step(f"Looking in the bucket for the results of {name}")
    found = _objects(s3, outputs, folder) | {file.name: _local(file) for file in files}
    if not found:
        raise ClusterError(f"The bucket has no results of the run {folder.name} yet. What it is doing: inv status")
    with folder.locked(), storing(folder.path):
        mark = check_place(folder, outputs)
        shutil.rmtree(folder.path / PARTS, ignore_errors=True)  # of a fetch that was killed
        names, skipped = sort_out(found, one_case=_one_case(folder.path))
        objects = [found[name] for name in sorted(names, key=lambda name: (name != folder.ledger.name, name))]
        changed = [one for one in objects if not _same(folder, one, mark)]

        def bring(one: dict[str, Any]) -> dict[str, Any] | None:
            try:
                return bring_one(one)
            except OSError as error:
                if error.errno not in NAMES or not one["name"].startswith(ARTIFACTS):
                    raise
                skipped.append(Skipped(one["name"], f"{error.strerror}, on this machine"))
                return None

        arriving = _Arriving(name, changed, steps)

        def bring_one(one: dict[str, Any]) -> dict[str, Any]:
            with _downloaded(s3, outputs, one, folder.path / PARTS, arriving.came) as beside:
                if one["name"] in (folder.ledger.name, folder.calls.name):
                    _expect(folder, one["name"], beside, mark)
                elif one["name"] == folder.output.name:
                    _remove_log(folder.output)
                (folder.path / one["name"]).parent.mkdir(parents=True, exist_ok=True)
                beside.replace(folder.path / one["name"])
            return one

        try:
            for one in _in_turn(bring, changed):
                if one is not None:
                    mark.files[one["name"]] = one["ETag"]
        finally:
            mark.write(folder)
            shutil.rmtree(folder.path / PARTS, ignore_errors=True)
    _say_skipped(skipped, f"s3://{outputs.bucket}/{BucketLayout().runs}{name}/", steps.say)
    steps.say(f"Fetched {sum(one['Size'] for one in changed) / 1e6:,.1f} MB")
    return folder


class _Arriving:
    """Shows how much of what is fetched has come; thread-safe."""

    def __init__(self, name: str, objects: list[dict[str, Any]], steps: Steps) -> None:
        self._all = f"{sum(one['Size'] for one in objects) / 1e6:,.1f} MB"
        self._what, self._steps = f"Fetching the results of {name}", steps
        self._lock = threading.Lock()
        self._bytes = 0
        if objects:
            steps.step(f"{self._what}, {self._all}")

    def came(self, count: int) -> None:
        """Some bytes have come."""
        with self._lock:
            self._bytes += count
            self._steps.update(f"{self._what}, {self._bytes / 1e6:,.1f} of {self._all}")


def _objects(s3: Any, outputs: Outputs, folder: RunFolder) -> dict[str, dict[str, Any]]:
    """What the bucket has of a run, each under its name, which is its `name`, too."""
    prefix = f"{BucketLayout().runs}{folder.name}/"
    with asking_aws(f"fetch the run {folder.name}"):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=outputs.bucket, Prefix=prefix)
        keys = [one | {"name": one["Key"].removeprefix(prefix)} for page in pages for one in page.get("Contents", ())]
    return {one["name"]: one for one in keys}


def _local(file: Path) -> dict[str, Any]:
    """A file that stands for an object of the bucket."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return {"name": file.name, "Key": str(file), "ETag": digest, "Size": file.stat().st_size, "file": file}


def _one_case(folder: Path) -> bool:
    """Whether the file system here takes names that differ in their case for the same."""
    probe = folder / PARTS
    probe.mkdir(parents=True, exist_ok=True)
    return (folder / PARTS.upper()).exists()


def _say_skipped(skipped: list[Skipped], where: str, say: Callable[[str], None]) -> None:
    """Say what was not brought: the first ones each with its reason, and how many more there are."""
    for one in skipped[:SHOWN]:
        say(f"Skipped {one}")
    if skipped:
        more = f" {len(skipped) - SHOWN:,} more were skipped." if len(skipped) > SHOWN else ""
        say(f"What was skipped is in the bucket, below {where}{more}")


def _in_turn(
    bring: Callable[[dict[str, Any]], dict[str, Any] | None], objects: list[dict[str, Any]]
) -> Iterator[Any]:
    """Bring the run's own files one by one, and then what its points wrote, several at once; each as it is here."""
    own = [one for one in objects if not one["name"].startswith(ARTIFACTS)]
    for one in own:
        yield bring(one)
    with ThreadPoolExecutor(TRANSFERS) as pool:
        tasks = [pool.submit(bring, one) for one in objects if one["name"].startswith(ARTIFACTS)]
        try:
            for task in as_completed(tasks):
                yield task.result()
        finally:
            for task in tasks:
                task.cancel()


def _same(folder: RunFolder, one: dict[str, Any], mark: Mark) -> bool:
    """Whether a file is here as it is in the bucket."""
    file = folder.path / one["name"]
    known = bool(mark.files.get(one["name"]) == one["ETag"])
    return known and file.is_file() and file.stat().st_size == int(one["Size"])


@contextlib.contextmanager
def _downloaded(
    s3: Any, outputs: Outputs, one: dict[str, Any], parts: Path, came: Callable[[int], None]
) -> Iterator[Path]:
    """A file of the bucket, whole, in a folder of its own, since its name may be as long as names can be."""
    parts.mkdir(parents=True, exist_ok=True)
    beside = parts / hashlib.sha256(one["name"].encode()).hexdigest()
    try:
        if "file" in one:
            shutil.copyfile(one["file"], beside)
            came(one["Size"])
            yield beside
            return
        with asking_aws(f"fetch {one['Key']}"):
            try:
                s3.download_file(outputs.bucket, one["Key"], str(beside), Callback=came)
            except Boto3Error as error:  # the line broke too often
                raise ClusterError(f"Cannot fetch {one['Key']}: {error}. Give the same command again.") from None
        yield beside
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def _expect(folder: RunFolder, name: str, new: Path, mark: Mark) -> None:
    """Before a ledger takes its place: mark it as fetched, and remove the log of the one before."""
    ledger = folder.path / name
    before = [_state(ledger)] if ledger.exists() else []
    mark.ledgers = [*before, _state(new)]  # which of the two it is, a kill decides
    mark.write(folder)
    _remove_log(ledger)


def _remove_log(database: Path) -> None:
    """Remove what SQLite keeps beside a file that is to be replaced: it would be applied to the new one."""
    for log in ("-wal", "-shm"):
        database.with_name(f"{database.name}{log}").unlink(missing_ok=True)
