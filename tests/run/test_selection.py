"""What `--where` and `--redo` choose: of the plan's own points, under its own indexes, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.expressions import Expression
from sweepfleet.grid.load import loads
from sweepfleet.grid.plan import Block, Dimension, Distribution, Plan
from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Sweep, Target
from sweepfleet.run.ledger import Counts, Ledger
from sweepfleet.run.selection import Selection, check_redo
from sweepfleet.slot.code import digest
from sweepfleet.slot.project_files import Names
from tests.support import batches, dimension, grid

X = Dimension(("x",), distribution=Distribution("uniform", low=0.0, high=1.0))
PLANS = [
    grid({"a": range(5), "b": [1, 2]}, replicates=3),
    grid({"a": range(5)}, exclude=({"a": 2},), where=("a != 4",)),
    Plan("t", 1, 2, (Block("grid", (dimension("a", range(4)), dimension("b", [1, 2], when="a > 1"))),)),
    Plan("t", 1, 1, (Block("random", (dimension("a", range(9)), dimension("b", [1, 2])), samples=30),)),
    Plan("t", 1, 1, (Block("sobol", (X, dimension("a", range(4))), samples=20),)),
    Plan("t", 1, 1, (Block("one_at_a_time", (dimension("a", range(4)), dimension("b", range(3)))),)),
    Plan("t", 1, 1, (Block("list", rows=({"a": 3}, {"b": 1}, {"a": 1, "b": 2}, {"a": 3})),)),
    Plan(
        "t", 1, 2, (Block("grid", (dimension("a", [1, 3]),)), Block("random", (dimension("a", range(9)),), samples=9))
    ),
]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.blocks[-1].method)
@pytest.mark.parametrize("condition", ["a > 1", "a == 3", "b == 1 or a < 2", "a is None", "a > 99"])
def test_conditions_leave_points_out_and_renumber_none(plan: Plan, condition: str) -> None:
    """Index, id, seed and parameters of what is left are the plan's."""
    whole = Space(plan)
    meets = Expression(condition, ("a", "b", "x"))
    if not meets.names <= set(whole.names):
        return  # refused where the command line is read
    some = Space(plan.narrowed([condition]))
    assert list(some.points(0, some.size)) == [p for p in whole.points(0, whole.size) if meets(p.params)]
    assert some.size == whole.size


def sweep_of(plan: Plan, folder: Path, *, chosen: tuple[str, ...] = ()) -> Sweep:
    return Sweep("s", folder / "grid.yaml", "", Target(run="fit:fit"), plan, chosen=chosen)


@pytest.fixture
def names(tmp_path: Path) -> Names:
    (tmp_path / "fit.py").write_bytes(b"now")
    (tmp_path / "same.py").write_bytes(b"same")
    return Names(folder=str(tmp_path), root=str(tmp_path))


NOW = {"fit.py": digest(b"now")}
CODES: dict[int, dict[str, str]] = {
    0: NOW,
    1: {"fit.py": digest(b"old")},
    2: NOW | {"same.py": digest(b"same")},
    3: NOW | {"gone.py": digest(b"gone")},
    4: {},
    5: NOW,
}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Points 0 to 4 are done, 5 failed, each by another code; 6 and 7 have not run."""
    plan = grid({"a": range(8)})
    with contextlib.closing(Ledger(tmp_path / "ledger.sqlite")) as ledger:
        ledger.adopt(Space(plan))
        for index, code in CODES.items():
            outcome: Any = ValueError() if index == 5 else 1.0
            batch = batches([(Space(plan).point(index), outcome)], code=code)
            ledger.record(batch, git_commit=None, env_hash=None)
        yield ledger


@pytest.mark.parametrize(
    ("what", "chosen", "indexes"),
    [
        ("done", (), [0, 1, 2, 3, 4]),
        ("failed", (), [5]),
        ("all", (), [0, 1, 2, 3, 4, 5]),
        ("stale", (), [1, 3, 4]),
        ("stale", ("a < 3",), [1]),
        ("all", ("a in [0, 5, 7]",), [0, 5]),
        ("failed", ("a < 3",), []),
    ],
)
def test_what_is_computed_again(
    ledger: Ledger, names: Names, tmp_path: Path, what: str, chosen: tuple[str, ...], indexes: list[int]
) -> None:
    """Stale are rows of which a file is other than today or gone, and those of which the code is not known."""
    selection = Selection(sweep_of(grid({"a": range(8)}), tmp_path, chosen=chosen))
    assert list(selection.redone(ledger, what, names)) == indexes


@pytest.mark.parametrize("near", [0, 4])
def test_what_has_ended_is_counted_among_what_is_chosen(
    ledger: Ledger, tmp_path: Path, near: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its rows are looked through in order or asked for one by one."""
    monkeypatch.setattr("sweepfleet.run.selection.NEAR", near)
    ledger.redo([0, 5])
    for condition, expected in (
        ("a % 2 == 1", (Counts(2, 1), Counts(0, 1))),
        ("a < 2", (Counts(2, 0), Counts(1, 0))),
        ("a > 5", (Counts(0, 0), Counts(0, 0))),
        ("a >= 0", (Counts(5, 1), Counts(1, 1))),
    ):
        selection = Selection(sweep_of(grid({"a": range(8)}), tmp_path, chosen=(condition,)))
        assert selection.counts(ledger) == expected, condition


def test_a_choice_without_a_point_is_refused(tmp_path: Path) -> None:
    sweep = loads("run: a:b\nparameters: {a: [1, 2]}", source=tmp_path / "grid.yaml", where=["a > 1", "a < 2"])
    with pytest.raises(UsageError, match=r"'a > 1' and 'a < 2'.*Relax --where"):
        Selection(sweep).check()
    Selection(replace(sweep, chosen=("a > 1",))).check()


def test_a_word_that_is_no_kind_is_refused() -> None:
    for what in ("", "done", "failed", "stale", "all"):
        check_redo(what)
    with pytest.raises(UsageError, match="Use done, failed, stale or all"):
        check_redo("everything")
