import hashlib
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepfleet.grid.identity import canonical, encode, mix64, point_id, point_seed

moderate = settings(deadline=None, max_examples=200, derandomize=True)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4), v, max_size=3)
)
params = st.dictionaries(st.text(max_size=6), values, max_size=5)


@moderate
@given(params)
def test_the_canonical_text_is_sorted_compact_json(point):
    """The quick paths for plain values write just what Python's json writes."""
    assert canonical(point) == json.dumps(point, sort_keys=True, separators=(",", ":"))


@moderate
@given(params, st.randoms())
def test_the_order_of_keys_changes_nothing(point, random):
    names = list(point)
    random.shuffle(names)
    shuffled = {name: point[name] for name in names}
    assert canonical(shuffled) == canonical(point)
    assert point_id("m:f", shuffled, 3) == point_id("m:f", point, 3)


def test_values_that_differ_have_texts_that_differ():
    different = [1, 1.0, True, "1", "true", None, "null", -0.0, 0.0, 0, [], {}, "", [1], [1.0], math.inf, -math.inf]
    assert len({encode(value) for value in different}) == len(different)
    assert encode(math.nan) == "NaN"


def test_an_id_is_blake2b_of_target_replicate_and_parameters():
    text = '"fit:run"\n2\n{"alpha":0.1,"model":"ridge"}'
    expected = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    assert point_id("fit:run", {"model": "ridge", "alpha": 0.1}, 2) == expected


def test_target_replicate_and_parameters_each_change_the_id():
    ids = {
        point_id("a:f", {"x": 1}, 0),
        point_id("b:f", {"x": 1}, 0),
        point_id("a:f", {"x": 1}, 1),
        point_id("a:f", {"x": 2}, 0),
        point_id("a:f", {"y": 1}, 0),
    }
    assert len(ids) == 5


def test_ids_and_seeds_are_the_same_in_every_release():
    """A ledger of an earlier release stays valid: changing these numbers would re-run everybody's sweeps."""
    name = point_id("examples.diabetes.fit:fit", {"model": "ridge", "alpha": 0.1, "fold": 3}, 0)
    assert (name, point_seed(42, name)) == ("dbf9c35d8c5f90f9", 318405588)


@moderate
@given(st.integers(), params, st.integers(0, 9))
def test_a_seed_fits_numpy_and_depends_on_the_sweeps_seed(seed, point, replicate):
    name = point_id("m:f", point, replicate)
    assert 0 <= point_seed(seed, name) < 2**31
    assert point_seed(seed, name) != point_seed(seed + 1, name)


def test_seeds_of_neighbouring_points_are_spread_evenly():
    seeds = [point_seed(0, point_id("m:f", {"x": x}, 0)) for x in range(4000)]
    counts = [sum(1 for seed in seeds if seed >> 27 == part) for part in range(16)]
    assert sum((count - 250) ** 2 / 250 for count in counts) < 38  # chi-square, 15 degrees of freedom, 0.1 %
    assert len(set(seeds)) == 4000


@pytest.mark.parametrize(("word", "mixed"), [(0, 0), (0x9E3779B97F4A7C15, 0xE220A8397B1DCDAF)])
def test_the_mixer_is_splitmix64s(word, mixed):
    """The second is the first output of SplitMix64 with seed 0, as its authors' code prints it."""
    assert mix64(word) == mixed
