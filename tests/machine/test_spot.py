"""How many workers are asked of spot and of on-demand: whatever AWS gives, within `maxWorkers` and the budgets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sweepfleet.machine.head.circuit import FAILURES, FIXED_S, WAITS_S, Circuit
from sweepfleet.machine.head.spot import WORTH_S, Fleet, Purse, Shortage, Sizes, patience, payable, sizes
from sweepfleet.machine.launches import Activity

COUNT = st.integers(0, 12)
CAPACITY = "Could not launch Spot Instances. UnfulfillableCapacity"
QUOTA = "VcpuLimitExceeded"


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """Two groups, as AWS may have them while instances start and end."""
    most = draw(st.integers(1, 12))
    spot_size = draw(st.integers(0, most))
    spare_size = draw(st.integers(0, most - spot_size))
    return Fleet(most, draw(st.integers(0, spot_size)), spot_size, draw(st.integers(0, spare_size)), spare_size)


SAID = st.fixed_dictionaries(dict.fromkeys(("due", "spot_open", "spare_open"), st.booleans()))


@given(fleets(), COUNT, COUNT, SAID)
def test_no_size_exceeds_the_maximum_nor_takes_away_a_worker(
    fleet: Fleet, needed: int, can_pay: int, said: dict[str, bool]
) -> None:
    due, spot_open, spare_open = said["due"], said["spot_open"], said["spare_open"]
    needed = min(needed, fleet.most)
    asked = sizes(fleet, needed=needed, payable=can_pay, **said)
    assert asked.spot + asked.spare <= fleet.most
    assert asked.spot >= fleet.spot
    assert asked.spare >= fleet.spare
    if asked.spare > fleet.spare:
        assert fleet.spot + asked.spare <= needed, "on-demand takes the place of what is missing, and no more"
    if asked.spare > fleet.spare_size:
        assert due, "patience, and a reason that is spot's own"
        assert not spare_open
        assert fleet.spot + asked.spare <= can_pay, "no more than the runs can pay"
    if asked.spot < fleet.spot_size:
        assert asked.spot == fleet.most - asked.spare or (spot_open and not fleet.spot)
    if spot_open and not fleet.spot:
        assert asked.spot == 0
    if fleet.most > 1 and asked.spare > fleet.spare and not spot_open:
        assert asked.spot > fleet.spot, "AWS goes on trying spot"


@given(st.integers(1, 12), st.data())
def test_spot_that_fails_is_replaced_and_spot_that_returns_replaces(most: int, data: st.DataObject) -> None:
    """AWS played: it starts spot instances or does not, and on-demand ones at once; replaced ones are ended."""
    needed = data.draw(st.integers(1, most))
    spot = data.draw(st.integers(0, needed))
    fleet = Fleet(most, spot, needed, 0, 0)
    for _ in range(20):
        asked = sizes(fleet, needed=needed, due=fleet.spot + fleet.spare < needed, payable=most)
        fleet = Fleet(most, fleet.spot, asked.spot, asked.spare, asked.spare)
        assert fleet.spot_size + fleet.spare_size <= most
    assert fleet.spot + fleet.spare == needed or (most > 1 and fleet.spot + fleet.spare == most - 1)
    if most == 1:
        return  # one machine computes; it goes when the runs do
    for _ in range(3 * most):
        replaced = fleet.over(needed)  # which have come to have nothing
        fleet = Fleet(most, fleet.spot, fleet.spot_size, fleet.spare - replaced, fleet.spare_size - replaced)
        asked = sizes(fleet, needed=needed, due=False, payable=most)
        assert asked.spot + asked.spare <= most
        fleet = Fleet(most, asked.spot, asked.spot, fleet.spare, asked.spare)
    assert (fleet.spot, fleet.spare) == (needed, 0)


def test_an_example_of_ten() -> None:
    """Spot has started two of ten; one place stays for spot, and as more come, on-demand goes."""
    short = Fleet(most=10, spot=2, spot_size=10, spare=0, spare_size=0)
    assert sizes(short, needed=10, due=True, payable=10) == Sizes(spot=3, spare=7)
    assert sizes(short, needed=10, due=True, payable=4) == Sizes(spot=8, spare=2)
    assert sizes(short, needed=10, due=False, payable=10) == Sizes(spot=10, spare=0)
    helped = Fleet(most=10, spot=3, spot_size=3, spare=7, spare_size=7)
    assert helped.over(10) == 1
    assert sizes(helped, needed=10, due=False, payable=10) == Sizes(spot=3, spare=7)
    after = Fleet(most=10, spot=3, spot_size=3, spare=6, spare_size=6)
    assert sizes(after, needed=10, due=False, payable=10) == Sizes(spot=4, spare=6)


purses = st.lists(st.builds(Purse, COUNT, st.none() | st.floats(-10, 100)), max_size=4)


@given(purses, st.none() | st.floats(0.001, 10))
def test_no_run_is_helped_to_what_it_cannot_pay_for(runs: list[Purse], usd: float | None) -> None:
    total = payable(runs, usd_per_hour=usd)
    assert 0 <= total <= sum(run.needed for run in runs)
    for run in runs:
        alone = payable([run], usd_per_hour=usd)
        if run.rest_usd is None:
            assert alone == run.needed
        elif usd is None:
            assert alone == 0, "an unknown price fits no budget"
        else:
            assert alone * usd * WORTH_S / 3600 <= max(0.0, run.rest_usd) + 1e-9
    assert total == sum(payable([run], usd_per_hour=usd) for run in runs)


def test_patience_begins_anew_as_spot_starts_one_and_ends_with_enough() -> None:
    short = Shortage().looked(needed=3, there=1, spot=1, now_s=10)
    assert short.since_s == 10
    assert short.looked(needed=3, there=1, spot=1, now_s=50).since_s == 10
    assert short.looked(needed=3, there=2, spot=2, now_s=50).since_s == 50
    assert short.looked(needed=3, there=0, spot=0, now_s=50).looked(needed=3, there=1, spot=1, now_s=60).since_s == 60
    assert short.looked(needed=3, there=3, spot=1, now_s=50).since_s is None, "on-demand counts"


def test_a_deadline_that_is_near_shortens_the_patience() -> None:
    assert patience(600, left_s=[]) == 600
    assert patience(600, left_s=[1200, 7200]) == 300
    assert patience(600, left_s=[-5]) == 600, "what is late already is not saved by it"


# The circuit


def launch(number: int, said: str = "") -> Activity:
    return Activity("Failed" if said else "Successful", said, f"2026-11-27T22:00:{number:02}")


LAST = "2026-11-27T22:00:00"


def test_the_circuit_opens_after_some_failures_for_longer_each_time_and_closes_with_a_start() -> None:
    circuit, now_s = Circuit(LAST), 0.0
    pauses: list[float] = []
    for number in range(1, 60):
        circuit = circuit.looked([launch(number, QUOTA)], now_s=now_s)
        if circuit.is_open(now_s):
            assert number >= FAILURES
            pauses.append(circuit.until_s - now_s)
            now_s = circuit.until_s
        now_s += 1
    assert pauses[0] == FIXED_S[0]
    assert sorted(pauses) == pauses
    assert pauses[-1] == FIXED_S[1], "not for ever"
    assert not circuit.looked([launch(60, QUOTA), launch(61)], now_s=now_s).is_open(now_s)
    assert circuit.looked([launch(61)], now_s=now_s) == Circuit(launch(61).at)


def test_old_launches_and_the_same_again_are_not_counted() -> None:
    circuit = Circuit(launch(5).at)
    assert circuit.looked([launch(4, QUOTA), launch(5, QUOTA)], now_s=0) == circuit
    once = circuit.looked([launch(6, QUOTA)], now_s=0)
    assert once.looked([launch(6, QUOTA)], now_s=0) == once
    assert once.failures == 1
    assert once.looked([Activity("InProgress", "", launch(9).at)], now_s=0) == once, "nobody knows yet"


def test_another_reason_is_counted_anew() -> None:
    circuit = Circuit(LAST).looked([launch(1, QUOTA)], now_s=0).looked([launch(2, QUOTA)], now_s=0)
    circuit = circuit.looked([launch(3, CAPACITY)], now_s=0)
    assert (circuit.failures, circuit.reason.name, circuit.is_open(0)) == (1, "spot capacity", False)


@given(st.lists(st.tuples(st.sampled_from(["", QUOTA, CAPACITY]), st.floats(0, 4000)), max_size=40))
def test_whatever_happens_the_circuit_asks_again(launches: list[tuple[str, float]]) -> None:
    circuit, now_s = Circuit(LAST), 0.0
    for number, (said, pause_s) in enumerate(launches, 1):
        now_s += pause_s
        circuit = circuit.looked([launch(number, said)], now_s=now_s)
        longest_s = WAITS_S[1] if said == CAPACITY else FIXED_S[1]
        assert not circuit.is_open(now_s + longest_s)
        if not said:
            assert not circuit.is_open(now_s)
