"""Moments that a test asks for: the Nth call of a kind waits until the test lets it go on."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "SWEEPFLEET_TEST_HOLD"  # names a folder with a file `call`, such as "create 5"

_lock = threading.Lock()


@dataclass(frozen=True)
class Hold:
    """One moment: the call waits there, `reached` appears, and it goes on when `go` is there."""

    folder: Path

    @classmethod
    def at(cls, folder: Path, call: str, number: int) -> Hold:
        """The Nth call of this kind (`create`, `delete`)."""
        folder.mkdir()
        (folder / "call").write_text(f"{call} {number}")
        return cls(folder)

    @property
    def env(self) -> dict[str, str]:
        return {VARIABLE: str(self.folder)}

    @property
    def reached(self) -> bool:
        return (self.folder / "reached").exists()

    def release(self) -> None:
        (self.folder / "go").touch()


def wait_where_asked(call: str) -> None:
    """Count one call, and wait there if it is the one; the calls beside it go on."""
    name = os.environ.get(VARIABLE)
    if not name:
        return
    folder = Path(name)
    kind, number = (folder / "call").read_text().split()
    with _lock:
        counted = folder / f"{call}s"
        count = int(counted.read_text()) + 1 if counted.exists() else 1
        counted.write_text(str(count))
    if call == kind and count == int(number):
        (folder / "reached").touch()
        while not (folder / "go").exists() and folder.exists():
            time.sleep(0.05)
