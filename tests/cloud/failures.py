"""Failures that a test asks for: the Nth creation of a type fails, once."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.cloud.aws import CloudError

VARIABLE = "SWEEPFLEET_TEST_FAIL"  # names a file such as {"aws:ec2/instance:Instance": 1}, counted down in place

_lock = threading.Lock()


class Failures:
    """Counts creations down to the one that fails; in memory, or in a file that outlives the process."""

    def __init__(self, counts: Mapping[str, int] | Path | None = None) -> None:
        self._file = counts if isinstance(counts, Path) else None
        self._counts = {} if counts is None or isinstance(counts, Path) else dict(counts)

    @classmethod
    def from_environment(cls) -> Failures:
        name = os.environ.get(VARIABLE)
        return cls(Path(name) if name else None)

    def before_create(self, token: str) -> None:
        """Count one creation; CloudError if it is the one."""
        with _lock:
            counts = self._read()
            if token not in counts:
                return
            counts[token] -= 1
            failing = counts[token] <= 0
            if failing:
                del counts[token]
            self._write(counts)
        if failing:
            raise CloudError(f"creating {token}: InjectedFailure: a test asked for it")

    def _read(self) -> dict[str, int]:
        if self._file is None:
            return self._counts
        return dict(json.loads(self._file.read_text())) if self._file.exists() else {}

    def _write(self, counts: dict[str, int]) -> None:
        if self._file is None:
            self._counts = counts
            return
        beside = self._file.with_suffix(".new")
        beside.write_text(json.dumps(counts))
        beside.replace(self._file)
