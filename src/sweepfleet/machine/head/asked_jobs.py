"""Starts the units of the jobs that the service user asks for on the head itself, as root; it may not do so alone.

A console or a notebook puts a job's folder in place and an empty file of its name into `Data.asked`, upon which
systemd starts this. What it asks for is what the next boot would start anyway.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from sweepfleet.grid.run_names import is_run_name
from sweepfleet.machine.facts import Data, Facts
from sweepfleet.machine.job import JobFolder


def serve(data: Data) -> None:
    """Start what is asked for; a file that names no active job is removed, and no more."""
    for asked in sorted(data.asked.iterdir()):
        if asked.is_dir() and not asked.is_symlink():
            shutil.rmtree(asked)
            continue
        asked.unlink(missing_ok=True)
        folder = JobFolder(data.jobs / asked.name)
        if is_run_name(asked.name) and folder.active.exists():
            subprocess.run(["systemctl", "reset-failed", folder.unit], capture_output=True, check=False)
            subprocess.run(["systemctl", "restart", "--no-block", folder.unit], check=True)


if __name__ == "__main__":
    serve(Data(Path(Facts.read().data)))
