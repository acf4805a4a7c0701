"""The project's command line as a user runs it: real processes, with the runs in a folder of the test's."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tests.processes import ends_with_test

ROOT = Path(__file__).resolve().parent.parent
DEADLINE_S = 300


@dataclass
class Project:
    """A folder with a grid and its code, beside a folder of runs."""

    path: Path

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def grid(self) -> Path:
        return self.path / "grid.yaml"

    def write(self, grid: str, code: str = "") -> Project:
        self.grid.write_text(grid)
        if code:
            (self.path / "fit.py").write_text(code)
        return self

    def start(self, *words: str, **kwargs: Any) -> subprocess.Popen[str]:
        here = ["--local"] if words[0] == "sweep" else []  # never on a cluster that the developer has up
        process = subprocess.Popen(
            # -P, as in the command `inv`: the current folder is not on its module path.
            [sys.executable, "-P", "-m", "invoke", "--search-root", str(ROOT), *words, *here],
            env=os.environ | {"INVOKE_RUNS": str(self.runs)},
            cwd=self.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **kwargs,
        )
        return ends_with_test(process)

    def inv(self, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        process = self.start(*words)
        try:
            out, err = process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        assert code is None or process.returncode == code, f"{process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def sweep(self, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        return self.inv("sweep", "--grid", str(self.grid), *words, code=code)

    def table(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.runs / name / "results.parquet")

    def ledger(self, name: str, query: str = "SELECT count(*) FROM points") -> list[tuple[Any, ...]]:
        path = self.runs / name / "ledger.sqlite"
        if not path.exists():
            return []
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
        try:
            return db.execute(query).fetchall()
        except sqlite3.OperationalError:  # not made yet
            return []
        finally:
            db.close()


def interrupt(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Ctrl-C, and what the command says then."""
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=DEADLINE_S)


def sweepfleet(tools: Path, folder: Path, *words: str, code: int = 0, **env: str) -> str:
    """What the command says."""
    return say([tools / "sweepfleet", *words], folder, code=code, **env)


def say(command: list[str | Path], folder: Path, *, code: int = 0, **env: str) -> str:
    """What a program of the environment says, in a folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("INVOKE_", "PYTHON", "UV_"))}
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(command, cwd=folder, env=kept | env, timeout=DEADLINE_S, check=False, **output)  # type: ignore[call-overload]
    assert done.returncode == code, done.stdout
    return str(done.stdout)
