"""What a command gets of its point: environment variables, placeholders, and a file for parameters of any size."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sweepfleet.grid.plan import Value, nest
from sweepfleet.grid.space import Point
from sweepfleet.slot.context import Context

# One variable, or one word of a command, may be 128 kB on Linux, and all of them together a megabyte or two.
MOST_IN_A_VARIABLE = 1 << 16
# Names a folder for files that are a point's for a while. The child's owner removes it: a child that is killed can
# remove nothing.
SCRATCH = "_SWEEPFLEET_SCRATCH"


@dataclass(frozen=True)
class Placed:
    """A point as a command's placeholders see it."""

    params: Mapping[str, Value]
    id: str
    seed: int
    replicate: int
    artifact_dir: str
    checkpoint_dir: str
    project_dir: str


def placed_point(point: Point, context: Context, *, artifacts: Path, checkpoint: Path) -> Placed:
    """A point with its folders."""
    folders = (str(artifacts), str(checkpoint), context.root)
    return Placed(point.params, point.id, point.seed, point.replicate, *folders)


@contextlib.contextmanager
def environment(point: Placed, keys: Iterable[tuple[str, ...]] = ()) -> Iterator[dict[str, str]]:
    """This process's environment and a command's own variables; removes the parameters' file afterwards.

    `keys` are as in `grid.plan.nest`.
    """
    text = json.dumps(nest(point.params, keys))
    with tempfile.NamedTemporaryFile(
        "w", prefix=f"params-{point.id}-", suffix=".json", dir=os.environ.get(SCRATCH)
    ) as file:
        file.write(text)
        file.flush()
        env = {name: value for name, value in os.environ.items() if name not in ("SWEEPFLEET_PARAMS", SCRATCH)}
        env |= {
            "SWEEPFLEET_PARAMS_FILE": file.name,
            "SWEEPFLEET_POINT_ID": point.id,
            "SWEEPFLEET_SEED": str(point.seed),
            "SWEEPFLEET_REPLICATE": str(point.replicate),
            "SWEEPFLEET_ARTIFACT_DIR": point.artifact_dir,
            "SWEEPFLEET_CHECKPOINT_DIR": point.checkpoint_dir,
            "SWEEPFLEET_PROJECT": point.project_dir,
        }
        if len(text) <= MOST_IN_A_VARIABLE:
            env["SWEEPFLEET_PARAMS"] = text
        yield env


def why_not_started(error: OSError | ValueError, program: str, point: Placed) -> str:
    """Why a command could not be started, with the parameter that caused it."""
    sizes = {
        name: len(value if isinstance(value, str) else json.dumps(value)) for name, value in point.params.items()
    }
    largest = max(sizes, key=sizes.__getitem__, default=None)
    trouble, blamed = error.strerror if isinstance(error, OSError) else str(error), None
    if isinstance(error, ValueError):
        blamed = next((name for name, value in point.params.items() if "\0" in str(value)), None)
        trouble = (
            trouble
            if blamed is None
            else f"the parameter {blamed} has a NUL character, which a command line cannot have"
        )
    elif error.errno == errno.E2BIG and largest is not None:
        blamed = largest
        trouble = (
            f"its words are longer than the system allows. The parameter {largest} has {sizes[largest]:,} characters"
        )
    remedy = f": have the program read {blamed} from the file $SWEEPFLEET_PARAMS_FILE instead" if blamed else ""
    return f"cannot start {program!r}: {trouble}{remedy}"
