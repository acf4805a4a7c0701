import itertools
import json
import random
import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import ParameterGrid

from sweepfleet.grid.expressions import ExpressionError
from sweepfleet.grid.identity import point_id, point_seed
from sweepfleet.grid.plan import Block, Dimension, Distribution, Plan
from sweepfleet.grid.space import Count, Point, Space

moderate = settings(deadline=None, max_examples=150, derandomize=True)
UNIFORM = Distribution("uniform", low=0, high=1)


def dim(name, values, **more):
    return Dimension((name,), tuple((value,) for value in values), **more)


def law(name, distribution, **more):
    return Dimension((name,), distribution=distribution, **more)


def plan(*blocks, seed=42, replicates=1):
    return Plan(target="m:f", seed=seed, replicates=replicates, blocks=blocks)


def params_of(*blocks):
    return [point.params for point in Space(plan(*blocks)).points(0, 10**9)]


# ---- A model of what a plan means, written for clearness: everything listed, nothing shared with the product.


def equal(a, b):
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return a == b


def has(point, entry):
    return all(name in point and equal(point[name], value) for name, value in entry.items())


def modelled(block):
    """For each index of a block: its parameters, or None. Conditions here are all of the form: name == value."""

    def present(dimension, point):
        if dimension.when is None:
            return True
        name, value = dimension.when.split(" == ")
        giver = next(other for other in block.dimensions if name in other.names)
        return present(giver, point) and point[name] == json.loads(value)

    if block.method == "list":
        combinations = [dict(row) for row in block.rows]
        numbers = [()] * len(combinations)
    else:
        numbers = list(itertools.product(*(range(len(dimension.rows)) for dimension in block.dimensions)))
        if block.method == "one_at_a_time":
            numbers = [combination for combination in numbers if sum(map(bool, combination)) <= 1]
            numbers.sort(key=lambda combination: next(((i, n) for i, n in enumerate(combination) if n), (-1, 0)))
        combinations = []
        for combination in numbers:
            point = {}
            for dimension, number in zip(block.dimensions, combination, strict=True):
                point.update(zip(dimension.names, dimension.rows[number], strict=True))
            combinations.append(point)
    own = {name for point in combinations for name in point}
    found = []
    for combination, everything in zip(numbers, combinations, strict=True):
        point = dict(everything)
        stands = True
        for dimension, number in zip(block.dimensions, combination, strict=False):
            if not present(dimension, everything):
                stands = stands and number == 0
                for name in dimension.names:
                    del point[name]
        stands = stands and not any(has(point, entry) for entry in block.exclude)
        added = {}
        for entry in block.extend:
            if has(point, {name: value for name, value in entry.items() if name in own}):
                added |= {name: value for name, value in entry.items() if name not in own}
        point |= added
        for where in block.where:
            name, value = where.split(" == ")
            stands = stands and point.get(name) == json.loads(value)
        found.append(point if stands else None)
    return found


def modelled_plan(whole):
    """For each index: (parameters, replicate), or None."""
    seen, found = set(), []
    for block in whole.blocks:
        for point in modelled(block):
            text = json.dumps(point, sort_keys=True)
            found.append(None if point is None or text in seen else point)
            seen.add(text)
    return [None if point is None else (point, replicate) for point in found for replicate in range(whole.replicates)]


VALUES = [0, 1, 2.5, "x", True, None, [1, 2]]
SIMPLE = [0, 1, 2.5, "x"]


@st.composite
def blocks(draw):
    method = draw(st.sampled_from(["grid", "grid", "grid", "one_at_a_time", "list"]))
    entry = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(SIMPLE), min_size=1, max_size=2)
    extending = st.dictionaries(st.sampled_from("abyz"), st.sampled_from(SIMPLE), min_size=1, max_size=3)
    more = {
        "exclude": tuple(draw(st.lists(entry, max_size=2))),
        "extend": tuple(draw(st.lists(extending, max_size=2))),
    }
    if method == "list":
        rows = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(VALUES), max_size=4)
        return Block("list", rows=tuple(draw(st.lists(rows, max_size=5))), **more)
    dimensions = []
    groups = draw(st.sampled_from([["a"], ["a", "b"], ["b", "a", "c"], ["a", "bc", "d"], ["d", "c", "b", "a"], []]))
    order = draw(st.permutations(range(len(groups))))  # a condition asks only about dimensions before it in this
    for place, names in enumerate(groups):
        distinct = st.lists(st.sampled_from(VALUES), min_size=1, max_size=3, unique_by=repr)
        columns = [draw(distinct) for _ in names]
        rows = tuple(zip(*(column[: min(map(len, columns))] for column in columns), strict=True))
        earlier = [name for i in range(len(groups)) if order[i] < order[place] for name in groups[i]]
        when = None
        if earlier and draw(st.booleans()):
            value = draw(st.sampled_from(SIMPLE))
            when = f"{draw(st.sampled_from(earlier))} == {json.dumps(value)}"
        dimensions.append(Dimension(tuple(names), rows, when=when))
    known = [name for names in groups for name in names] + [n for e in more["extend"] for n in e]
    where = st.builds("{} == {}".format, st.sampled_from(sorted(set(known)) or ["a"]), st.sampled_from(["1", "0"]))
    wheres = tuple(draw(st.lists(where, max_size=1))) if known else ()
    return Block(method, tuple(dimensions), where=wheres, **more)


plans = st.builds(
    lambda found, replicates: plan(*found, replicates=replicates),
    st.lists(blocks(), min_size=1, max_size=3),
    st.integers(1, 3),
)


@moderate
@given(plans, st.data())
def test_every_plan_means_what_the_listed_model_says(whole, data):
    """Index to point and back, existence, runs, columns and count, all against the model."""
    space, expected = Space(whole), modelled_plan(whole)
    assert space.size == len(expected)
    found = list(space.points(0, space.size))
    assert [(p.index, p.params, p.replicate) for p in found] == [(i, *e) for i, e in enumerate(expected) if e]
    assert [space.exists(index) for index in range(space.size)] == [entry is not None for entry in expected]
    assert not space.exact or all(expected)
    for point in found:
        assert space.point(point.index) == point
        assert space.find(dict(reversed(point.params.items())), point.replicate) == point.index
    there = [index for index, entry in enumerate(expected) if entry]
    start, stop = sorted((data.draw(st.integers(0, space.size)), data.draw(st.integers(0, space.size))))
    runs = list(space.spans(start, stop))
    assert [index for low, high in runs for index in range(low, high)] == [i for i in there if start <= i < stop]
    assert all(low < high for low, high in runs)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(runs))
    assert [point.index for point in space.points(start, stop)] == [i for i in there if start <= i < stop]
    indexes, columns = space.params_columns(start, stop)
    assert indexes == [i for i in there if start <= i < stop]
    assert columns == {name: [expected[i][0].get(name) for i in indexes] for name in space.names}
    assert space.count() == Count(space.size, len(there), exact=True)


@moderate
@given(plans)
def test_ids_are_distinct_and_follow_from_content(whole):
    points = list(Space(whole).points(0, 10**9))
    assert len({point.id for point in points}) == len(points)
    for point in points:
        assert point.id == point_id(whole.target, point.params, point.replicate)
        assert point.seed == point_seed(whole.seed, point.id)


@moderate
@given(plans)
def test_a_plan_that_travelled_as_json_has_the_same_points(whole):
    travelled = Plan.from_json(whole.to_json())
    assert travelled == whole
    assert list(Space(travelled).points(0, 10**9)) == list(Space(whole).points(0, 10**9))


@moderate
@given(plans)
def test_names_and_kinds_cover_all_points_without_going_through_them(whole):
    space = Space(whole)
    accepted = {"int": {int}, "float": {int, float}, "bool": {bool}, "str": {str}}
    for point in space.points(0, space.size):
        assert set(point.params) <= set(space.names) == set(space.kinds)
        for name, value in point.params.items():
            kind = space.kinds[name]
            assert value is None or kind == "json" or type(value) in accepted[kind]


sizes = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@moderate
@given(sizes, st.integers(1, 3), st.data())
def test_a_plain_grid_of_any_shape_is_exact_and_inverted_anywhere(shape, replicates, data):
    """Larger shapes than the model can list: the grouping of dimensions must not show."""
    space = Space(
        plan(Block("grid", tuple(dim(f"p{i}", range(n)) for i, n in enumerate(shape))), replicates=replicates)
    )
    assert space.exact
    index = data.draw(st.integers(0, space.size - 1))
    raw, numbers = index // replicates, []
    for size in reversed(shape):
        raw, number = divmod(raw, size)
        numbers.append(number)
    point = space.point(index)
    assert list(point.params.items()) == [(f"p{i}", number) for i, number in enumerate(reversed(numbers))]
    assert point.id == point_id("m:f", point.params, index % replicates)
    assert space.find(point.params, point.replicate) == index
    stop = min(space.size, index + 50)
    window = list(space.points(index, stop))
    assert [p.index for p in window] == list(range(index, stop))
    assert all(p == space.point(p.index) for p in window[-3:])
    indexes, columns = space.params_columns(index, stop)
    assert indexes == list(range(index, stop))
    assert columns == {name: [p.params[name] for p in window] for name in space.names}


grids = st.dictionaries(
    st.sampled_from(["a", "b", "k", "z.y"]),
    st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True),
    max_size=4,
)


@moderate
@given(grids)
def test_a_grid_is_scikit_learns_parameter_grid(written):
    block = Block("grid", tuple(dim(name, written[name]) for name in sorted(written)))
    assert params_of(block) == list(ParameterGrid(written))


@moderate
@given(st.lists(grids, min_size=1, max_size=3))
def test_a_union_of_grids_is_scikit_learns_without_its_repetitions(written):
    found = params_of(*(Block("grid", tuple(dim(name, grid[name]) for name in sorted(grid))) for grid in written))
    unique = []
    for point in ParameterGrid(written):
        if point not in unique:
            unique.append(point)
    assert found == unique


def test_a_zip_varies_its_names_together():
    size = Dimension(("width", "batch"), ((64, 256), (128, 128)))
    assert params_of(Block("grid", (dim("m", "ab"), size))) == [
        {"m": m, "width": width, "batch": batch} for m in "ab" for width, batch in ((64, 256), (128, 128))
    ]


def test_when_folds_the_values_of_an_absent_dimension_into_one_point():
    found = params_of(
        Block("grid", (dim("l1", [0.1, 0.5], when="model == 'lasso'"), dim("model", ["ridge", "lasso"])))
    )
    assert found == [{"model": "ridge"}, {"l1": 0.1, "model": "lasso"}, {"l1": 0.5, "model": "lasso"}]


def test_when_may_ask_about_a_dimension_that_is_itself_conditional():
    found = params_of(
        Block("grid", (dim("c", [1, 2], when="b > 5"), dim("b", [5, 6], when="a"), dim("a", [False, True])))
    )
    assert found == [
        {"a": False},
        {"b": 5, "a": True},
        {"c": 1, "b": 6, "a": True},
        {"c": 2, "b": 6, "a": True},
    ]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"where": ("c == 1",)}, [{"c": 1, "a": 9}]),
        ({"where": ("c is None",)}, [{"a": 8}]),
        ({"exclude": ({"c": 1},)}, [{"a": 8}, {"c": 2, "a": 9}]),
        ({"extend": ({"c": 1, "k": 0},)}, [{"a": 8}, {"c": 1, "a": 9, "k": 0}, {"c": 2, "a": 9}]),
    ],
)
def test_rules_about_a_dimension_wait_for_the_later_one_that_decides_on_it(rules, expected):
    assert params_of(Block("grid", (dim("c", [1, 2], when="a == 9"), dim("a", [8, 9])), **rules)) == expected


def test_percent_signs_are_plain_text():
    """The quick path to ids formats text; it must not see its own signs in the user's."""
    block = Block("grid", (dim("%d", ["%s", "100%"]), dim("n", range(2000))))
    points = list(Space(plan(block)).points(1990, 2010))
    assert [point.id for point in points] == [point_id("m:f", point.params, 0) for point in points]


@pytest.mark.parametrize("conditions", [("b > 0", "a > 0", None), ("a > 0", None, None), ("b > 0", "c > 0", "a > 0")])
def test_conditions_that_depend_on_each_other_are_refused(conditions):
    dimensions = [dim(name, [0, 1], when=when) for name, when in zip("abc", conditions, strict=True)]
    with pytest.raises(ExpressionError, match="depend on each other"):
        Space(plan(Block("grid", tuple(dimensions))))


def test_a_condition_on_an_unknown_name_is_refused():
    with pytest.raises(ExpressionError, match="alpha"):
        Space(plan(Block("grid", (dim("alpha", [1]),), where=("alhpa > 0",))))


def test_a_condition_may_name_a_parameter_of_another_block():
    both = (Block("grid", (dim("a", [1, 2]),), where=("b is None",)), Block("grid", (dim("b", [3]),)))
    assert params_of(*both) == [{"a": 1}, {"a": 2}, {"b": 3}]


def test_exclude_matches_numbers_by_value_but_never_true_with_1():
    block = Block("grid", (dim("x", [1, 1.5, 100.0, True]),), exclude=({"x": 1.0}, {"x": 100}))
    assert params_of(block) == [{"x": 1.5}, {"x": True}]


def test_include_adds_keys_as_github_actions_does():
    """The example of GitHub's documentation, but for its last two entries, which are points of their own."""
    block = Block(
        "grid",
        (dim("fruit", ["apple", "pear"]), dim("animal", ["cat", "dog"])),
        extend=(
            {"color": "green"},
            {"color": "pink", "animal": "cat"},
            {"fruit": "apple", "shape": "circle"},
        ),
    )
    assert params_of(block) == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
    ]
    assert Space(plan(block)).names == ("fruit", "animal", "color", "shape")


def test_where_sees_the_keys_that_include_added():
    block = Block("grid", (dim("a", [1, 2]),), extend=({"a": 2, "gpu": 8},), where=("gpu == 8",))
    assert params_of(block) == [{"a": 2, "gpu": 8}]


def test_one_at_a_time_is_a_baseline_and_single_steps_from_it():
    found = params_of(Block("one_at_a_time", (dim("a", [1, 2, 3]), dim("b", "xy"))))
    assert found == [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}, {"a": 3, "b": "x"}, {"a": 1, "b": "y"}]


def test_adding_a_value_or_a_block_changes_no_id_and_no_seed():
    few = plan(Block("grid", (dim("a", [1, 3]), dim("b", "xy"))), replicates=2)
    more = plan(
        Block("list", rows=({"model": "ols"},)), Block("grid", (dim("b", "zyx"), dim("a", [1, 2, 3]))), replicates=3
    )
    before = {(point.id, point.seed) for point in Space(few).points(0, 100)}
    after = {(point.id, point.seed) for point in Space(more).points(0, 100)}
    assert before < after


def test_an_empty_grid_is_one_point_without_parameters():
    assert params_of(Block("grid")) == [{}]


def test_kinds_are_those_of_all_values_together():
    block = Block(
        "grid",
        (
            dim("int", [1, 2]),
            dim("float", [1, 2.5]),
            dim("bool", [True, None]),
            dim("str", ["a"]),
            dim("mixed", [1, "a"]),
            dim("truth", [1, True]),
            dim("list", [[1], [2]]),
            dim("none", [None]),
            dim("huge", [2**63]),
        ),
        extend=({"added": 1}, {"added": 0.5}),
    )
    kinds = Space(plan(block, Block("list", rows=({"int": 1.5}, {"str": "b"})))).kinds
    assert kinds == {
        "int": "float",
        "float": "float",
        "bool": "bool",
        "str": "str",
        "mixed": "json",
        "truth": "json",
        "list": "json",
        "none": "json",
        "huge": "json",
        "added": "float",
    }


@pytest.mark.parametrize("replicates", [1, 2])
def test_what_one_point_does_to_its_lists_no_other_sees(replicates):
    block = Block("grid", (dim("layers", [[64, {"n": [1]}]]), dim("b", [1, 2])))
    space = Space(plan(block, replicates=replicates))
    for point in space.points(0, space.size):
        del point.params["b"]
        assert point.params == {"layers": [64, {"n": [1]}]}
        point.params["layers"][1]["n"].append(2)
        point.params["layers"].append(32)
    assert space.point(0).params == {"layers": [64, {"n": [1]}], "b": 1}


def test_an_index_outside_or_without_a_point_is_an_error():
    space = Space(plan(Block("grid", (dim("a", [1, 2, 3]),), where=("a != 2",))))
    for outside in (-1, 3):
        assert not space.exists(outside)
        with pytest.raises(IndexError):
            space.point(outside)
    with pytest.raises(LookupError) as caught:
        space.point(1)
    assert not isinstance(caught.value, IndexError)
    assert list(space.points(-5, 99)) == [space.point(0), space.point(2)]
    assert list(space.spans(2, 1)) == list(space.points(2, 1)) == []


@pytest.mark.parametrize("absent", [{"a": 4}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"a": 1, "b": 2}, {}, {"b": 1}])
def test_find_knows_what_is_not_there(absent):
    space = Space(plan(Block("grid", (dim("a", [1, 2]),)), replicates=2))
    assert space.find(absent) is None
    assert space.find({"a": 1}, 2) is None
    assert space.find({"a": 2}, 1) == 3


# ---- Draws


DISCRETE = (dim("a", range(7)), dim("b", "xyz"), law("c", Distribution("int_uniform", low=-3, high=6)))


def test_discrete_draws_are_without_replacement_and_stop_at_the_product():
    whole = plan(Block("random", DISCRETE, samples=500))
    space = Space(whole)
    assert space.size == 210
    assert space.exact
    points = list(space.points(0, 500))
    combinations = {tuple(point.params.values()) for point in points}
    assert combinations == set(itertools.product(range(7), "xyz", range(-3, 7)))
    assert [tuple(point.params.values()) for point in points] != sorted(combinations)
    assert [space.find(point.params) for point in points] == list(range(210))
    few = Space(plan(Block("random", DISCRETE, samples=20)))
    assert list(few.points(0, 500)) == points[:20]
    assert few.find(points[20].params) is None


MIXED = (
    law("lr", Distribution("log_uniform_values", low=1e-4, high=1)),
    dim("model", ["ridge", "lasso", "net"], probabilities=(0.5, 0.25, 0.25)),
    law("l1", UNIFORM, when="model == 'lasso'"),
)


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_draws_are_functions_of_their_index(method):
    """Raising the samples keeps the earlier draws; reading them in any order gives the same points."""
    few, more = (Space(plan(Block(method, MIXED, samples=samples))) for samples in (300, 3000))
    points = list(few.points(0, 300))
    assert len(points) == 300
    assert few.exact
    assert list(more.points(0, 300)) == points
    order = random.Random(1).sample(range(3000), 40)
    whole = list(more.points(0, 3000))
    assert [more.point(index) for index in order] == [whole[index] for index in order]
    assert all(("l1" in point.params) == (point.params["model"] == "lasso") for point in whole)
    share = sum(point.params["model"] == "ridge" for point in whole) / 3000
    assert 0.46 < share < 0.54
    assert few.find(points[0].params) is None  # a continuous law has no inverse
    assert few.kinds == {"lr": "float", "model": "str", "l1": "float"}


def test_a_further_dimension_leaves_the_other_random_draws_as_they_were():
    first = Space(plan(Block("random", MIXED, samples=50)))
    second = Space(plan(Block("random", (law("new", UNIFORM), *MIXED), samples=50)))
    without = [{name: value for name, value in p.params.items() if name != "new"} for p in second.points(0, 50)]
    assert without == [point.params for point in first.points(0, 50)]


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_another_seed_draws_other_points_and_so_does_a_second_block(method):
    block = Block(method, MIXED, samples=20)
    first = {point.id for point in Space(plan(block)).points(0, 20)}
    other = {point.id for point in Space(plan(block, seed=43)).points(0, 20)}
    assert not first & other
    twice = Space(plan(block, block))
    assert len({point.id for point in twice.points(0, 40)}) == 40
    preceded = Space(plan(Block("grid", (dim("z", [1]),)), block))
    assert first < {point.id for point in preceded.points(0, 40)}


@pytest.mark.parametrize("method", ["random", "sobol"])
@pytest.mark.parametrize(
    "dimensions",
    [
        (dim("a", range(4), probabilities=(0.7, 0.1, 0.1, 0.1)), dim("b", "xy")),
        (
            law("a", Distribution("q_normal", mu=0, sigma=1, q=1)),
            law("b", Distribution("q_uniform", low=0, high=2, q=1)),
        ),
        (dim("m", ["r", "l"], probabilities=(0.9, 0.1)), law("a", UNIFORM, when="m == 'l'")),
        (law("a", Distribution("uniform", low=2, high=2)),),
    ],
)
def test_a_repeated_draw_exists_once_at_its_first_index(method, dimensions):
    space = Space(plan(Block(method, dimensions, samples=60)))
    points = list(space.points(0, 60))
    assert not space.exact
    assert 0 < len(points) < 60
    assert points[0].index == 0
    assert len({point.id for point in points}) == len(points)
    assert [space.find(point.params) for point in points] == [point.index for point in points]
    assert [index for low, high in space.spans(0, 60) for index in range(low, high)] == [p.index for p in points]
    assert space.count() == Count(60, len(points), exact=True)


FEW = (
    dim("a", range(4), probabilities=(0.7, 0.0, 0.2, 0.1)),
    law("q", Distribution("q_uniform", low=0, high=4, q=2)),
)


@pytest.mark.parametrize("method", ["random", "sobol"])
@pytest.mark.parametrize(
    ("dimensions", "points"),
    [(FEW, 9), ((*FEW, dim("c", "xyz", when="a == 2")), 15), ((law("x", Distribution("normal", mu=1, sigma=0)),), 1)],
)
def test_once_every_combination_came_up_no_later_draw_is_looked_at(method, dimensions, points):
    """With 10**9 draws, all that is asked is answered from the first few hundred."""
    space = Space(plan(Block(method, dimensions, samples=10**9)))
    assert space.count() == Count(10**9, points, exact=True)
    found = list(space.points(0, space.size))
    assert len({point.id for point in found}) == points
    assert [space.find(point.params) for point in found] == [point.index for point in found]
    assert not space.exists(10**9 - 1)
    assert len(space._blocks[0]._is_first) < 5000


@pytest.mark.parametrize("block", [Block("sobol", (dim("a", range(10**4)), dim("b", range(10**4))), samples=10**9)])
def test_whether_a_draw_is_new_is_asked_only_of_those_before_it(block):
    space = Space(plan(block))
    assert space.exists(50)
    assert [point.index for point in space.points(0, 60)] == list(range(60))
    assert len(space._blocks[0]._is_first) == 60
    assert space.count().points == pytest.approx(10**8 * (1 - (1 - 1e-8) ** 10**9), rel=0.01)


@moderate
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 3, 0.5, 0.1, None]), st.integers(-9, 9), st.integers(0, 30))
def test_repeats_are_told_as_a_set_of_points_tells_them(seed, q, low, width):
    dimensions = (
        law("q", Distribution("q_uniform", low=low / 4, high=(low + width) / 4, q=q)),
        law("n", Distribution("q_normal", sigma=0.7, q=q)),
        dim("a", "xyz", probabilities=(0.6, 0.0, 0.4)),
        law("i", Distribution("int_uniform", low=low, high=low + 2)),
    )
    space = Space(plan(Block("random", dimensions, samples=150), seed=seed))
    firsts = {}
    for index in range(150):
        firsts.setdefault(json.dumps(space._blocks[0]._draw(index), sort_keys=True), index)
    assert [point.index for point in space.points(0, 150)] == list(firsts.values())


def test_a_draws_place_is_found_in_every_block_that_cannot_be_searched():
    lr = Block("random", (law("lr", UNIFORM),), samples=4)
    space = Space(plan(Block("grid", (dim("a", range(3)),)), lr, Block("list", rows=({"a": 9},)), lr, replicates=2))
    assert space.drawn() == [(6, 14), (16, 24)]
    assert [space.place(index) for index in (0, 5, 6, 7, 13, 14, 16, 23)] == [0, 2, 0, 0, 3, 0, 0, 3]
    assert list(space.drawn_at(3, 1)) == [13, 23]
    assert list(space.drawn_at(4, 1)) == list(space.drawn_at(0, 2)) == []


def test_rules_thin_draws_too():
    block = Block(
        "random",
        MIXED,
        samples=400,
        where=("lr > 0.01",),
        exclude=({"model": "net"},),
        extend=({"model": "ridge", "k": 1},),
    )
    space = Space(plan(block))
    points = list(space.points(0, 400))
    assert 100 < len(points) < 200  # about half of three quarters
    assert all(point.params["lr"] > 0.01 and point.params["model"] != "net" for point in points)
    assert all((point.params.get("k") == 1) == (point.params["model"] == "ridge") for point in points)


def test_a_list_after_draws_leaves_out_the_draws_that_it_repeats():
    draws = Block("random", (dim("a", range(4), probabilities=(0.1, 0.2, 0.3, 0.4)),), samples=200)
    assert len(params_of(draws, Block("list", rows=({"a": 3}, {"a": 9})))) == 5


# ---- Size


HUGE = tuple(dim(f"p{i}", range(10)) for i in range(9))


def test_a_billion_points_are_counted_and_read_in_flat_memory():
    tracemalloc.start()
    space = Space(plan(Block("grid", HUGE)))
    assert space.count() == Count(10**9, 10**9, exact=True)
    assert list(space.spans(0, space.size)) == [(0, 10**9)]
    assert space.point(123_456_789).params == {f"p{i}": i + 1 for i in range(9)}
    assert space.find({f"p{i}": i + 1 for i in range(9)}) == 123_456_789
    assert sum(1 for _ in space.points(5 * 10**8, 5 * 10**8 + 3000)) == 3000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (Block("grid", HUGE, where=("p0 < 3",)), 3 * 10**8),
        (Block("grid", HUGE, exclude=({"p3": 1}, {"p4": 2.0})), 81 * 10**7),
        (Block("grid", (*HUGE, dim("x", [1, 2], when="p1 == 0"))), 11 * 10**8),
        (
            Block("random", (dim("a", range(10**4), probabilities=(1e-4,) * 9999 + (1.1e-4,)),), samples=10**6),
            10**4,
        ),
        (Block("random", (*HUGE, law("u", UNIFORM)), samples=10**8, where=("u < 0.25",)), 25 * 10**6),
        (Block("random", (law("q", Distribution("q_normal", sigma=100, q=0.5)),), samples=10**5), 1363),
    ],
)
def test_a_thinned_count_of_a_huge_sweep_is_a_close_estimate(block, expected):
    """The last is the sum over all cells of 1-(1-p)**n, by scipy.stats.norm."""
    space = Space(plan(block))
    count = space.count()
    assert not count.exact
    assert count.upper == space.size
    assert count.points == pytest.approx(expected, rel=0.05)
    assert space.count() == count


def test_a_branch_without_points_is_passed_in_one_step():
    """Of 10**9 indexes ten hold a point; they are all found without asking about each index."""
    space = Space(plan(Block("grid", HUGE, where=tuple(f"p{i} == 7" for i in range(8)))))
    runs = list(space.spans(0, space.size))
    assert runs == [(777_777_770, 777_777_780)]
    assert [point.params["p8"] for point in space.points(0, space.size)] == list(range(10))


def test_whole_numbers_of_an_interval_are_never_listed():
    space = Space(plan(Block("grid", (law("n", Distribution("int_uniform", low=1, high=10**12)), dim("b", "xy")))))
    assert space.size == 2 * 10**12
    assert space.point(2 * 10**12 - 1).params == {"n": 10**12, "b": "y"}
    assert space.find({"n": 5 * 10**11, "b": "x"}) == 10**12 - 2
    assert space.kinds == {"n": "int", "b": "str"}
    assert [point.params["n"] for point in space.points(10, 14)] == [6, 6, 7, 7]


def test_a_law_without_a_list_of_values_has_no_grid():
    with pytest.raises(ValueError, match="uniform has no list of values"):
        Space(plan(Block("grid", (law("x", UNIFORM),))))


def test_a_point_is_a_plain_tuple_of_five():
    (point,) = Space(plan(Block("list", rows=({"a": 1},)))).points(0, 1)
    assert point == Point(0, point.id, point.seed, 0, {"a": 1})
    assert type(point) is Point


def test_importing_the_space_loads_nothing_but_the_standard_library():
    """A runner's child starts in milliseconds; scipy comes with the first sobol draw."""
    code = (
        "import sys; import sweepfleet.grid.space\n"
        "heavy = {'numpy', 'scipy', 'pydantic', 'ruamel', 'statistics'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
