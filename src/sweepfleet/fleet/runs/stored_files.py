"""The files of a run that is not finished, made here out of its parts in the bucket."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws
from sweepfleet.infra.outputs import Outputs
from sweepfleet.machine.aws import Stored
from sweepfleet.machine.facts import KEYS
from sweepfleet.machine.stored_runs import build, newest
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.parts import PartError
from sweepfleet.run.runs import refresh


@contextlib.contextmanager
def stored_files(cloud: Cloud, outputs: Outputs, name: str) -> Iterator[list[Path]]:
    """The files of a run's parts, with tables and report made of them; none where the bucket has newer results.

    Raises:
        ClusterError: AWS refuses, or the parts cannot be used.
    """
    s3 = cloud.client("s3")
    with TemporaryDirectory() as temporary, asking_aws(f"look in the bucket for the run {name}"):
        parts = _listed(s3, outputs, Prefix=KEYS.parts(name))
        source = newest(name, parts, _listed(s3, outputs, Prefix=KEYS.results(name), Delimiter="/"))
        if source is None or not source.in_parts:
            yield []
            return
        run = RunFolder(Path(temporary, name))
        run.path.mkdir()
        try:
            build(source, run.path, lambda key, file: s3.download_file(outputs.bucket, key, str(file)))
        except PartError as error:
            raise ClusterError(f"What the bucket has of the run {name} cannot be used: {error}") from None
        if run.ledger.exists():
            refresh(run, always=True)
        yield [file for file in sorted(run.path.iterdir()) if not file.name.startswith(".")]


def _listed(s3: Any, outputs: Outputs, **which: str) -> list[Stored]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=outputs.bucket, **which)
    found = (one for page in pages for one in page.get("Contents", ()))
    return [Stored(one["Key"], one["ETag"], one["LastModified"], one["Size"]) for one in found]
