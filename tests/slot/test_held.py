"""What a worker holds for its driver, and how long its runners wait for another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepfleet.slot import pool
from sweepfleet.slot.held import Held
from tests.support import context, eventually


def finished(held: Held, name: tuple[str, int], packet: bytes = b"packet") -> None:
    bundle, known = held.join(name, [(name[1], name[1] + 1)], None)
    assert not known
    held.finish(bundle, packet)


def test_a_bundle_is_held_from_its_beginning_until_it_is_committed() -> None:
    held = Held()
    bundle, known = held.join(("a", 1), [(0, 3)], 7)
    assert not known
    assert held.of({"a"}) == [(("a", 1), ((0, 3),), 7)]
    held.finish(bundle, b"packet")
    assert held.of({"a"}) == [(("a", 1), ((0, 3),), 7)]
    again, known = held.join(("a", 1), [(0, 3)], 7)
    assert known
    assert again.packet.result() == b"packet"
    held.committed("a", [2])
    assert held.of({"a"}) == []


def test_what_is_not_committed_yet_stays_and_so_does_what_others_have() -> None:
    held = Held()
    for number in range(1, 7):
        finished(held, ("a", number))
    finished(held, ("b", 1))
    held.committed("a", [2, 5])
    assert [name for name, *_ in held.of({"a", "b"})] == [("a", 2), ("a", 5), ("a", 6), ("b", 1)]
    held.committed("a", [])
    assert [name for name, *_ in held.of({"a"})] == [("a", 2), ("a", 5), ("a", 6)]


def test_a_bundle_that_was_taken_over_is_its_new_drivers() -> None:
    """A third one finds it under that name, and the first one's word on it is void."""
    held = Held()
    finished(held, ("a", 4))
    taken, known = held.join(("b", 1), [(4, 5)], None, before=("a", 4))
    assert known
    assert taken.packet.result() == b"packet"
    assert held.engines == {"b"}
    held.committed("a", [9])
    assert held.of({"a"}) == []
    assert [name for name, *_ in held.of({"b"})] == [("b", 1)]


def test_one_that_failed_is_computed_anew() -> None:
    held = Held()
    bundle, _ = held.join(("a", 1), [(0, 1)], None)
    held.fail(bundle, OSError("the bucket is gone"))
    with pytest.raises(OSError, match="the bucket is gone"):
        bundle.packet.result()
    assert not held.join(("a", 1), [(0, 1)], None)[1]


def test_one_that_fails_when_nobody_needs_it_any_more_takes_nothing_away() -> None:
    """Its driver has had the points from elsewhere, and another bundle may have its name since."""
    held = Held()
    late, _ = held.join(("a", 1), [(0, 1)], None)
    held.committed("a", [2])
    another, known = held.join(("a", 1), [(0, 1)], None)
    assert not known
    held.fail(late, OSError("the bucket is gone"))
    assert held.join(("a", 1), [(0, 1)], None) == (another, True)


def test_packets_that_nobody_commits_are_bounded_in_bytes() -> None:
    held = Held(most_bytes=20)
    active, _ = held.join(("a", 1), [(1, 2)], None)
    for number in range(2, 6):
        finished(held, ("a", number), bytes(10))
    assert [name for name, *_ in held.of({"a"})] == [("a", 1), ("a", 4), ("a", 5)]
    held.finish(active, bytes(10))
    assert [name for name, *_ in held.of({"a"})] == [("a", 4), ("a", 5)]


def test_runners_that_nobody_asks_for_are_ended_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = context(tmp_path, "def fit(a):\n    return 1.0\n")
    first = pool.prepare(given, slots=1)
    try:
        pool.leave(given)
        assert pool.prepare(given, slots=1) is first, "whoever comes in time goes on with them"
        assert not pool._timers
        monkeypatch.setattr(pool, "KEEP_S", 0.01)
        pool.leave(given)
        eventually(lambda: not pool.pools(), "their end")
        assert not pool._timers
    finally:
        pool.dismiss(given)
