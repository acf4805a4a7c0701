"""Sweeps as code: what stands under sweeps/ is what the cluster has been asked to run, and nothing else is asked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fleet.cloud import Cloud, told
from fleet.fleet import Fleet
from fleet.letterbox import submit_by_letter
from fleet.on_stack import order
from grid.errors import SweepfleetError
from grid.load import load
from grid.sweep import Sweep
from infra.layout import BucketLayout
from infra.outputs import Outputs
from pipeline.sweeps import digest, grids

PREFIX = BucketLayout().pipeline


@dataclass(frozen=True, slots=True)
class Mark:
    """What the pipeline remembers of a sweep that it has handed over."""

    name: str
    grid: str  # its path in the project
    digest: str  # of what decides which points there are; "" when it is to be handed over again
    commit: str
    submitted: float  # unix time, as in the job
    collected: bool = False  # whether its end was told


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of one stack, in its bucket."""

    cloud: Cloud
    outputs: Outputs

    def all(self) -> Iterator[Mark]:
        """Every mark, by name."""
        s3 = self.cloud.client("s3")
        with told("read what was handed over"):
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self.outputs.bucket, Prefix=PREFIX):
                for one in page.get("Contents", ()):
                    body = s3.get_object(Bucket=self.outputs.bucket, Key=one["Key"])["Body"].read()
                    yield Mark(**json.loads(body))

    def put(self, mark: Mark) -> None:
        """Remember it."""
        body = (json.dumps(asdict(mark), indent=2) + "\n").encode()
        with told("remember what was handed over"):
            self.cloud.client("s3").put_object(Bucket=self.outputs.bucket, Key=f"{PREFIX}{mark.name}.json", Body=body)

    def again(self, mark: Mark) -> None:
        """Have a sweep handed over again, though its grid is the same."""
        self.put(replace(mark, digest=""))


def submit_changed(fleet: Fleet, *, say: Callable[[str], None]) -> list[str]:
    """Hand over every sweep under sweeps/ whose grid is not the one that was handed over last.

    A run goes on by itself; what is done of it is not run again. All are tried.

    Args:
        fleet: the cluster, which has the code already.
        say: to a person.

    Returns:
        what could not be handed over, and why; it is tried again the next time.
    """
    marks = Marks(fleet.cloud, fleet.outputs)
    known = {mark.name: mark for mark in marks.all()}
    sweeps, problems = _loaded(fleet.root)
    taken = Counter(sweep.name for sweep in sweeps)
    for sweep in sweeps:
        place = sweep.source.relative_to(fleet.root).as_posix()
        try:
            if taken[sweep.name] > 1:
                problems.append(f"{place}: {taken[sweep.name]} grids have the name {sweep.name}. Give each its own.")
            elif sweep.name in known and known[sweep.name].digest == digest(sweep):
                say(f"{place}: handed over before")
            else:
                _hand_over(fleet, marks, sweep, place=place, say=say)
        except SweepfleetError as error:
            problems.append(f"{place}: {error}")
    return problems


def _loaded(root: Path) -> tuple[list[Sweep], list[str]]:
    sweeps, problems = [], []
    for file in grids(root):
        try:
            sweeps.append(load(file))
        except SweepfleetError as error:
            problems.append(f"{file.relative_to(root)}: {error}")
    return sweeps, problems


def _hand_over(fleet: Fleet, marks: Marks, sweep: Sweep, *, place: str, say: Callable[[str], None]) -> None:
    command_line = f"inv sweep --grid {place}"
    asked = order(fleet, sweep, command_line=command_line, retry_failed=False, workers=None)
    submit_by_letter(fleet.cloud, fleet.outputs, sweep, asked.job, root=fleet.root)
    marks.put(Mark(sweep.name, place, digest(sweep), asked.release.commit, asked.job.submitted))
    for line in asked.lines:
        say(f"{place}: {line}")
