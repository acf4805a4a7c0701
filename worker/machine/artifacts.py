"""What the points of a cluster's run wrote, brought from a worker's disk to the bucket before their rows go back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from worker.context import Context
from worker.machine.in_process import bucket, told
from worker.records import Packet

TRANSFERS = 8  # at once, of one bundle's files


class ArtifactsError(Exception):
    """A point's files cannot be stored: its row would promise what is not there."""


def keep_artifacts(context: Context, packet: bytes) -> None:
    """Store what a bundle's points wrote in the bucket, and remove it from this disk.

    Files go to `<artifacts_url>/<point id>/`; those of a point that failed, too. A point's row is sent only after
    this, so whoever reads that it is done finds its files.

    Args:
        context: of the sweep; without an `artifacts_url` nothing is done.
        packet: a `worker.records.Packet` as bytes.

    Raises:
        ArtifactsError: a file cannot be stored; those before it are.
    """
    if context.artifacts is None or context.artifacts_url is None:
        return
    try:
        written = set(os.listdir(context.artifacts))  # noqa: PTH208 - of this bundle, and of those that run meanwhile
    except FileNotFoundError:
        return
    if not written:
        return
    ids = {row.id.hex() for segment in Packet.from_bytes(packet).segments for row in segment.rows()}
    folders = [Path(context.artifacts, name) for name in sorted(written & ids)]
    name, _, prefix = context.artifacts_url.removeprefix("s3://").partition("/")
    with ThreadPoolExecutor(TRANSFERS) as pool:
        tasks = [
            pool.submit(_store, file, name, f"{prefix}/{folder.name}/{file.relative_to(folder).as_posix()}")
            for folder in folders
            for file in _files(folder)
        ]
        for task in tasks:
            task.result()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _store(file: Path, name: str, key: str) -> None:
    import obstore  # loaded for points that write something, and for no others
    from obstore.exceptions import BaseError

    try:
        obstore.put(bucket(name), key, file)
    except (BaseError, OSError, ValueError) as error:
        remedy = ". What workers may do, `inv up` brings up to date" if "AccessDenied" in str(error) else ""
        raise ArtifactsError(f"the artifact {file.name!r} cannot be stored as {key}: {told(error)}{remedy}") from None
