"""The ledger: nothing is in it twice, nothing is lost from it, and nobody else's file is touched."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.plan import Block, Dimension, Distribution, Plan
from sweepfleet.grid.space import Space
from sweepfleet.run import ledger_file, ledger_moving
from sweepfleet.run.ledger import Counts, Ledger, StorageError
from sweepfleet.slot.records import Status
from tests.support import batches, dimension, grid, space


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@contextlib.contextmanager
def opened(path: Path, plan: Plan | None = None, **rest: Any) -> Iterator[Ledger]:
    ledger = Ledger(path, **rest)
    try:
        if plan is not None:
            ledger.adopt(Space(plan))
        yield ledger
    finally:
        ledger.close()


def record(ledger: Ledger, outcomes: list[tuple[Any, Any]], **rest: Any) -> None:
    git_commit = rest.pop("git_commit", "c0ffee")
    ledger.record(batches(outcomes, **rest), git_commit=git_commit, env_hash="env")


def rows(ledger: Ledger) -> dict[int, tuple[Any, ...]]:
    """Every row by its point's index."""
    return {row[0]: row[1:] for chunk in ledger.scan(chunk=7) for row in chunk}


def fill(path: Path, plan: Plan, count: int = 20) -> None:
    with opened(path, plan) as ledger:
        record(ledger, [(point, {"x": point.index + 0.5}) for point in Space(plan).points(0, count)])


# ---- Recording.


def test_a_row_has_all_that_is_known_of_a_point(path: Path) -> None:
    """Id, seed, status, attempts, losses, times, where it was computed, and its metrics or its error."""
    here = space({"a": range(5)})
    with opened(path, here.plan) as ledger:
        outcomes = [(here.point(0), {"x": 1.5}), (here.point(1), ValueError("no")), (here.point(2), {"t": "text"})]
        record(ledger, outcomes, attempts={0: 2}, losses={2: 3}, started=12.5, duration_s=0.25)
        found = rows(ledger)
        assert ledger.counts() == Counts(done=2, failed=1)
        sources, schemas = ledger.sources(), ledger.schemas()
        assert list(ledger.text_metrics()) == [b'{"t": "text"}']
        assert (ledger.busy_s(), ledger.mean_s()) == (0.75, 0.25)
        assert ledger.index_of(here.point(2).id) == 2
        with pytest.raises(KeyError):
            ledger.index_of("0" * 16)
    for index in range(3):
        point = here.point(index)
        id_, seed, status, attempts, losses, started, duration_s, source, *_ = found[index]
        assert (id_, seed, started, duration_s) == (point.id, point.seed, 12.5, 0.25)
        assert status == (Status.FAILED if index == 1 else Status.DONE)
        assert (attempts, losses) == ({0: 3}.get(index, 1), {2: 3}.get(index, 0))
        assert (sources[source].worker, sources[source].git_commit, sources[source].env_hash) == (
            *("host/0", "c0ffee"),
            "env",
        )
    schema, metrics, error_type, error = found[0][-4:]
    assert schemas[schema].unpack(metrics) == {"x": 1.5}
    assert (error_type, error) == (None, None)
    assert found[1][-4:] == (None, None, "ValueError", "ValueError: no")
    assert found[2][-4:] == (None, b'{"t": "text"}', None, None)


def test_a_finished_point_is_never_changed(path: Path) -> None:
    """Recording a done point again, done or failed, leaves every byte of its row as it was."""
    here = space({"a": range(3)})
    with opened(path, here.plan) as ledger:
        record(ledger, [(here.point(1), {"x": 1.0})])
        before = rows(ledger)
        record(ledger, [(here.point(1), {"x": 2.0})], attempts={1: 5}, losses={1: 5}, git_commit="other")
        record(ledger, [(here.point(1), ValueError("late"))])
        assert rows(ledger) == before
        assert ledger.counts() == (1, 0)


def test_a_failed_point_is_replaced_and_its_attempts_add_up(path: Path) -> None:
    """Run again it may fail or finish; what was tried and lost before is counted."""
    here = space({"a": range(3)})
    with opened(path, here.plan) as ledger:
        record(ledger, [(here.point(1), ValueError("first"))], attempts={1: 2}, losses={1: 1})
        record(ledger, [(here.point(1), KeyError("second"))], losses={1: 4})
        row = rows(ledger)[1]
        assert (row[3], row[4], row[-2]) == (4, 5, "KeyError")
        record(ledger, [(here.point(1), {"x": 1.0})], attempts={1: 1})
        row = rows(ledger)[1]
        assert (row[2], row[3], row[4], row[-2], row[-1]) == (Status.DONE, 6, 5, None, None)


def test_a_batch_is_recorded_whole_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the middle leaves the ledger as it was, and the next record is sound."""
    here = space({"a": range(4)})
    with opened(path, here.plan) as ledger:
        good, bad = (
            batches([(here.point(0), {"x": 1})]),
            batches([(here.point(1), {"y": 1}), (here.point(2), {"y": 2})]),
        )
        bad[0][0].schemas.clear()  # its payloads can no longer be named
        with pytest.raises(KeyError):
            ledger.record([*good, *bad], git_commit="a", env_hash=None)
        assert (rows(ledger), ledger.sources(), ledger.schemas()) == ({}, {}, {})
        ledger.record(good, git_commit="a", env_hash=None)
        assert set(ledger.sources()) == {rows(ledger)[0][7]}, "a number from what was undone is not used"
        assert set(ledger.schemas()) == {rows(ledger)[0][8]}


def test_rows_that_are_to_be_tried_again_are_left_out(path: Path) -> None:
    here = space({"a": range(4)})
    with opened(path, here.plan) as ledger:
        record(ledger, [(here.point(index), ValueError(str(index))) for index in range(4)], again=[1, 3])
        assert set(rows(ledger)) == {0, 2}


def test_what_has_ended_is_found_from_anywhere(path: Path) -> None:
    here = space({"a": range(30)})
    with opened(path, here.plan) as ledger:
        record(ledger, [(here.point(index), 1.0 if index % 2 else ValueError()) for index in range(20)])
        assert ledger.ended_from(0, limit=100) == list(range(20))
        assert ledger.ended_from(5, limit=3) == [5, 6, 7]
        ledger.redo([6, 8])
        assert ledger.ended_from(5, limit=3) == [5, 7, 9]
        assert [ledger.has_ended(index) for index in (18, 19, 20)] == [True, True, False]
        assert [ledger.has_ended(index) for index in (8, 9)] == [False, True]


def test_an_error_with_bytes_that_are_no_text_is_recorded(path: Path) -> None:
    """A lone surrogate in a message or a metric must not stop the driver."""
    here = space({"a": range(2)})
    with opened(path, here.plan) as ledger:
        record(ledger, [(here.point(0), OSError("\udcff")), (here.point(1), {"t": "\ud800\x00"})])
        assert "udcff" in rows(ledger)[0][-1]


# ---- Taking up another plan.


values = st.sampled_from([0, 1, 2, 1.5, "x", True, None, [1]])
dimension_lists = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.lists(values, min_size=1, max_size=4, unique_by=repr),
    min_size=1,
    max_size=3,
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    blocks = []
    for _ in range(draw(st.integers(1, 2))):
        parameters = draw(dimension_lists)
        names = draw(st.permutations(list(parameters)))
        method = draw(st.sampled_from(["grid", "grid", "random", "one_at_a_time"]))
        samples = draw(st.integers(1, 8)) if method == "random" else 0
        exclude = draw(st.sampled_from([(), ({"a": 1},)])) if "a" in parameters else ()
        dimensions = tuple(dimension(name, parameters[name]) for name in names)
        blocks.append(Block(method, dimensions, samples=samples, exclude=exclude))
    target = draw(st.sampled_from(["fit:fit", "fit:fit", "other:fit"]))
    return Plan(target, draw(st.integers(0, 1)), draw(st.integers(1, 3)), tuple(blocks))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(plans(), min_size=2, max_size=4), st.data())
def test_whatever_becomes_of_the_grid_rows_stay_with_their_points(history: list[Plan], data: st.DataObject) -> None:
    """After each change every row stands at its point's index, none is lost, none is there twice, and a point
    that comes back brings its row."""
    seen: dict[str, tuple[Any, ...]] = {}
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder, "ledger.sqlite")) as ledger:
        for turn, plan in enumerate(history):
            here = Space(plan)
            ledger.adopt(here)
            assert ledger.plan() == plan
            found = rows(ledger)
            points = {point.id: point for point in here.points(0, here.size)}
            assert all(here.point(index).id == row[0] for index, row in found.items())
            assert {row[0] for row in found.values()} == seen.keys() & points.keys()
            assert ledger.former() == len(seen.keys() - points.keys())
            assert all(row == seen[row[0]] for row in found.values()), "not a byte of a row has changed"
            fresh = [point for point in points.values() if point.id not in seen]
            chosen = data.draw(st.lists(st.sampled_from(fresh), unique_by=lambda p: p.id)) if fresh else []
            record(ledger, [(point, {"x": turn + 0.5}) for point in chosen])
            after = rows(ledger)
            seen |= {point.id: after[point.index] for point in chosen}


BEFORE = {"a": [1, 2], "b": [10, 20]}


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        (grid({"a": [1, 2, 3], "b": [10, 20]}), 4),
        (grid({"a": [0, 1, 2], "b": [10, 20]}), 4),
        (grid({"a": [1, 1.5, 2], "b": [10, 15, 20]}), 4),
        (grid({"b": [20, 10], "a": [2, 1]}), 4),
        (grid({"a": [2], "b": [10, 20]}), 2),
        (grid({"a": [1, 2], "b": [10, 20]}, replicates=3), 4),
        (grid({"a": [1, 2], "b": [10, 20]}, exclude=({"a": 1, "b": 10},)), 3),
        (grid({"a": [1.0, 2.0], "b": [10, 20]}), 0),
        (grid(BEFORE, target="other:fit"), 0),
        (grid(BEFORE, seed=7), 4),
        (grid({"a": [1, 2], "b": [10, 20], "c": [0]}), 0),
    ],
    ids=["end", "front", "middle", "reordered", "less", "replicates", "exclude", "floats", "target", "seed", "key"],
)
def test_a_change_and_its_undoing_leave_every_row(path: Path, after: Plan, kept: int) -> None:
    """What the new plan still has is kept, the rest waits, and the old plan has all of it again."""
    before = grid(BEFORE)
    fill(path, before)
    with opened(path) as ledger:
        original = rows(ledger)
        ledger.adopt(Space(after))
        assert (ledger.counts().done, ledger.former()) == (kept, 4 - kept)
        ledger.adopt(Space(before))
        assert rows(ledger) == original
        assert ledger.former() == 0


def drawn(samples: int, *, replicates: int = 1, law: bool = True) -> Plan:
    distribution = Distribution("uniform", low=0.0, high=1.0)
    x = Dimension(("x",), distribution=distribution) if law else dimension("x", range(100))
    return Plan("fit:fit", 3, replicates, (Block("random", (x,), samples=samples),))


@pytest.mark.parametrize("law", [True, False])
@pytest.mark.parametrize("more", [drawn(30), drawn(10, replicates=3), drawn(30, replicates=2)], ids=str)
def test_more_random_samples_or_replicates_run_only_what_is_new(path: Path, more: Plan, *, law: bool) -> None:
    """Draws, of a continuous law too, are where they were: all their rows are kept."""
    before = drawn(10, law=law)
    more = replace(more, blocks=drawn(more.blocks[0].samples, law=law).blocks)
    fill(path, before)
    with opened(path, more) as ledger:
        here = Space(more)
        assert (ledger.counts().done, ledger.former()) == (10, 0)
        assert all(here.point(index).id == row[0] for index, row in rows(ledger).items())


def test_a_changed_seed_is_remembered(path: Path) -> None:
    """Rows keep the seed that they were given; the ledger says that it is another."""
    fill(path, grid(BEFORE))
    with opened(path) as ledger:
        assert ledger.seed_changed() is None
        ledger.adopt(Space(grid(BEFORE, seed=7)))
        assert ledger.seed_changed() == "42 -> 7"
        assert rows(ledger)[0][1] == Space(grid(BEFORE)).point(0).seed


@pytest.mark.parametrize("when", ["the plan's", "DROP TABLE", "ALTER TABLE", "INTO former", "INTO moved"])
def test_a_change_that_is_cut_off_changes_nothing(path: Path, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at any step of the move, the ledger is the old one, whole."""
    fill(path, grid(BEFORE))
    after = Space(grid({"a": [2, 3], "b": [10]}))
    with opened(path) as ledger:
        before, plan = rows(ledger), ledger.plan()
        if when == "the plan's":
            monkeypatch.setattr(ledger, "_set", _killed)
        else:

            class Db:
                def execute(self, query: str, *rest: Any) -> Any:
                    return _killed() if when in query else real.execute(query, *rest)

            real = ledger._db
            monkeypatch.setattr(ledger, "_db", Db())
        with pytest.raises(KilledError):
            ledger.adopt(after)
        monkeypatch.undo()
        assert (rows(ledger), ledger.plan(), ledger.former()) == (before, plan, 0)
        ledger.adopt(after)
        assert (ledger.counts().done, ledger.former()) == (1, 3)


class KilledError(BaseException):
    pass


def _killed(*_: Any) -> None:
    raise KilledError


# ---- Files that are no ledger.


def refused(path: Path, *, chunk: int = 1000) -> str:
    """The refusal of a file, which must be there unchanged afterwards."""
    before = path.read_bytes()
    for readonly in (False, True):
        with pytest.raises(UsageError) as error, opened(path, readonly=readonly) as ledger:
            # A page deep inside is only met when it is read.
            for _ in ledger.scan(chunk=chunk):
                pass
        assert path.read_bytes() == before
        assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("share", [0.03, 0.3, 0.5, 0.99])
def test_a_truncated_ledger_is_refused_and_left_alone(path: Path, share: float) -> None:
    fill(path, grid({"a": range(3000)}), 3000)
    size = path.stat().st_size
    os.truncate(path, int(size * share))
    assert "truncated" in refused(path)


@pytest.mark.parametrize("length", [1, 16, 99])
def test_a_ledger_cut_within_its_header_is_refused(path: Path, length: int) -> None:
    fill(path, grid(BEFORE))
    os.truncate(path, length)
    assert "not a ledger" in refused(path)


def killed_writer(path: Path) -> None:
    """A ledger of 3,000 rows whose writer was killed: 10 of them are only in the write-ahead log."""
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom tests.support import batches, space\n"
        "from sweepfleet.run.ledger import Ledger\n"
        "here = space({'a': range(4000)})\nledger = Ledger(Path(sys.argv[1]))\n"
        "def add(low, high):\n"
        "    outcomes = [(point, {'x': 0.5}) for point in here.points(low, high)]\n"
        "    ledger.record(batches(outcomes), git_commit=None, env_hash=None)\n"
        "ledger.adopt(here)\nadd(0, 2990)\nledger._db.execute('PRAGMA wal_checkpoint(TRUNCATE)')\nadd(2990, 3000)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == -9
    assert path.with_name("ledger.sqlite-wal").stat().st_size > 0


def test_a_ledger_whose_writer_was_killed_is_whole(path: Path) -> None:
    """What was committed is there, also what is only in the log."""
    killed_writer(path)
    with opened(path, readonly=True) as ledger:
        assert ledger.counts() == (3000, 0)
    with opened(path) as ledger:
        assert ledger.counts() == (3000, 0)


@pytest.mark.parametrize("share", [0.1, 0.6, 0.9])
def test_a_truncated_ledger_is_refused_although_its_log_is_there(path: Path, share: float) -> None:
    """The rows in the log do not make up for the pages that are gone."""
    killed_writer(path)
    os.truncate(path, int(path.stat().st_size * share))
    assert "truncated" in refused(path)


def test_a_damaged_page_is_told_as_what_it_is(path: Path) -> None:
    """Garbage inside the file is the file's fault: not a full disk, not a traceback, and nothing is written."""
    fill(path, grid({"a": range(3000)}), 3000)
    data = bytearray(path.read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 : page * 4096 + 200] = b"\xa5" * 200
    path.write_bytes(data)
    assert "damaged" in refused(path)


def test_a_damaged_file_whose_pages_go_round_is_refused(path: Path) -> None:
    """A page that stands where another belongs leads back to rows that were read already: not for ever."""
    fill(path, grid({"a": range(3000)}), 3000)
    data = bytearray(path.read_bytes())
    with opened(path, readonly=True) as ledger:
        root = ledger._db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'points'").fetchone()[0]
    at = (root - 1) * 4096
    assert data[at] == 5, "an inner page: its cells and its last word are the pages below"
    (first_cell,) = struct.unpack_from(">H", data, at + 12)
    data[at + 8 : at + 12] = data[at + first_cell : at + first_cell + 4]  # the last page is the first again
    path.write_bytes(data)
    assert "out of order" in refused(path, chunk=5)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"point_id,replicate\n" * 100)
    assert "not a ledger" in refused(path)


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_another_programs_database_is_refused(path: Path, version: int, journal: str) -> None:
    """Most programs leave user_version at 0, or have a 1 of their own: both are told from ours."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA journal_mode = {journal}")
        db.execute("CREATE TABLE photos (name TEXT)")
        db.execute(f"PRAGMA user_version = {version}")
        db.commit()
    assert "another program" in refused(path)


def test_another_programs_database_whose_tables_are_in_its_log_is_refused(path: Path, tmp_path: Path) -> None:
    """A database that was just made may have nothing in its file yet."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE photos (name TEXT)")
        db.commit()
        with pytest.raises(UsageError, match="another program"), opened(path):
            pass
        assert db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)


def test_a_newer_ledger_is_refused_with_how_to_go_on(path: Path) -> None:
    fill(path, grid(BEFORE))
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {ledger_file.VERSION + 1}")
    assert "Update sweepfleet" in refused(path)


def test_a_newer_version_that_is_only_in_the_log_is_seen(path: Path) -> None:
    fill(path, grid(BEFORE))
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {ledger_file.VERSION + 1}")
        db.commit()
        assert path.with_name("ledger.sqlite-wal").stat().st_size > 0
        with pytest.raises(UsageError, match="newer"), opened(path):
            pass


@pytest.mark.parametrize("what", ["an empty file", "a header alone"])
def test_a_ledger_that_was_killed_at_its_birth_is_made_anew(path: Path, what: str) -> None:
    """Between the file's making and its first commit there is nothing to lose, and nothing to read."""
    if what == "an empty file":
        path.touch()
    else:
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA journal_mode = WAL")
        assert path.stat().st_size > 0
    with pytest.raises(UsageError, match="no results yet"), opened(path, readonly=True):
        pass
    fill(path, grid(BEFORE))
    with opened(path, readonly=True) as ledger:
        assert ledger.counts() == (4, 0)


def test_a_ledger_that_is_not_there_cannot_be_read(path: Path) -> None:
    with pytest.raises(UsageError, match="no results yet"), opened(path, readonly=True):
        pass
    assert not path.exists(), "asking makes no file"


def test_a_reader_cannot_write(path: Path) -> None:
    fill(path, grid(BEFORE))
    with opened(path, readonly=True) as ledger, pytest.raises(StorageError):
        ledger.adopt(space({"a": [1]}))


# ---- Disks.


FULL = """\
import sys
from pathlib import Path
from sweepfleet.run.ledger import Ledger, StorageError
from tests.support import batches, space
here = space({"a": range(1000), "b": range(1000)})
ledger = Ledger(Path(sys.argv[1]))
ledger.adopt(here)
kept = 0
try:
    while kept < 10**6:
        outcomes = [(point, {"x": point.index + 0.5}) for point in here.points(kept, kept + 1000)]
        ledger.record(batches(outcomes), git_commit=None, env_hash=None)
        kept += 1000
except StorageError as error:
    assert "cannot be written" in str(error) and "make room on the disk" in str(error).lower(), error
    assert ledger.counts() == (kept, 0), (ledger.counts(), kept)
    assert len(ledger.sources()) == 1
    ledger.close()
    print(kept)
"""
LIMITED = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n" + (
    "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n" + FULL
)


def can_mount() -> bool:
    if not shutil.which("unshare"):
        return False
    return (
        subprocess.run(
            ["unshare", "-m", "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True, check=False
        ).returncode
        == 0
    )


def test_a_file_that_may_not_grow_keeps_what_was_committed(path: Path) -> None:
    """At the limit of a file's size: a clear error, and every earlier commit readable."""
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kept = int(done.stdout)
    assert kept > 0
    with opened(path) as ledger:
        assert ledger.counts() == (kept, 0)
        here = space({"a": range(1000), "b": range(1000)})
        record(ledger, [(here.point(kept), {"x": 1.0})])
        assert ledger.counts() == (kept + 1, 0), "with room again it goes on"


@pytest.mark.skipif(not can_mount(), reason="needs root that may mount in a namespace of its own")
def test_a_full_disk_keeps_what_was_committed(tmp_path: Path) -> None:
    """On a disk of 1 MB: a clear error, and every earlier commit readable, there and in a copy."""
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    script = (
        'mount -t tmpfs -o size=1m none "$1" && "$2" -c "$3" "$1/ledger.sqlite" && cp -r "$1" "$4" '
        '&& "$2" -c "$5" "$1/ledger.sqlite"'
    )
    reading = (
        "import sys\nfrom pathlib import Path\nfrom sweepfleet.run.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]), readonly=True)\nprint(ledger.counts().done)\nledger.close()\n"
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(disk), sys.executable, FULL, str(copy), reading],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kept, there = map(int, done.stdout.split())
    assert kept == there > 0
    with opened(copy / "ledger.sqlite") as ledger:
        assert ledger.counts() == (kept, 0)


@pytest.mark.skipif(not can_mount(), reason="needs root that may mount in a namespace of its own")
@pytest.mark.parametrize("there", [True, False])
def test_a_disk_that_may_not_be_written_is_a_clear_error(tmp_path: Path, *, there: bool) -> None:
    """Read-only: nothing can be recorded, and it says so instead of a traceback."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if there:
        fill(disk / "ledger.sqlite", grid(BEFORE))
    script = (
        "import sys\nfrom pathlib import Path\nfrom sweepfleet.run.ledger import Ledger, StorageError\n"
        "from tests.support import space\n"
        "try:\n    Ledger(Path(sys.argv[1])).adopt(space({'a': range(3)}))\n"
        "except StorageError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [
            *("unshare", "-m", "sh", "-c", 'mount --bind -o ro "$1" "$1" && "$2" -c "$3" "$1/ledger.sqlite"'),
            *("sh", str(disk), sys.executable, script),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be written" in done.stdout


def test_a_reader_sees_only_whole_commits_while_a_writer_writes(path: Path) -> None:
    """Counts read from another connection only ever grow, by whole batches."""
    here = space({"a": range(3000)})
    seen: list[int] = []
    problems: list[BaseException] = []
    finished = threading.Event()

    def reading() -> None:
        try:
            while not finished.is_set():
                with opened(path, readonly=True) as reader:
                    seen.append(reader.counts().done)
        except (UsageError, StorageError) as error:
            problems.append(error)

    with opened(path, here.plan) as ledger:
        thread = threading.Thread(target=reading)
        thread.start()
        for low in range(0, 3000, 100):
            record(ledger, [(point, 0.5) for point in here.points(low, low + 100)])
        finished.set()
        thread.join()
    assert problems == []
    assert seen
    assert all(before <= after for before, after in itertools.pairwise(seen))
    assert {count % 100 for count in seen} == {0}


# ---- Draws of continuous laws, which cannot be searched for by their parameters.


@st.composite
def unions(draw: st.DrawFn) -> Plan:
    """A union of grids and continuous draws whose sizes, order and replicates change from one to the next."""
    x = Dimension(("x",), distribution=Distribution("uniform", low=0.0, high=1.0))
    maybe = Dimension(("y",), distribution=Distribution("uniform", low=0.0, high=1.0), when="b == 1")
    blocks = []
    for kind in draw(st.lists(st.sampled_from(["grid", "random", "sobol", "conditional"]), min_size=1, max_size=4)):
        size = draw(st.integers(1, 6))
        if kind == "grid":
            blocks.append(Block("grid", (dimension("a", range(size)),)))
        elif kind == "conditional":
            blocks.append(Block("sobol", (dimension("b", [0, 1]), maybe), samples=size))
        else:
            where = draw(st.sampled_from([(), ("x > 0.5",)]))
            blocks.append(Block("sobol" if kind == "sobol" else "random", (x,), samples=size, where=where))
    return Plan("fit:fit", 3, draw(st.integers(1, 3)), tuple(blocks))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(unions(), min_size=2, max_size=5))
def test_rows_of_draws_go_wherever_their_points_go(history: list[Plan]) -> None:
    """Grown, shrunk and grown again: what was ever computed has its row at its index, and nothing else has."""
    seen: dict[str, tuple[Any, ...]] = {}
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder, "ledger.sqlite")) as ledger:
        for plan in history:
            here = Space(plan)
            ledger.adopt(here)
            points = list(here.points(0, here.size))
            assert rows(ledger) == {point.index: seen[point.id] for point in points if point.id in seen}
            assert ledger.former() == len(seen.keys() - {point.id for point in points})
            fresh = [point for point in points if point.id not in seen]
            record(ledger, [(point, {"x": 0.5}) for point in fresh])
            after = rows(ledger)
            seen |= {point.id: after[point.index] for point in fresh}


def after_a_grid(alphas: int, samples: int, *, replicates: int = 1) -> Plan:
    alpha = Block("grid", (dimension("alpha", range(alphas)),))
    return Plan("fit:fit", 3, replicates, (alpha, *drawn(samples).blocks))


@pytest.mark.parametrize("after", [after_a_grid(4, 5), after_a_grid(1, 7), after_a_grid(9, 5, replicates=2)])
def test_draws_behind_a_block_that_grows_are_not_run_again(
    path: Path, after: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their places alone, as where there are too many draws to look at each."""
    monkeypatch.setattr(ledger_moving, "MOST_SEARCHED_DRAWS", 0)
    fill(path, after_a_grid(3, 5))
    here = Space(after)
    with opened(path, after) as ledger:
        assert sum("x" in here.point(index).params for index in rows(ledger)) == 5
        assert all(here.point(index).id == row[0] for index, row in rows(ledger).items())
