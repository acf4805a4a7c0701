import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepfleet.grid.permutation import Permutation

moderate = settings(deadline=None, max_examples=60, derandomize=True)


@moderate
@given(st.integers(0, 700), st.integers())
def test_every_index_has_one_position_and_back(size, key):
    shuffled = Permutation(size, key)
    order = [shuffled(position) for position in range(size)]
    assert sorted(order) == list(range(size))
    assert [shuffled.inverse(index) for index in order] == list(range(size))


@moderate
@given(st.integers(1, 10**60), st.binary(max_size=80), st.data())
def test_it_is_inverted_at_any_size_without_listing_it(size, key, data):
    shuffled = Permutation(size, key)
    position = data.draw(st.integers(0, size - 1))
    index = shuffled(position)
    assert 0 <= index < size
    assert shuffled.inverse(index) == position


@pytest.mark.parametrize("size", [1000, 10**9, 10**40])
def test_it_shuffles(size):
    """Neighbours go far apart, and each tenth of the range gets its share of any stretch of positions."""
    shuffled = Permutation(size, 7)
    count = 1000
    order = [shuffled(position) for position in range(count)]
    steps = sum(abs(b - a) for a, b in itertools.pairwise(order)) / (count - 1)
    assert 0.3 < steps / size < 0.37  # two independent places are a third of the range apart
    tenths = [sum(1 for index in order if index * 10 // size == tenth) for tenth in range(10)]
    assert sum((seen - 100) ** 2 / 100 for seen in tenths) < 28  # chi-square, 9 degrees of freedom, 0.1 %


def test_another_key_is_another_order():
    orders = {tuple(map(Permutation(50, key), range(50))) for key in range(20)}
    assert len(orders) == 20


def test_the_order_is_the_same_in_every_release():
    """A sweep that was half run shuffled goes on in the same order."""
    assert [Permutation(10, 42)(position) for position in range(10)] == [9, 7, 8, 1, 4, 6, 3, 2, 0, 5]


def test_positions_outside_are_refused():
    shuffled = Permutation(5, 0)
    for call in (shuffled, shuffled.inverse):
        for outside in (-1, 5):
            with pytest.raises(IndexError):
                call(outside)
    with pytest.raises(ValueError, match="-3"):
        Permutation(-3, 0)
