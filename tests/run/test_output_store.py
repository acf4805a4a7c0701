"""output.sqlite: what points printed is kept with its run, within bounds, shown, and never in a sweep's way."""

from __future__ import annotations

import contextlib
import gc
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.fleet.runs.fetch import _remove_log
from sweepfleet.grid.sweep import Execution
from sweepfleet.machine.head.snapshot import copy
from sweepfleet.run import outputs as stores
from sweepfleet.run.bundles import Bundle, Ended, Found, Lost, Pending, Storing
from sweepfleet.run.driver import Driver
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.output_text import readable, shown
from sweepfleet.run.outputs import Attempt, Outputs, Recorder, forget
from sweepfleet.run.report.printed import printed
from sweepfleet.run.run_progress import Progress
from sweepfleet.slot.output import Printed
from sweepfleet.slot.records import Packet
from tests.command import Project
from tests.support import batches, space, written

A, B, C = "aa" * 8, "bb" * 8, "cc" * 8


def attempt(id_: str, started: float, text: str, *, failed: bool = False) -> Attempt:
    return Attempt(id_, started, failed, Printed(text.encode()).pack())


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with contextlib.closing(Outputs(tmp_path / "output.sqlite")) as opened:
        yield opened


def kept(store: Outputs, id_: str) -> list[tuple[float, bool, str]]:
    return [(started, failed, printed.text) for started, failed, printed in store.of(id_)]


def test_the_last_attempt_and_the_last_failed_one_before_it_stay(store: Outputs) -> None:
    store.record([attempt(A, 1, "first", failed=True), attempt(B, 1, "other")])
    store.record([attempt(A, 2, "second", failed=True)])
    assert kept(store, A) == [(1, True, "first"), (2, True, "second")]
    store.record([attempt(A, 3, "third")])
    assert kept(store, A) == [(2, True, "second"), (3, False, "third")]
    store.record([attempt(A, 4, "fourth")])
    assert kept(store, A) == [(2, True, "second"), (4, False, "fourth")]
    assert kept(store, B) == [(1, False, "other")]
    assert kept(store, C) == []


def test_beyond_the_bound_a_mark_is_kept_and_failed_points_have_room_of_their_own(
    store: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is forgotten or replaced gives its room back."""
    size = len(attempt(A, 1, "x" * 100).data)
    monkeypatch.setattr(stores, "DONE_BYTES", 2 * size)
    monkeypatch.setattr(stores, "FAILED_BYTES", size)
    store.record([attempt(A, 1, "x" * 100), attempt(B, 1, "x" * 100)])
    store.record([attempt(C, 1, "y" * 100)])
    store.record([attempt(C, 2, "z" * 100, failed=True)])
    assert kept(store, C) == [(2, True, "z" * 100)]
    store.record([attempt("dd" * 8, 1, "y" * 100)])
    assert kept(store, "dd" * 8) == [(1, False, "(100 bytes were printed; they were not kept)")]
    store.record([attempt("ee" * 8, 1, "y" * 100, failed=True)])
    assert kept(store, "ee" * 8) == [(1, True, "(100 bytes were printed; they were not kept)")]
    store.forget([A, C, "dd" * 8])
    assert kept(store, A) == kept(store, C) == []
    store.record([attempt(A, 3, "n" * 100)])
    assert kept(store, A) == [(3, False, "n" * 100)]


def test_what_was_kept_is_there_when_it_is_opened_again_and_in_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "output.sqlite"
    with contextlib.closing(Outputs(path)) as store:
        store.record([attempt(A, 1, "text " * 1000)])
        store.copy_to(tmp_path / "copy.sqlite")  # while it is open for writing
    for each in (path, tmp_path / "copy.sqlite"):
        with contextlib.closing(Outputs(each, readonly=True)) as store:
            assert kept(store, A) == [(1, False, "text " * 1000)]
    forget(path, [A])
    forget(tmp_path / "nowhere", [A])
    with contextlib.closing(Outputs(path, readonly=True)) as store:
        assert kept(store, A) == []


def packet(*texts: str | None, fails: tuple[int, ...] = ()) -> Packet:
    """A packet of points, what each printed, and which of them failed."""
    here = space({"a": range(100)})
    points = [here.point(index) for index in range(len(texts))]
    made = Packet("host/0", segments=[written([(p, ValueError("no") if p.index in fails else 1.0) for p in points])])
    made.outputs = {p.id: Printed(t.encode()).pack() for p, t in zip(points, texts, strict=True) if t is not None}
    return Packet.from_bytes(made.to_bytes())


def test_a_packets_outputs_are_stored_with_their_points_start_and_fate(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "output.sqlite")
    recorder.record([packet(None, None)])
    assert not (tmp_path / "output.sqlite").exists(), "where nothing was printed, there is no file"
    recorder.record([packet("one", None, "three", fails=(2,))])
    recorder.close()
    here = space({"a": range(100)})
    with contextlib.closing(Outputs(tmp_path / "output.sqlite", readonly=True)) as store:
        assert [kept(store, here.point(index).id) for index in range(3)] == [
            [(1.7e9, False, "one")],
            [],
            [(1.7e9, True, "three")],
        ]
    assert recorder.notes() == ()


@pytest.mark.parametrize("harm", ["garbage", "folder", "foreign", "newer", "full"])
def test_a_file_that_cannot_be_written_costs_the_text_and_is_told(
    tmp_path: Path, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep goes on, and what is there is left as it is."""
    path = tmp_path / "output.sqlite"
    if harm == "garbage":
        path.write_bytes(b"no database, and longer than a header is" * 100)
    elif harm == "folder":
        path.mkdir()
    elif harm == "full":
        with contextlib.closing(Outputs(path)):
            pass
        connect = sqlite3.connect

        def small(*args: Any, **kwargs: Any) -> sqlite3.Connection:
            db = connect(*args, **kwargs)
            db.execute("PRAGMA max_page_count = 6")  # as a full disk: SQLITE_FULL
            return db

        monkeypatch.setattr(sqlite3, "connect", small)
    else:
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE other (x)")
            db.execute(f"PRAGMA application_id = {stores.APPLICATION_ID if harm == 'newer' else 7}")
            db.execute("PRAGMA user_version = 9" if harm == "newer" else "PRAGMA user_version = 1")
    before = path.read_bytes() if path.is_file() else None
    recorder = Recorder(path)
    recorder.record([packet("".join(map(chr, range(256, 50_000))), "two")])
    recorder.record([packet("".join(map(chr, range(256, 50_000))))])
    recorder.close()
    (note,) = recorder.notes()
    assert note.startswith("What 3 attempts printed could not be kept; the results are complete. ")
    assert str(path) in note
    assert harm == "full" or before is None or path.read_bytes() == before


class OneBundle:
    """An engine that answers every bundle with this packet."""

    slots, flying, sharing = 1, 0, None

    def __init__(self, answer: Packet) -> None:
        self.answer = answer
        self.out: list[Bundle] = []

    @property
    def storing(self) -> Storing:
        return Storing()

    def submit(self, bundle: Bundle) -> None:
        self.out.append(bundle)
        self.flying = len(self.out)

    def wait(self, _: float) -> list[Ended | Lost]:
        ended: list[Ended | Lost] = [Ended(bundle, self.answer.to_bytes()) for bundle in self.out]
        self.out, self.flying = [], 0
        return ended

    def cancel(self, _: Bundle) -> None:
        raise AssertionError

    def found(self) -> list[Found]:
        return []


def test_the_driver_keeps_what_was_printed_before_it_counts_the_point(tmp_path: Path) -> None:
    """A row without its text could be told from one that printed nothing by nobody."""
    here = space({"a": range(3)})
    seen: list[tuple[int, int]] = []
    with contextlib.closing(Ledger(tmp_path / "ledger.sqlite")) as ledger:
        ledger.adopt(here)
        driver = Driver(
            space=here,
            ledger=ledger,
            pending=Pending(here, ledger, shuffle=None),
            engine=OneBundle(packet("one", "two", None)),
            execution=Execution(bundle=3),
            metric=None,
            progress=Progress(3, exact=True, resumed=0),
            git_commit=None,
            env_hash=None,
            show=lambda _: None,
            stopped=lambda: None,
            printed=lambda packets: seen.append((len(packets[0].outputs), sum(ledger.counts()))),
        )
        driver.run()
        assert seen == [(2, 0)]
        assert ledger.counts().done == 3


def test_a_copy_of_a_running_run_has_what_was_printed(tmp_path: Path) -> None:
    """As it goes from a cluster to the bucket, while the driver writes; a damaged file is left out."""
    run = RunFolder(tmp_path / "runs" / "trial")
    run.path.mkdir(parents=True)
    here = space({"a": range(10)})
    with contextlib.closing(Ledger(run.ledger)) as ledger:
        ledger.adopt(here)
        ledger.record(batches([(here.point(0), 1.0)]), git_commit=None, env_hash=None)
    recorder = Recorder(run.output)
    recorder.record([packet("said")])
    first = RunFolder(tmp_path / "first" / "trial")
    copy(run, first)
    recorder.close()
    with contextlib.closing(Outputs(first.output, readonly=True)) as store:
        assert kept(store, here.point(0).id) == [(1.7e9, False, "said")]
    assert {file.name for file in first.path.iterdir() if file.name.startswith("output")} == {"output.sqlite"}
    run.output.write_bytes(b"damaged" * 1000)
    second = RunFolder(tmp_path / "second" / "trial")
    copy(run, second)
    assert second.summary.exists()
    assert not second.output.exists()


def test_what_the_report_shows_drives_no_terminal(store: Outputs) -> None:
    """As `inv output` does: without colours, and of a progress bar its last state."""
    store.record([attempt(A, 1, "10%\r100%\n\x1b[31mred\x1b[0m\x00")])
    assert printed(store.path, [(A, 1.0), (B, 1.0)]).texts == {A: "100%\nred\\x00"}


def test_the_log_of_a_file_that_is_fetched_again_is_removed(tmp_path: Path) -> None:
    """SQLite would apply it to the new file."""
    for name in ("output.sqlite", "output.sqlite-wal", "output.sqlite-shm", "other"):
        (tmp_path / name).touch()
    _remove_log(tmp_path / "output.sqlite")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["other", "output.sqlite"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\n", "a\nb\n"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07plain\x1b[2K", "red plain"),
        ("10%\r 50%\r100%\ndone\r\n", "100%\ndone\n"),
        ("10%\r", "10%"),
        ("\x1b]0;a title without an end\nthe text", "0;a title without an end\nthe text"),
        ("bell\x07 null\x00 tab\t back\x08", "bell\\x07 null\\x00 tab\t back\\x08"),
        ("é€😀", "é€😀"),
        ("\x1b", "\\x1b"),
        ("\u202eright to left", "\\u202eright to left"),
    ],
)
def test_text_is_shown_and_obeyed_by_no_terminal(text: str, shown: str) -> None:
    assert readable(text) == shown


# As a user.

CASES = {
    "printed_text": """\
import sys, warnings
def fit(x):
    print("diagnostic: matrix is singular at step 12")
    print("to stderr", file=sys.stderr); warnings.warn("ill conditioned")
    if x == 2: raise ValueError("no convergence")
    return x
""",
    "flood": """\
import os
def fit(x):
    for _ in range(100): print("z" * 1_000_000)
    return {"log_mb": os.fstat(1).st_size / 1e6}
""",
}
GRID = "name: lost\nrun: fit:fit\nparameters: {x: [1, 2]}\n"


def test_what_a_point_printed_and_warned_is_shown(tmp_path: Path) -> None:
    project = Project(tmp_path).write(GRID, CASES["printed_text"])
    assert "inv output lost --failed" in project.sweep(code=1).stdout
    text = (
        "diagnostic: matrix is singular at step 12\n"
        "to stderr\n"
        f"{tmp_path}/fit.py:4: UserWarning: ill conditioned\n"
        '  print("to stderr", file=sys.stderr); warnings.warn("ill conditioned")\n'
    )
    done, failed = project.table("lost")["point_id"].to_list()
    assert project.inv("output", "--point", done).stdout == text
    assert project.inv("output", "lost", "--point", "0").stdout == text
    said = project.inv("output", "--failed").stdout
    assert said.startswith(f"==> point 1 · {failed} · x=2 · failed: ValueError <==\n{text}Traceback")
    assert said.endswith("ValueError: no convergence\n")
    assert said == project.inv("output", "--failed", "--last").stdout
    assert project.inv("output", "--point", failed[:6], "--last").stdout.startswith(text)
    for words, message in [
        ((), "Whose output? Of one point: --point ID"),
        (("--failed", "--point", "1"), "Whose output?"),
        (("--point", "7"), "no point that has ended has this index"),
        (("--point", "fit"), "is not a point"),
        (("--point", "f" * 16), "no point that has ended"),
        (("--name", "no", "--failed"), "There is no run 'no'"),
    ]:
        assert message in project.inv("output", *words, code=2).stderr
    project.write(GRID.replace("[1, 2]", "[2, 3]"), CASES["printed_text"].replace("x == 2", "x == 9"))
    project.sweep("--retry-failed")
    said = project.inv("output", "--point", failed).stdout
    assert said.count("diagnostic") == 2
    assert " · an earlier attempt, which failed <==\n" in said
    assert " · the last attempt <==\n" in said
    assert project.inv("output", "--failed").stdout == "No point has failed.\n"


def test_a_flood_of_prints_is_done_and_small(tmp_path: Path) -> None:
    """100 MB from each point: in no temporary file, and some kilobytes in the run's folder."""
    project = Project(tmp_path).write(GRID, CASES["flood"])
    project.sweep("--set", "execution.log=2kB")
    assert project.table("lost")["metric.log_mb"].to_list() == [0.0, 0.0]
    assert (project.runs / "lost" / "output.sqlite").stat().st_size < 100_000
    said = project.inv("output", "--point", "0").stdout
    assert said == "z" * 1000 + "\n... 99,998,100 bytes dropped ...\n" + "z" * 999 + "\n"


def test_a_sweep_that_keeps_nothing_leaves_no_file(tmp_path: Path) -> None:
    project = Project(tmp_path).write(GRID + "execution: {log: none}\n", CASES["printed_text"])
    project.sweep(code=1)
    assert not (project.runs / "lost" / "output.sqlite").exists()
    assert "It printed nothing. With `execution.log: none`" in project.inv("output", "--point", "0").stdout


def test_a_damaged_file_is_told_and_the_sweep_is_whole(tmp_path: Path) -> None:
    project = Project(tmp_path).write(GRID, CASES["printed_text"])
    project.sweep(code=1)
    (project.runs / "lost" / "output.sqlite").write_bytes(b"damaged" * 1000)
    said = project.sweep("--retry-failed", code=1).stdout
    assert "Note: What 1 attempt printed could not be kept; the results are complete." in said
    assert "is damaged" in project.inv("output", "--point", "0", code=2).stderr
    shutil.rmtree(project.runs / "lost")


def test_failed_points_may_be_read_in_part(tmp_path: Path) -> None:
    """What is left of the reading ends after the ledger is closed, and in silence: `inv output --failed | head`."""
    project = Project(tmp_path).write(GRID, "def fit(x):\n    raise ValueError(x)\n")
    project.sweep(code=1)
    pieces = shown(RunFolder(project.runs / "lost"), failed=True)
    assert next(pieces).startswith("==> point 0 ")
    pieces.close()
    del pieces
    gc.collect()  # an error in it would be a warning, and fail the test


def test_whoever_reads_only_the_beginning_is_not_told_of_a_broken_pipe(tmp_path: Path) -> None:
    project = Project(tmp_path).write(GRID, "def fit(x):\n    print('line\\n' * 10_000)\n    return x\n")
    project.sweep()
    process = project.start("output", "--point", "0")
    assert process.stdout is not None
    assert process.stdout.readline() == "line\n"
    process.stdout.close()
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()
