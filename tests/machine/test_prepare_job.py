"""What root does before a run's driver starts: where it cannot be done, whoever watches the run reads why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweepfleet.machine.job import Job, JobFolder
from tests.machine.test_machine import MACHINE

JOB = Job("trial", "a" * 64, "b" * 64, "engine", "grid.yaml", "inv sweep", 0.0, retry_failed=False, workers_needed=2)
REFUSES = "#!/bin/sh\necho 'fatal error: An error occurred (404): Key \"environments\" does not exist' >&2\nexit 1\n"


@pytest.mark.parametrize("before", [{}, {"state": "running", "progress": {"done": 7}, "workers_needed": 2}])
def test_a_run_whose_code_cannot_be_had_says_so_and_keeps_what_was_known(
    tmp_path: Path, before: dict[str, object]
) -> None:
    folder = JobFolder(tmp_path / "trial")
    folder.path.mkdir()
    folder.job.write_text(JOB.to_json())
    folder.progress.write_text(json.dumps(before))
    aws = tmp_path / "bin" / "aws"
    aws.parent.mkdir()
    aws.write_text(REFUSES)
    aws.chmod(0o755)
    environment = os.environ | MACHINE.facts() | {"PATH": f"{aws.parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "sweepfleet.machine.head.prepare_job", str(folder.path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    said = folder.read_progress()
    assert said.pop("waiting_for").startswith("its code and environment, which cannot be fetched: aws s3")
    assert said == before | {"state": "waiting", "workers_needed": 0, "settled": False}, (
        "nobody pays for workers meanwhile"
    )
    assert "404" in done.stdout
