"""A run in parts: put together, they are its files as they were copied, however often it was cut."""

from __future__ import annotations

import contextlib
import gzip
import json
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepfleet.grid.space import Space
from sweepfleet.run.folder import RunFolder, StorageError
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.parts import BLOCK, Header, PartError, copied, ended_points, is_news, pack, put_together
from tests.support import batches, grid

PLANS = [grid({"a": range(200)}), grid({"a": [7, *range(300)]}), grid({"b": range(5)})]


class Cut:
    """A run whose parts are made one after the other."""

    def __init__(self, place: Path) -> None:
        self.place, self.parts, self.marks = place, list[Path](), dict[str, bytes]()
        self.headers: list[Header] = []
        self.run = RunFolder(place / "run")
        self.run.path.mkdir()

    def cut(self) -> None:
        copies = self.place / f"copies-{len(self.parts)}"
        copies.mkdir()
        part = self.place / f"{len(self.parts):06d}.part"
        header, self.marks = pack(copied(self.run, copies), part, before=self.marks, at=float(len(self.parts)))
        self.parts.append(part)
        self.headers.append(header)

    def back(self, name: str = "back") -> RunFolder:
        folder = self.place / name
        folder.mkdir()
        put_together(self.parts, folder)
        return RunFolder(folder)


def everything(run: RunFolder) -> list[Any]:
    """All rows of all tables of a ledger."""
    with contextlib.closing(sqlite3.connect(run.ledger)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return [(name, db.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall()) for name in tables]  # noqa: S608


def record(ledger: Ledger, indexes: list[int], *, long: bool) -> None:
    plan = ledger.plan()
    assert plan is not None
    space = Space(plan)
    points = [space.point(index % space.size) for index in dict.fromkeys(index % space.size for index in indexes)]
    outcomes = [
        (point, ValueError("x" * 3000) if point.index % 3 == 2 else {"x": point.index + 0.5, "t": "y" * 500 * long})
        for point in points
    ]
    ledger.record(batches(outcomes), git_commit="c0ffee", env_hash="env")


STEPS = st.lists(
    st.one_of(
        st.just("cut"),
        st.tuples(st.lists(st.integers(0, 299), min_size=1, max_size=60), st.booleans()),
        st.sampled_from(PLANS),
        st.tuples(st.just("redo"), st.lists(st.integers(0, 299), max_size=20)),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(STEPS)
def test_whatever_a_ledger_went_through_its_parts_together_are_its_rows(steps: list[Any]) -> None:
    """Rows in any order, plans that move them, points computed again, cuts anywhere; also while it is open."""
    with tempfile.TemporaryDirectory() as temporary:
        one = Cut(Path(temporary))
        with contextlib.closing(Ledger(one.run.ledger)) as ledger:
            ledger.adopt(Space(PLANS[0]))
            for step in steps:
                if step == "cut":
                    one.cut()
                elif step in PLANS:
                    ledger.adopt(Space(step))
                elif step[0] == "redo":
                    ledger.redo(step[1])
                else:
                    record(ledger, step[0], long=step[1])
            one.cut()
            back = one.back()
            assert everything(back) == everything(one.run)
        with contextlib.closing(Ledger(back.ledger)) as again:  # and it can be written to
            record(again, [1, 2, 3], long=False)


def test_a_part_has_what_changed_and_no_more(tmp_path: Path) -> None:
    """A ledger that grows in the grid's order: each part is as large as what came since."""
    one = Cut(tmp_path)
    with contextlib.closing(Ledger(one.run.ledger)) as ledger:
        ledger.adopt(Space(grid({"a": range(20_000)})))
        for start in range(0, 20_000, 4_000):
            record(ledger, list(range(start, start + 4_000)), long=False)
            one.cut()
    first, *more = (header.changed for header in one.headers)
    assert all(changed <= first + 8 for changed in more)
    assert one.headers[-1].blocks > 4 * max(first, *more)
    assert sum(more) + first < 1.2 * one.headers[-1].blocks
    before = one.marks
    one.cut()
    assert (one.headers[-1].changed, is_news(one.headers[-1], one.marks, before)) == (0, False)


def test_files_that_appear_shrink_and_go_are_followed(tmp_path: Path) -> None:
    """Not only ledgers: the grid, the manifest, the function, each bit by bit."""
    one = Cut(tmp_path)
    Ledger(one.run.ledger).close()
    one.run.grid.write_bytes(b"a" * (3 * BLOCK + 5))
    one.run.function.write_bytes(b"function")
    one.cut()
    one.run.grid.write_bytes(b"a" * (BLOCK + 7))
    one.run.manifest.write_text("{}")
    one.run.function.unlink()
    one.cut()
    back = one.back()
    assert back.grid.read_bytes() == b"a" * (BLOCK + 7)
    assert back.manifest.read_text() == "{}"
    assert not back.function.exists()
    one.run.grid.write_bytes(b"a" * BLOCK)
    before = one.marks
    one.cut()
    assert is_news(one.headers[-1], one.marks, before), "a file became shorter, and no block is another"
    assert one.back("again").grid.stat().st_size == BLOCK


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda one: one.parts.pop(1), "a part is missing or damaged"),
        (lambda one: one.parts[2].write_bytes(one.parts[2].read_bytes()[:-40]), "Part 2 of 3 cannot be used"),
        (lambda one: one.parts[1].write_bytes(b"no gzip"), "Part 1 of 3 cannot be used"),
        (lambda one: one.parts[1].write_bytes(gzip.compress(b"{}\n")), "it does not say what it is of"),
        (lambda one: one.parts[1].write_bytes(gzip.compress(b'{"format": 2}\n')), "the format 2, of a newer"),
    ],
)
def test_parts_that_are_not_all_there_or_damaged_are_refused(tmp_path: Path, harm: Any, said: str) -> None:
    one = Cut(tmp_path)
    with contextlib.closing(Ledger(one.run.ledger)) as ledger:
        ledger.adopt(Space(PLANS[0]))
        for start in (0, 60, 120):
            record(ledger, list(range(start, start + 60)), long=True)
            one.cut()
    harm(one)
    with pytest.raises(PartError, match=said):
        one.back()


def test_a_part_names_no_file_elsewhere(tmp_path: Path) -> None:
    one = Cut(tmp_path)
    piece = {"size": 1, "sha256": "", "changed": [[0, 1]]}
    text = json.dumps({"format": 1, "at": 0, "files": {"../elsewhere": piece}})
    (tmp_path / "part").write_bytes(gzip.compress(text.encode() + b"\nx"))
    one.parts = [tmp_path / "part"]
    with pytest.raises(PartError, match=r"a run has no file '\.\./elsewhere'"):
        one.back()
    assert not (tmp_path / "elsewhere").exists()


def test_what_points_printed_may_be_damaged_and_the_results_are_copied(tmp_path: Path) -> None:
    one = Cut(tmp_path)
    with contextlib.closing(Ledger(one.run.ledger)) as ledger:
        ledger.adopt(Space(PLANS[0]))
        record(ledger, [0, 1, 2], long=False)
    one.run.output.write_bytes(b"SQLite format 3\0" + b"?" * 5000)
    one.cut()
    back = one.back()
    assert not back.output.exists()
    assert ended_points(back.path) == (2, 1)
    one.run.ledger.write_bytes(b"SQLite format 3\0" + b"?" * 5000)
    with pytest.raises(StorageError, match="cannot be copied"):
        one.cut()
