"""How long a sweep's points take: a few of them are really run, here, and nothing of it is kept."""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Sweep
from sweepfleet.run.preview import SEARCHED
from sweepfleet.run.request import context_of
from sweepfleet.slot.records import Packet, Status
from sweepfleet.slot.runner import Runner
from sweepfleet.slot.source import RunnerClosedError

POINTS = 6
LIMIT_S = 60.0  # for all of them, and for importing the target


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of some points."""

    durations_s: tuple[float, ...]  # of those that ended, in their order
    failed: int = 0  # of them
    error: str = ""  # of the first that failed
    outlasted_s: float | None = None  # how long a point had run when the time was over
    imported: bool = True  # False: the time was over before the target was imported

    @property
    def point_s(self) -> float | None:
        """Seconds a point; None when none was begun.

        The first one is left out where there are others: with it the target may still have been loading something.
        """
        ended_s = self.durations_s[1:] if len(self.durations_s) > 2 else self.durations_s
        durations_s = [*ended_s, *([] if self.outlasted_s is None else [self.outlasted_s])]
        return sum(durations_s) / len(durations_s) if durations_s else None

    @property
    def at_least(self) -> bool:
        """Whether the points may well take longer than that: some failed, or the time was over."""
        return self.failed > 0 or self.outlasted_s is not None


def trial(sweep: Sweep, *, root: Path, points: int = POINTS, limit_s: float = LIMIT_S) -> Trial:
    """Run a few points, spread over the grid, in a process of their own, one after the other.

    Args:
        sweep: whose.
        root: of the checkout.
        points: how many.
        limit_s: for all of it; then whatever runs is killed.

    Raises:
        UsageError: the target is refused.
    """
    durations_s: list[float] = []
    errors: list[str] = []
    began_s: float | None = None
    imported = False
    with tempfile.TemporaryDirectory() as artifacts:
        context = context_of(sweep, root=root, artifacts=Path(artifacts))
        # Ours is the only kill that is to be expected, and it is no failure of the point.
        runner = Runner(replace(context, infra_retries=POINTS), name="trial")
        over = threading.Timer(limit_s, runner.close)
        over.start()
        try:
            with contextlib.suppress(RunnerClosedError):
                runner.ready()
                imported = True
                for index in spread(Space(sweep.plan), points):
                    began_s = time.monotonic()
                    packet = Packet.from_bytes(runner.run([(index, index + 1)]))
                    began_s = None
                    for duration_s, error in _ends(packet):
                        durations_s.append(duration_s)
                        errors += [error] if error else []
        finally:
            over.cancel()
            runner.close()
    return Trial(
        durations_s=tuple(durations_s),
        failed=len(errors),
        error=errors[0] if errors else "",
        outlasted_s=None if began_s is None else time.monotonic() - began_s,
        imported=imported,
    )


def _ends(packet: Packet) -> Iterator[tuple[float, str]]:
    """How long each point took, and why it failed, if it did."""
    for segment in packet.segments:
        for record in segment.rows():
            error = ""
            if record.status == Status.FAILED:
                error = _short(**json.loads(segment.payload(record)))
            yield record.duration_s, error


def _short(*, type: str, error: str) -> str:  # noqa: A002 - the payload's name
    """An error in a line: a traceback's last, any other text's first."""
    lines = error.splitlines() or [""]
    line = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    return line if line.startswith(type) else f"{type}: {line}"


def spread(space: Space, count: int) -> Iterator[int]:
    """The indexes of so many points, each from the middle of an equal part of the indexes, or the next one there.

    Fewer, where parts have no point among the first few that may be asked.
    """
    for part in range(count):
        start, stop = part * space.size // count, (part + 1) * space.size // count
        middle = (start + stop) // 2
        for low, high in ((middle, stop), (start, middle)):
            found = next(space.spans(low, min(high, low + SEARCHED)), None)
            if found is not None:
                yield found[0]
                break
