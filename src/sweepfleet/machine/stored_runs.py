"""What the bucket has of a run that is not finished, by the keys and times of its objects, and its files out of that.

A run's parts are numbered, in generations: the first part of each has all of the run's files, see `run.parts`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sweepfleet.machine.aws import Stored
from sweepfleet.machine.facts import KEYS
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.parts import DATABASES, PLAIN, put_together


@dataclass(frozen=True, slots=True)
class Source:
    """Where a run's files can be had from."""

    keys: tuple[str, ...]  # of all parts, the first one first; or of the files themselves
    at: datetime  # when the last of it was stored, by S3's clock
    in_parts: bool


def newest(run: str, parts: Iterable[Stored], results: Iterable[Stored]) -> Source | None:
    """The newest that the bucket has of a run; None: nothing. Pure.

    Args:
        run: its name.
        parts: the objects under `KEYS.parts(run)`.
        results: those under `KEYS.results(run)`: what was stored at its end, or for `inv results --fetch`.
    """
    found = [*_generations(run, parts), *_results(run, results)]
    return max(found, key=lambda one: (one.at, not one.in_parts), default=None)


def build(source: Source, folder: Path, get: Callable[[str, Path], object]) -> float:
    """Make a run's files in an empty folder; returns the unix time that they are of.

    Args:
        source: where they are.
        folder: the run's, or what becomes it.
        get: fetches an object into a file; what it raises comes as it is.

    Raises:
        PartError: a part is damaged, or one is missing.
    """
    if not source.in_parts:
        for key in source.keys:
            get(key, folder / key.rpartition("/")[2])
        return source.at.timestamp()
    place = folder.with_name(f"{folder.name}.parts")
    shutil.rmtree(place, ignore_errors=True)  # of a power cut
    place.mkdir()
    try:
        parts = [place / f"{number:06d}" for number in range(len(source.keys))]
        for key, part in zip(source.keys, parts, strict=True):
            get(key, part)
        return put_together(parts, folder).at
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _generations(run: str, parts: Iterable[Stored]) -> list[Source]:
    """The generations from their first part on; one whose parts are just being removed may lack the last ones."""
    generations: dict[str, dict[int, Stored]] = {}
    for one in parts:
        generation, _, number = one.key.removeprefix(KEYS.parts(run)).partition("/")
        if number.isdecimal():
            generations.setdefault(generation, {})[int(number)] = one
    found = []
    for known in generations.values():
        whole = [known[number] for number in range(len(known)) if number in known]
        if len(whole) == len(known):
            found.append(Source(tuple(one.key for one in whole), whole[-1].changed, in_parts=True))
    return found


def _results(run: str, results: Iterable[Stored]) -> list[Source]:
    prefix = KEYS.results(run)
    files = {one.key.removeprefix(prefix): one for one in results}
    rows = [files[file.name] for file in (RunFolder(Path()).ledger, RunFolder(Path()).calls) if file.name in files]
    keys = tuple(files[name].key for name in (*DATABASES, *PLAIN) if name in files)
    return [Source(keys, max(one.changed for one in rows), in_parts=False)] if rows else []
