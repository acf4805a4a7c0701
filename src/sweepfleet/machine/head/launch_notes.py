"""What the keeper says of machines that AWS does not start: for `inv status`, and in each active run's record."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepfleet.machine.files import write_whole
from sweepfleet.machine.job import JobFolder

MOST = 50  # lines of a run; the first ones are dropped


@dataclass
class LaunchNotes:
    """Writes down what there is to say, when it is something else than before."""

    file: Path  # what there is to say now
    _said: tuple[str, ...] | None = None

    def note(self, lines: Sequence[str], active: Sequence[JobFolder]) -> None:
        """Write it down, and print what is new; a full disk does not keep the keeper from its work."""
        now = tuple(lines)
        try:
            if now != self._said:
                for line in now:
                    if line not in (self._said or ()):
                        print(line, flush=True)
                write_whole(self.file, json.dumps(now) + "\n")
                self._said = now
            for folder in active if now else ():
                _add(folder, now)
        except OSError as error:
            print(f"what keeps workers from starting cannot be recorded: {error}", flush=True)


def read(file: Path) -> list[Any]:
    """The lines of either file; none where it is not there, or half written."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) else []


def _add(folder: JobFolder, lines: Sequence[str]) -> None:
    """Add to a run's record what it does not have."""
    before = read(folder.notes)
    new = [{"at": time.time(), "text": line} for line in lines if line not in {one["text"] for one in before}]
    if new:
        folder.write(folder.notes, json.dumps([*before, *new][-MOST:]) + "\n")
