"""Files are made again when what they are made of has changed, or they have; and not otherwise."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sweepfleet.grid.sweep import Metric
from sweepfleet.run import files_note
from sweepfleet.run.folder import RunFolder, read_json
from sweepfleet.run.forget import remove, to_remove
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.outputs import Attempt, Outputs
from sweepfleet.run.run_files import write_files, write_summary
from sweepfleet.run.run_progress import Progress
from sweepfleet.run.runs import refresh
from sweepfleet.run.summary import Facts
from sweepfleet.slot.output import Printed
from tests.command import Project
from tests.support import batches, space

METRIC = Metric("value")
HERE = space({"a": [1, 2, 3]})
RAN = Progress(
    total=3, exact=True, resumed=0, done=3, computed=3, busy_s=3.5, slots=2, first_submit_s=1.0, last_result_s=3.0
)
GRID = "name: twice\nrun: fit:fit\nparameters: {a: [1, 2]}\nmetric: {name: loss, goal: minimize}\n"
CODE = "def fit(a):\n    print('hello')\n    return {'loss': a}\n"


def record(folder: RunFolder, outcomes: dict[int, Any]) -> None:
    with contextlib.closing(Ledger(folder.ledger)) as ledger:
        ledger.adopt(HERE)
        pairs = [(HERE.point(index), outcome) for index, outcome in outcomes.items()]
        ledger.record(batches(pairs), git_commit=None, env_hash=None)


def found_done(**more: Any) -> Facts:
    """Of a command that has nothing to do."""
    return Facts(**{"metric": METRIC, "progress": Progress(total=3, exact=True, resumed=3, done=3), **more})


def state(folder: RunFolder) -> list[tuple[bytes, int]]:
    return [(path.read_bytes(), path.stat().st_mtime_ns) for path in (folder.parquet, folder.csv, folder.report)]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run that a command has computed."""
    found = RunFolder(tmp_path / "run")
    found.path.mkdir()
    record(found, {0: 3.0, 1: 2.0, 2: 1.0})
    write_files(found, Facts(metric=METRIC, progress=RAN))
    return found


def test_a_command_that_computes_nothing_writes_the_summary_alone(folder: RunFolder) -> None:
    before = state(folder)
    for _ in range(2):
        summary = write_summary(folder, found_done())
        assert summary is not None
        assert read_json(folder.summary) == summary.to_dict()
        assert (summary.computed, summary.resumed, summary.efficiency) == (0, 3, None)
        assert summary.best is not None
        assert summary.best["mean"] == 1.0
    assert state(folder) == before


def edit(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def forget(folder: RunFolder) -> None:
    with contextlib.closing(Ledger(folder.ledger)) as ledger:
        ledger.forget([HERE.point(1).id])


def redo(folder: RunFolder) -> None:
    with contextlib.closing(Ledger(folder.ledger)) as ledger:
        ledger.redo([1])


def same_count(folder: RunFolder) -> None:
    """A point computed again, whose driver was killed before it made the files."""
    redo(folder)
    record(folder, {1: 0.5})


def shell(folder: RunFolder) -> None:
    with contextlib.closing(sqlite3.connect(folder.ledger)) as db, db:
        db.execute("UPDATE points SET duration_s = duration_s + 1")


def prints(folder: RunFolder) -> None:
    with contextlib.closing(Outputs(folder.output)) as outputs:
        outputs.record([Attempt(HERE.point(1).id, 1.0, failed=False, data=Printed(b"said").pack())])


def note(**changes: Any) -> Callable[[RunFolder], None]:
    def change(folder: RunFolder) -> None:
        folder.files_note.write_text(json.dumps(read_json(folder.files_note) | changes))

    return change


CHANGES: dict[str, Callable[[RunFolder], Any]] = {
    "a table that was removed": lambda folder: folder.csv.unlink(),
    "a table that was edited": lambda folder: edit(folder.csv),
    "a table that was truncated": lambda folder: truncate(folder.parquet),
    "a report that was removed": lambda folder: folder.report.unlink(),
    "a report that was edited": lambda folder: edit(folder.report),
    "a table of several rows a point": lambda folder: folder.long.touch(),
    "a row that was removed": forget,
    "a point that is to be computed again": redo,
    "a row that was replaced": same_count,
    "a ledger that somebody edited": shell,
    "what a point printed": prints,
    "another version": note(code="another"),
    "another metric": note(metric=None),
    "a summary of another shape": note(summary={"name": "run"}),
    "a damaged note": lambda folder: folder.files_note.write_text("{"),
    "a note of another shape": note(inputs=3),
    "no note": lambda folder: folder.files_note.unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_has_changed_is_noticed(folder: RunFolder, change: Callable[[RunFolder], Any]) -> None:
    """And once the files are made, nothing has."""
    assert write_summary(folder, found_done()) is not None
    change(folder)
    assert write_summary(folder, found_done()) is None
    before = read_json(folder.summary)
    write_files(folder, found_done())
    assert read_json(folder.summary) != before
    assert write_summary(folder, found_done()) is not None


@pytest.mark.parametrize(
    "more",
    [{"metric": Metric("value", "maximize")}, {"metric": None}, {"warnings": ("seen",)}, {"stop": "interrupted"}],
    ids=str,
)
def test_what_a_command_says_otherwise_is_noticed(folder: RunFolder, more: Any) -> None:
    assert write_summary(folder, found_done(**more)) is None


def test_a_run_under_another_name_is_another_one(folder: RunFolder) -> None:
    renamed = RunFolder(folder.path.rename(folder.path.with_name("other")))
    assert write_summary(renamed, found_done()) is None


def test_rows_that_wait_in_the_log_are_noticed(folder: RunFolder) -> None:
    """Somebody writes: the ledger's own file has not changed yet."""
    with contextlib.closing(Ledger(folder.ledger)) as ledger:
        before = folder.ledger.stat()
        ledger.redo([1])
        assert folder.ledger.stat() == before
        assert write_summary(folder, found_done()) is None
        write_files(folder, found_done())
        assert not folder.files_note.exists(), "who knows what is in the ledger's own file by the end"


def page(folder: RunFolder) -> tuple[bool, bool]:
    """Whether the page has the account of the command that computed the rows, and when that began."""
    text = folder.report.read_text()
    return "3.5 s of work on 2 slots in 2.0 s" in text, "1970-01-01 00:00:07" in text


def test_the_report_keeps_the_account_of_the_command_that_computed_the_rows(folder: RunFolder) -> None:
    """However often files are made again; the summary is the last command's."""
    folder.manifest.write_text(json.dumps({"started": 7.0}))
    write_files(folder, Facts(metric=METRIC, progress=RAN))
    assert page(folder) == (True, True)
    folder.manifest.write_text(json.dumps({"started": 8.0, "history": [{"started": 7.0}]}))
    folder.csv.unlink()
    assert write_files(folder, found_done()).computed == 0
    assert page(folder) == (True, True)
    for _ in range(2):
        refresh(folder, always=True)
        assert page(folder) == (True, True)
        assert read_json(folder.summary)["computed"] == 0
    record(folder, {1: 0.0})
    same_count(folder)
    write_files(folder, found_done())
    assert page(folder) == (False, False), "these rows are of another command"


def test_the_note_goes_before_the_files_change(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in between, nothing says that all is well."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sweepfleet.run.results.write_results", killed)
    with pytest.raises(KeyboardInterrupt):
        write_files(folder, found_done())
    assert write_summary(folder, found_done()) is None


@pytest.mark.parametrize("name", ["a table that was removed", "a row that was replaced", "a row that was removed"])
def test_whoever_asks_for_results_sees_the_ledgers(folder: RunFolder, name: str) -> None:
    refresh(folder)
    before = state(folder)
    refresh(folder)
    assert state(folder) == before
    CHANGES[name](folder)
    refresh(folder)
    with contextlib.closing(Ledger(folder.ledger, readonly=True)) as ledger:
        rows = [rows for found in ledger.scan(chunk=10) for rows in found]
    table = pl.read_parquet(folder.parquet)
    assert table["point_id"].to_list() == [row[1] for row in rows]
    assert table["started"].to_list() == [row[6] for row in rows]
    assert folder.csv.read_text().count("\n") == 1 + len(rows)


def test_a_copy_of_a_run_is_as_good_as_the_run(folder: RunFolder) -> None:
    copied = RunFolder(folder.path.parent / "aside" / folder.name)
    shutil.copytree(folder.path, copied.path)
    assert write_summary(copied, found_done()) is not None


def test_rows_that_are_removed_are_in_no_file(folder: RunFolder) -> None:
    remove(to_remove(folder, where="a == 2"))
    assert pl.read_parquet(folder.parquet)["param.a"].to_list() == [1, 3]
    assert write_summary(folder, found_done()) is None, "a point is left to run"


def test_any_change_of_our_code_gives_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in ("grid/a.py", "run/report/page.js", "slot/b.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("1")
    monkeypatch.setattr(files_note, "HOME", tmp_path)

    def name() -> str:
        files_note.own_code.cache_clear()
        return files_note.own_code()

    names = [name()]
    assert name() == names[0]
    for file in ("grid/a.py", "run/report/page.js", "slot/b.py"):
        (tmp_path / file).write_text("2")
        names.append(name())
    assert len(set(names)) == len(names)
    files_note.own_code.cache_clear()


def files_of(project: Project) -> Iterator[tuple[str, bytes, int]]:
    for path in sorted((project.runs / "twice").iterdir()):
        if path.name.startswith(("results", "report", "ledger", "output")):
            yield path.name, path.read_bytes(), path.stat().st_mtime_ns


def test_the_same_command_again_changes_no_file_and_imports_nothing_that_makes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path).write(GRID, CODE)
    project.sweep()
    before = list(files_of(project))
    assert [name for name, *_ in before] == [
        *("ledger.sqlite", "output.sqlite", "report.html", "results.csv", "results.parquet")
    ]
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    done = project.sweep("--json")
    assert "sweepfleet.run.files_note" in done.stderr
    assert "polars" not in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["computed"], summary["resumed"]) == (0, 2)
    assert summary["best"]["mean"] == 1
    assert list(files_of(project)) == before
    monkeypatch.delenv("PYTHONPROFILEIMPORTTIME")
    (project.runs / "twice" / "results.csv").unlink()
    project.sweep()
    assert (project.runs / "twice" / "results.csv").exists()
    made = list(files_of(project))
    project.inv("report")
    assert list(files_of(project)) != made, "whoever names it wants it made"
