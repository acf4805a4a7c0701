"""The ended runs that `inv status` shows: read from jobs' folders as a head has them."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from sweepfleet.fleet.reach import data_volume
from sweepfleet.fleet.reach.remote import Host
from sweepfleet.fleet.runs import ended
from sweepfleet.fleet.runs.ended import ended_lines, ended_runs
from sweepfleet.machine.head.meter import Reading
from sweepfleet.machine.job import Job

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
SUMMARY = {"state": "failed", "points": 60, "points_exact": True, "done": 57, "failed": 3}


class Head:
    """Runs on this machine what it is asked."""

    def ask(self, *words: str) -> str:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(data_volume, "DATA", "/")  # which is mounted
    monkeypatch.setattr(ended, "JOBS", str(tmp_path))
    return tmp_path


def put(jobs: Path, name: str, *, at: float, said: dict[str, Any] | str, usd: float | None = 0.5) -> Path:
    """A job that has ended `at`, with what its driver said last."""
    folder = jobs / name
    folder.mkdir()
    job = Job(name, "a", "e", "n", "grid.yaml", "inv sweep", 0.0, False, 1, usd_per_worker_hour=usd)
    (folder / "job.json").write_text(job.to_json())
    (folder / "meter.json").write_text(json.dumps(asdict(Reading(worker_s=18.0))))
    (folder / "progress.json").write_text(said if isinstance(said, str) else json.dumps(said))
    os.utime(folder, (at, at))
    return folder


def lines(now: datetime = NOW) -> list[str]:
    return list(ended_lines(ended_runs(cast(Host, Head())), now))


def test_an_ended_run_has_its_end_its_points_and_its_cost(jobs: Path) -> None:
    """However little that is."""
    at = NOW.timestamp() - 3 * 3600
    put(jobs, "trial", at=0, said={"state": "ended", "exit_code": 1, "summary": SUMMARY, "at": at})
    when = datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    cost = "at most 0.0025 USD (0.005 worker hours)"
    assert lines() == [
        "Ended runs, the last one first:",
        f"  trial: failed, ended {when} (3 h ago) · 57 of 60 points done, 3 failed · cost {cost}",
    ]


@pytest.mark.parametrize(
    ("said", "state", "end"),
    [
        (
            {"state": "ended", "exit_code": 2, "error": "No target.\nMore.", "at": 5.0},
            "refused",
            "No target.",
        ),
        ({"state": "ended", "exit_code": 1, "error": "Traceback", "summary": {}, "at": 5.0}, "error", "Traceback"),
        ({"state": "waiting", "waiting_for": "workers", "at": 5.0}, "cancelled", "worker hours)"),
        ("{half a fi", "cancelled", "worker hours)"),
    ],
)
def test_a_run_without_results_is_told_too(jobs: Path, said: dict[str, Any] | str, state: str, end: str) -> None:
    put(jobs, "trial", at=1.0, said=said)
    [_, line] = lines()
    assert line.startswith(f"  trial: {state}, ended 19")
    assert line.endswith(end)
    assert "points" not in line


def test_a_total_that_is_an_estimate_is_told_as_one(jobs: Path) -> None:
    put(jobs, "trial", at=1.0, said={"state": "ended", "at": 5.0, "summary": SUMMARY | {"points_exact": False}})
    assert "57 of about 60 points done" in lines()[1]


def test_an_error_is_one_line_that_a_terminal_can_print(jobs: Path) -> None:
    """Whatever a target wrote into it."""
    put(jobs, "trial", at=1.0, said={"state": "ended", "exit_code": 1, "error": "a\x1b[2Jb" + "c" * 500, "at": 5.0})
    assert "\x1b" not in lines()[1]
    assert len(lines()[1]) < 250


def test_a_cost_that_nobody_knows_is_said_to_be_unknown(jobs: Path) -> None:
    put(jobs, "trial", at=1.0, said={"state": "waiting"}, usd=None)
    assert lines()[1].endswith("cost 0.005 worker hours; their cost is unknown")


def test_the_last_ones_are_shown_and_none_that_is_active(jobs: Path) -> None:
    for number in range(8):
        put(jobs, f"r{number}", at=float(number), said={"state": "running", "at": 50.0 - number})
    (jobs / "r7" / "active").touch()
    os.utime(jobs / "r2", (100, 100))  # cancelled last
    assert [one.name for one in ended_runs(cast(Host, Head()))] == ["r2", "r6", "r5", "r4", "r3"]


def test_a_job_that_is_just_being_taken_over_is_no_ended_run(jobs: Path) -> None:
    """Its files come into a folder beside, which a power cut may leave there."""
    put(jobs, ".new-trial", at=1.0, said="")
    assert lines() == []


def test_without_the_data_volume_no_run_seems_never_to_have_been(jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_volume, "DATA", str(jobs))
    with pytest.raises(subprocess.CalledProcessError) as refused:
        lines()
    assert data_volume.NOT_MOUNTED in refused.value.stderr


def test_a_cluster_without_an_ended_run_shows_none(jobs: Path) -> None:
    assert lines() == []
