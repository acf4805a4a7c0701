"""What is left to run, cut into bundles."""

from __future__ import annotations

import contextlib
import math
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepfleet.grid.plan import Block, Plan
from sweepfleet.grid.space import Space
from sweepfleet.run.bundles import (
    FIRST_POINTS,
    FIRST_S,
    GROWTH,
    LEAST_S,
    MAX_POINTS,
    MAX_SPANS,
    SHARE,
    TARGET_S,
    Bundle,
    Pending,
    Retries,
    Sizer,
)
from sweepfleet.run.ledger import Ledger
from tests.support import batches, dimension, space


@contextlib.contextmanager
def ledger_with(space: Space, done: set[int], failed: set[int] = frozenset()) -> Iterator[Ledger]:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder, "ledger.sqlite"))
        try:
            ledger.adopt(space)
            outcomes: list[Any] = [(space.point(index), 0.5) for index in sorted(done)]
            outcomes += [(space.point(index), ValueError("no")) for index in sorted(failed)]
            if outcomes:
                ledger.record(batches(outcomes), git_commit=None, env_hash=None)
            yield ledger
        finally:
            ledger.close()


def taken(pending: Pending, sizes: list[int]) -> list[int]:
    """The indexes that `pending` gives, in bundles of these sizes, over and over."""
    found: list[int] = []
    for turn in range(10**6):
        size = sizes[turn % len(sizes)]
        spans = pending.take(size)
        if not spans:
            assert pending.take(1) == ()
            return found
        assert all(start < stop for start, stop in spans)
        assert len(spans) <= MAX_SPANS
        count = sum(stop - start for start, stop in spans)
        assert 0 < count <= size
        places = [place for start, stop in spans for place in range(start, stop)]
        found += places if pending.shuffle is None else map(pending.index_at, places)
    raise AssertionError("it never ends")


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Small grids with holes: a condition, an exclusion, a dimension that is not always there, replicates."""
    blocks = []
    for _ in range(draw(st.integers(1, 2))):
        sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
        names = ["a", "b", "c"][: len(sizes)]
        dimensions = [dimension(name, range(size)) for name, size in zip(names, sizes, strict=True)]
        if len(dimensions) > 1 and draw(st.booleans()):
            dimensions[-1] = dimension(names[-1], range(sizes[-1]), when="a == 0")
        where = draw(st.sampled_from([(), ("a != 1",), ("a % 2 == 0",), ("a > 100",)]))
        exclude = draw(st.sampled_from([(), ({"a": 0},), ({"a": 2, "b": 1},)])) if len(names) > 1 else ()
        method = draw(st.sampled_from(["grid", "grid", "random"]))
        samples = draw(st.integers(1, 30)) if method == "random" else 0
        blocks.append(Block(method, tuple(dimensions), samples=samples, where=where, exclude=exclude))
    return Space(Plan("fit:fit", 3, draw(st.integers(1, 3)), tuple(blocks)))


@settings(deadline=None, max_examples=70, derandomize=True)
@given(spaces(), st.data(), st.lists(st.integers(1, 7), min_size=1, max_size=4), st.booleans())
def test_exactly_the_points_that_have_not_ended_are_taken(
    space: Space,
    data: st.DataObject,
    sizes: list[int],
    redo: bool,  # noqa: FBT001 - hypothesis draws it
) -> None:
    """In order and shuffled, with holes, resumed anywhere, in bundles of any size: each once and no other."""
    indexes = [index for index in range(space.size) if space.exists(index)]
    ended = data.draw(st.sets(st.sampled_from(indexes))) if indexes else set()
    failed = {index for index in ended if data.draw(st.booleans())} if ended else set()
    expected = [index for index in indexes if index not in (ended - failed if redo else ended)]
    with ledger_with(space, ended - failed, failed) as ledger:
        for shuffle in (None, 0x5EED):
            if redo:
                ledger.redo(failed)
            found = taken(Pending(space, ledger, shuffle=shuffle), sizes)
            assert (found if shuffle is None else sorted(found)) == expected


@pytest.mark.parametrize("shuffle", [None, 1])
def test_what_this_command_records_meanwhile_changes_nothing(shuffle: int | None) -> None:
    """The ledger grows behind the place that was reached: nothing is skipped, nothing comes twice."""
    here = space({"a": range(500)}, where=("a % 3 != 0",))
    expected = [index for index in range(500) if here.exists(index)]
    for before in (set(), {1, 7, 100}):
        with ledger_with(here, before) as ledger:
            pending = Pending(here, ledger, shuffle=shuffle)
            found: list[int] = []
            while spans := pending.take(7):
                places = [place for start, stop in spans for place in range(start, stop)]
                indexes = places if shuffle is None else [pending.index_at(place) for place in places]
                ledger.record(
                    batches([(here.point(index), 1.5) for index in indexes]), git_commit=None, env_hash=None
                )
                found += indexes
            assert sorted(found) == [index for index in expected if index not in before]


def test_more_ended_points_than_one_page_are_all_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended points are looked up a page at a time, and no page's edge is forgotten."""
    monkeypatch.setattr("sweepfleet.run.bundles.PAGE", 10)
    here = space({"a": range(100)})
    for ended in (set(range(100)), set(range(10)), set(range(90, 100)), set(range(0, 100, 2)), set(range(5, 35))):
        with ledger_with(here, ended) as ledger:
            found = taken(Pending(here, ledger, shuffle=None), [6])
            assert found == sorted(set(range(100)) - ended)


def test_a_shuffled_order_is_not_the_grids() -> None:
    """Shuffled means shuffled, and the same each time."""
    here = space({"a": range(200)})
    with ledger_with(here, set()) as ledger:
        orders = [taken(Pending(here, ledger, shuffle=key), [50]) for key in (5, 5, 6)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0]) == list(range(200))


@pytest.mark.parametrize("shuffle", [None, 5])
def test_a_huge_grid_costs_no_memory(shuffle: int | None) -> None:
    """A few bundles of 10^12 points are taken without listing them."""
    here = space({"a": range(10**4), "b": range(10**4), "c": range(10**4)})
    with ledger_with(here, {5, 10**11}) as ledger:
        tracemalloc.start()
        try:
            pending = Pending(here, ledger, shuffle=shuffle)
            for _ in range(20):
                count = sum(stop - start for start, stop in pending.take(1000))
                assert count == 1000
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()


def test_a_bundle_full_of_holes_stays_small() -> None:
    """However many points are asked for, a bundle has no more than MAX_SPANS spans."""
    here = space({"a": range(5000)}, where=("a % 2 == 0",))
    with ledger_with(here, set()) as ledger:
        spans = Pending(here, ledger, shuffle=None).take(5000)
    assert len(spans) == MAX_SPANS
    assert Bundle(1, spans).points == MAX_SPANS


@settings(deadline=None, max_examples=200, derandomize=True)
@given(
    st.integers(1, 64),
    st.one_of(st.none(), st.integers(1, 10**6)),
    st.lists(
        st.tuples(st.integers(1, MAX_POINTS), st.floats(0, 1e5), st.one_of(st.none(), st.integers(1, 10**9))),
        max_size=15,
    ),
)
def test_a_bundles_length_is_always_sound(slots: int, fixed: int | None, history: list[Any]) -> None:
    """At least one point, no more than fit, no more than what is left shared out, and as written when fixed."""
    sizer = Sizer(slots=slots, fixed=fixed)
    assert sizer.next(None) == (1 if fixed is None else min(fixed, MAX_POINTS)), "one, as long as nothing is known"
    longest, known_s = 1, None
    for points, wall_s, remaining in history:
        sizer.saw(points=points, wall_s=wall_s)
        longest = max(longest, points)
        seen_s = max(wall_s, 1e-6) / points
        known_s = seen_s if known_s is None else (known_s + seen_s) / 2
        length = sizer.next(remaining)
        assert 1 <= length <= MAX_POINTS
        if fixed is not None:
            assert length == min(fixed, MAX_POINTS)
            continue
        assert length <= GROWTH * longest
        if remaining is not None:
            assert length <= max(1, math.ceil(remaining / (SHARE * slots)), LEAST_S / known_s)


@pytest.mark.parametrize(("slots", "points"), [(2, 6000), (16, 40), (1, 1), (3, 50)])
def test_the_first_bundles_leave_enough_for_every_slot(slots: int, points: int) -> None:
    """They come back soon, with what they have finished; until then their points are nobody else's."""
    sizer, window, left = Sizer(slots=slots, window=3), 0, points
    while window < 3 * slots and left:
        length = sizer.next(left)
        assert sizer.limit_s == FIRST_S
        assert 1 <= length <= FIRST_POINTS
        left, window = left - length, window + 1
    assert window == 3 * slots or window == points
    assert left >= points // 2 or window == points
    sizer.saw(points=1, wall_s=10.0)
    assert (sizer.next(left), sizer.limit_s) == (1, None)
    assert Sizer(slots=slots, fixed=7).limit_s is None


@pytest.mark.parametrize("point_s", [0.0001, 0.001, 0.01])
def test_the_last_bundles_end_together_and_are_not_many(point_s: float) -> None:
    """Two slots, points of a constant length: no bundle but the last is shorter than is worth handing out."""
    sizer, left, ends = Sizer(slots=2), 3000, [0.0, 0.0]
    sizer.saw(points=1000, wall_s=1000 * point_s)
    bundles = []
    while left:
        length = min(left, sizer.next(left))
        ends[ends.index(min(ends))] += length * point_s
        bundles.append(length * point_s)
        left -= length
    assert abs(ends[0] - ends[1]) <= LEAST_S + point_s
    assert min(bundles[:-1]) >= LEAST_S - point_s
    assert len(bundles) <= 3000 * point_s / TARGET_S + 2 * math.log(TARGET_S / LEAST_S, SHARE)


def test_bundles_come_to_take_about_as_long_as_they_should() -> None:
    """With points of a constant length a bundle comes to TARGET_S; with long points it is one point."""
    for share in (1 / 500, 1 / 5, 1.0, 100.0):
        point_s, expected = share * TARGET_S, max(1, int(1 / share))
        sizer = Sizer(slots=2)
        length = sizer.next(None)
        for _ in range(20):
            sizer.saw(points=length, wall_s=length * point_s)
            length = sizer.next(None)
        assert length == pytest.approx(expected, abs=1)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 100))), st.lists(st.floats(0, 100)))
def test_a_retry_comes_when_its_time_has_come(added: list[Any], clock: list[float]) -> None:
    """Each once, never early, the earliest first."""
    retries = Retries()
    for index, due_s in added:
        retries.add(index, due_s=due_s)
    left = sorted((due_s, index) for index, due_s in added)
    for now_s in sorted(clock):
        while (index := retries.take(now_s)) is not None:
            due_s, expected = left.pop(0)
            assert (index, due_s <= now_s) == (expected, True)
        assert not left or left[0][0] > now_s
        assert len(retries) == len(left)
        assert retries.next_due_s() == (left[0][0] if left else None)
