"""What is computed again: it keeps its row until the new one is there, and survives every interruption."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.grid.space import Space
from sweepfleet.run.bundles import Pending
from sweepfleet.run.ledger import Counts, Ledger
from tests.support import batches, grid

PLAN = grid({"a": range(6)})
HERE = Space(PLAN)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Points 0 to 3 are done with their index, 4 failed twice, 5 has not run."""
    with contextlib.closing(Ledger(tmp_path / "ledger.sqlite")) as ledger:
        ledger.adopt(HERE)
        record(ledger, {index: float(index) for index in range(4)} | {4: ValueError("old")}, attempts={4: 1})
        yield ledger


def record(ledger: Ledger, outcomes: dict[int, Any], **rest: Any) -> None:
    pairs = [(HERE.point(index), value) for index, value in outcomes.items()]
    ledger.record(batches(pairs, **rest), git_commit=None, env_hash=None)


def pending(ledger: Ledger, *, shuffle: int | None = None) -> set[int]:
    """The indexes that are left to run."""
    left = Pending(HERE, ledger, shuffle=shuffle)
    places = {place for start, stop in left.take(100) for place in range(start, stop)}
    return places if shuffle is None else {left.index_at(place) for place in places}


def values(ledger: Ledger) -> dict[int, Any]:
    """By index: status, attempts, and the metric's bytes or the error."""
    return {row[0]: (row[3], row[4], row[10] or row[12]) for chunk in ledger.scan(chunk=9) for row in chunk}


@pytest.mark.parametrize("shuffle", [None, 5])
def test_points_that_are_to_be_computed_again_are_pending_and_keep_their_rows(
    ledger: Ledger, shuffle: int | None
) -> None:
    before = values(ledger)
    ledger.redo([1, 4, 5])
    assert pending(ledger, shuffle=shuffle) == {1, 4, 5}
    assert ledger.redo_left() == Counts(1, 1)
    assert values(ledger) == before
    assert ledger.counts() == Counts(4, 1)


def test_a_new_row_replaces_the_old_one_and_is_not_pending_any_more(ledger: Ledger) -> None:
    """A done point's row is the new computation's, whole; a failed one's attempts add up, as ever."""
    ledger.redo([1, 2, 4])
    record(ledger, {1: 10.0, 4: 40.0, 3: 99.0}, attempts={1: 2})
    after = values(ledger)
    assert (after[1][:2], after[4][:2]) == ((0, 3), (0, 3))
    assert after[3] == (0, 1, bytes(values(ledger)[3][2]))
    assert pending(ledger) == {2, 5}
    record(ledger, {1: 77.0, 3: 77.0})
    assert values(ledger) == after, "a row that nobody asked for changes nothing"


def test_a_done_point_that_fails_when_computed_again_has_failed(ledger: Ledger) -> None:
    ledger.redo([0])
    record(ledger, {0: KeyError("new")})
    assert values(ledger)[0][0] == 1
    assert ledger.counts() == Counts(3, 2)
    assert ledger.redo_left() == Counts(0, 0)


def test_what_is_left_survives_a_reopening_and_a_change_of_the_grid(ledger: Ledger, tmp_path: Path) -> None:
    ledger.redo([1, 2])
    ledger.close()
    with contextlib.closing(Ledger(tmp_path / "ledger.sqlite")) as again:
        assert pending(again) == {1, 2, 5}
        other = Space(grid({"a": [9, 2, 1]}))
        again.adopt(other)
        assert again.redo_left() == Counts(2, 0)
        assert Pending(other, again, shuffle=None).take(9) == ((0, 3),)


def test_a_request_that_was_made_is_not_made_again(ledger: Ledger) -> None:
    """A driver that starts anew goes on; another request asks for everything once more."""
    ledger.redo([0, 1], request="7.0")
    record(ledger, {0: 10.0})
    ledger.redo([0, 1], request="7.0")
    assert pending(ledger) == {1, 5}
    ledger.redo([0, 1], request="8.0")
    assert pending(ledger) == {0, 1, 5}


def test_forgotten_rows_are_as_if_never_computed(ledger: Ledger) -> None:
    ledger.redo([0, 1])
    ledger.forget([HERE.point(0).id, HERE.point(4).id])
    assert ledger.counts() == Counts(3, 0)
    assert ledger.redo_left() == Counts(1, 0)
    assert pending(ledger) == {0, 1, 4, 5}
