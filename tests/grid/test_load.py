"""What `grid.load` promises: a checked sweep, or every mistake of the file at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepfleet.grid.errors import GridError, UsageError
from sweepfleet.grid.load import load, loads
from sweepfleet.grid.plan import Block, Dimension, Plan
from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Execution, Metric, Target

FULL = """\
# what this is for
name: ridge-vs-lasso
run: examples.diabetes.fit:fit   # the target
seed: 42
parameters:
  model: {values: [ridge, lasso]}
  alpha: {logspace: [-4, 2, 7]}
  l1_ratio: [0.25, 0.75]         # only for some
  fold:  [0, 1]
  net:   {parameters: {depth: [2, 4]}}
zip:   {size: {width: [64, 128], batch: [256, 128]}}
when:  {l1_ratio: "model == 'lasso'"}
where: ["net.depth * width <= 256"]
exclude: [{model: lasso, alpha: 100.0}]
include: [{model: ols}]
replicates: 5
metric: {name: rmse, goal: minimize}
execution: {timeout: 1h30m, retries: 2, max_fails: 50, max_parallel: 64,
            resources: {cpus: 2, memory: 512MiB}, bundle: auto, order: shuffled, max_cost: 12, deadline: 6h, log: 1MB}
"""


def read(text, **more):
    return loads(text, source=Path("/somewhere/work/grid.yaml"), **more)


def points(text, **more):
    space = Space(read(text, **more).plan)
    return [point.params for point in space.points(0, space.size)]


def problems(text, **more):
    with pytest.raises(GridError) as caught:
        read(text, **more)
    return caught.value.problems


def problem(text, **more):
    (only,) = problems(text, **more)
    return only


def test_a_full_file_becomes_the_plan_that_it_describes():
    sweep = read(FULL)
    assert sweep.name == "ridge-vs-lasso"
    assert sweep.text == FULL
    assert sweep.target == Target(run="examples.diabetes.fit:fit")
    assert sweep.metric == Metric("rmse", "minimize")
    assert sweep.execution == Execution(
        timeout_s=5400.0,
        retries=2,
        max_fails=50,
        max_parallel=64,
        cpus=2,
        memory_bytes=512 * 2**20,
        log_bytes=1_000_000,
        order="shuffled",
        max_cost_usd=12.0,
        deadline_s=21600.0,
    )
    assert sweep.warnings == ()
    grid, extra = sweep.plan.blocks
    assert sweep.plan == Plan("examples.diabetes.fit:fit", 42, 5, (grid, extra))
    assert grid == Block(
        "grid",
        (
            Dimension(("model",), (("ridge",), ("lasso",))),
            Dimension(("alpha",), tuple((a,) for a in (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0))),
            Dimension(("l1_ratio",), ((0.25,), (0.75,)), when="model == 'lasso'"),
            Dimension(("fold",), ((0,), (1,))),
            Dimension(("net.depth",), ((2,), (4,))),
            Dimension(("width", "batch"), ((64, 256), (128, 128))),
        ),
        where=("net.depth * width <= 256",),
        exclude=({"model": "lasso", "alpha": 100.0},),
    )
    assert extra == Block("list", rows=({"model": "ols"},))


def test_five_mistakes_are_five_problems_each_with_line_and_remedy():
    text = """\
run: fit:fit
metod: random
parameters:
  alpha: {min: 3, max: 1}
  beta: [1, 2]
where: ["bta > 1"]
samples: -3
execution: {timeout: soon}
"""
    found = problems(text)
    assert [(each.line, each.key) for each in found] == [
        (2, "metod"),
        (4, "parameters.alpha.min"),
        (6, "where[0]"),
        (7, "samples"),
        (8, "execution.timeout"),
    ]
    for each, remedy in zip(
        found, ["`method`", "Exchange", "`beta`", "`samples: 200`", "`timeout: 10m`"], strict=True
    ):
        assert remedy in each.remedy


@pytest.mark.parametrize(
    ("text", "line", "key", "message", "remedy"),
    [
        ("", None, "", "The file is empty", "run: module:function"),
        ("- 1", 1, "", "not a map", "run: module:function"),
        ("run: a:b\nrun: a:c", 2, "run", "the first one is on line 1", "Remove one"),
        ("run: a:b\nparameters: {1: [2]}", 2, "parameters", "The key 1 is not text", '"1"'),
        ("run: a:b\nparameters: {a: !!python/object:os.system [x]}", 2, "parameters.a", "tag", "Remove it"),
        ("run: a:b\nparameters:\n\ta: 1", 3, "", "not valid YAML", "not with tabs"),
        ("run: a: b", 1, "", "not valid YAML", "quotes"),
        ("run: a:b\n---\nrun: c:d", 2, "", "another document", "---"),
        ("run: a:b\nparameters: {a: *x}", 2, "", "undefined alias", "Check"),
        ("run: a:b\nname: \x00", 2, "", "U+0000", "Remove"),
        ("run: a:b\nparameters: [1]", 2, "parameters", "must be a map", "{alpha: [0.1, 1]}"),
        ("run: a:b\nparamters: {a: [1]}\nwhere: a > 0", 2, "paramters", "not a key here", "`parameters`"),
        ("run: a:b\nparameters: {a: }", 2, "parameters.a", "a list of values", "{value: null}"),
        ("run: a:b\nparameters: {a: {depth: [1]}}", 2, "parameters.a.depth", "not a key", "under `parameters:`"),
        ("run: a:b\nparameters: {a: [], b: [1]}", 2, "parameters.a.values", "empty", "at least one"),
        ("run: a:b\nparameters: {'a b': [1]}", 2, "parameters.a b", "cannot be", "letters"),
        ("run: a:b\nparameters: {seed: [1]}", 2, "parameters.seed", "cannot be called seed", "replicates"),
        (
            "run: a:b\nparameters: {artifact_dir: [x]}",
            2,
            "parameters.artifact_dir",
            "cannot be called",
            "another name",
        ),
        ("run: a:b\nparameters: {a: 1, a.b: 2}", 2, "parameters.a.b", "a is both a value", "Rename"),
        ("run: a:b\nparameters: {a: [1]}\nzip: {z: {a: [1]}}", 3, "zip.z", "`parameters` and `zip`", "one"),
        ("run: a:b\nzip: {z: {a: [1]}, y: {a: [2]}}", 2, "zip.y", "the zips z and y", "one"),
        ("run: a:b\nzip: {z: {a: [1, 2], b: [1, 2, 3]}}", 2, "zip.z", "a has 2, b has 3", "equally"),
        ("run: a:b\nzip: {z: {a: {min: 0.5, max: 1}}}", 2, "zip.z.a", "lists of values", "linspace"),
        ("run: a:b\nparameters: {z: 1}\nzip: {z: {a: [1]}}", 3, "zip.z", "name of a parameter", "Rename"),
        ("run: a:b\nparameters: {alpha: [1]}\nwhen: {alpa: alpha > 1}", 3, "when.alpa", "not a parameter", "`alpha`"),
        ("run: a:b\nparameters: {a: [1]}\nwhen: {a: c > 1}", 3, "when.a", "not a parameter", "a"),
        ("run: a:b\nparameters: {a: [1]}\nwhen: {a: a > 1}", 3, "when", "depend on each other", "use only"),
        ("run: a:b\nzip: {z: {a: [1]}}\nwhen: {a: a > 1}", 3, "when.a", "part of the zip z", "`z`"),
        ("run: a:b\nparameters: {a: [1]}\nexclude: [{b: 1}]", 3, "exclude[0].b", "not a parameter", "a"),
        ("run: a:b\nparameters: {a: [ridge]}\nexclude: [{a: rige}]", 3, "exclude[0].a", "never", "`ridge`"),
        ("run: a:b\nparameters: {a: [1, 5]}\nexclude: [{a: 4}]", 3, "exclude[0].a", "never", "`5`"),
        (
            "run: a:b\nparameters: {a: ['4']}\nexclude: [{a: 4}]",
            3,
            "exclude[0].a",
            "never has the value `4`",
            '`"4"`, text',
        ),
        ("run: a:b\nparameters: {a: [1]}\nexclude: [{}]", 3, "exclude[0]", "empty", "Write"),
        ("run: a:b\nparameters: {a: [1]}\nexclude: [3]", 3, "exclude[0]", "must be a map", "exclude: [{"),
        ("run: a:b\nparameters: {a: [1]}\ninclude: [{seed: 3}]", 3, "include[0].seed", "cannot be", "replicates"),
        ("run: a:b\nparameters: {a: [1]}\nmethod: bayes", 3, "method", "grid, random, sobol", "`method: sobol`"),
        ("run: a:b\nparameters: {a: [1]}\nmethod: rand", 3, "method", "'rand'"[1:-1], "`method: random`"),
        ("run: a:b\nparameters: {a: [1]}\nmethod: list", 3, "method", "not used", "grid"),
        ("run: a:b\nparameters: {a: {min: 0, max: 1.5}}", 2, "parameters.a", "method grid", "linspace: [0, 1.5, 11]"),
        ("run: a:b\nsamples: 1.5", 2, "samples", "a whole number", "`samples: 200`"),
        ("run: a:b\nseed: true", 2, "seed", "a whole number", "`seed: 42`"),
        ("run: a:b\nreplicates: 0", 2, "replicates", "1 or more", "`replicates: 5`"),
        ("run: a:b\nretries: 3", 2, "retries", "not a key here", "under `execution`"),
        ("run: a:b\nfail-fast: true", 2, "fail-fast", "not a key here", "{fail_fast: ...}"),
        ("run: a:b\nexecution: {memory: 2GB}", 2, "execution.memory", "not a key", "execution: {resources: {memory:"),
        ("run: a:b\nexecution: {fail_fast: true, fail-fast: true}", 2, "execution", "the same key", "Keep one"),
        ("run: a:b\nexecution: {resources: {memory: 2 GX}}", 2, "execution.resources.memory", "512MiB", "2GB"),
        ("run: a:b\nexecution: {order: random}", 2, "execution.order", "given or shuffled", "shuffled"),
        ("run: a:b\nexecution: {bundle: 0}", 2, "execution.bundle", "auto", "100"),
        ("run: a:b\nexecution: {max_cost: 0}", 2, "execution.max_cost", "US dollars above 0", "12.5"),
        ("run: a:b\nexecution: {max_cost: .inf}", 2, "execution.max_cost", "US dollars above 0", "12.5"),
        ("run: a:b\nexecution: {max_cost: $5}", 2, "execution.max_cost", "US dollars above 0", "12.5"),
        ("run: a:b\nexecution: {log: off}", 2, "execution.log", "none, or a size from 1kB to 16MB", "1MB"),
        ("run: a:b\nexecution: {log: 10}", 2, "execution.log", "none, or a size from 1kB to 16MB", "1MB"),
        ("run: a:b\nexecution: {log: 1GB}", 2, "execution.log", "none, or a size from 1kB to 16MB", "1MB"),
        ("run: a:b\nexecution: {log: true}", 2, "execution.log", "none, or a size from 1kB to 16MB", "1MB"),
        ("run: a:b\nexecution: {deadline: soon}", 2, "execution.deadline", "a duration above 0", "6h"),
        ("run: a:b\nmax_cost: 5", 2, "max_cost", "not a key here", "under `execution`"),
        ("run: a:b\nmetric: {goal: maximize}", 2, "metric", "`name` is missing", "rmse"),
        ("run: a:b\nmetric: {name: x, goal: max}", 2, "metric.goal", "minimize or maximize", "goal"),
        (
            "run: a:b\nparameters: {fold: [1]}\nmetric: {name: x, over: folds}",
            3,
            "metric.over[0]",
            "not a parameter",
            "`fold`",
        ),
        (
            "run: a:b\nparameters: {f: [1]}\nmetric: {name: x, over: [f, g]}",
            3,
            "metric.over[1]",
            "not a par",
            "are f",
        ),
        ("run: a:b\nmetric: {name: x, over: 3}", 2, "metric.over", "must be a list", "over: fold"),
        ("run: a:b\nover: fold", 2, "over", "not a key here", "under `metric`"),
        ("run: a:b\nname: ../x", 2, "name", "cannot be a name", "letters"),
        ("run: a:b\nname: .hidden", 2, "name", "cannot be a name", "letters"),
        ("run: ./fits/fit.py:main", 1, "run", "module:function", "run: fits.fit:main"),
        ("run: a:class", 1, "run", "module:function", "run: examples"),
        ("run: fit", 1, "run", "module:function", "run: examples"),
        ("run: a:b\ncommand: [x]", 2, "command", "together", "Remove one"),
        ("seed: 1", 1, "", "does not say what to run", "command"),
        ("command: echo hi", 1, "command", "a list of words", "[echo, hi]"),
        ("command: [echo, '{alpa}']\nparameters: {alpha: [1]}", 1, "command[1]", "{alpa}", "{{alpa}}"),
        ("command: [echo, true]", 1, "command[1]", "must be text", "in quotes"),
        ("run: a:b\npoints: nope.csv", 2, "points[0]", "nope.csv cannot be read", "relative"),
        ("run: a:b\ngrids: [{}]", 2, "grids[0]", "no parameters", "remove"),
        ("run: a:b\ngrids: [{parameters: {a: [1]}, x: 1}]", 2, "grids[0].x", "not a key here", "method"),
    ],
)
def test_a_mistake_is_told_with_its_line_its_key_and_what_to_write(text, line, key, message, remedy):
    found = problem(text)
    assert (found.line, found.key) == (line, key)
    assert message in found.message
    assert remedy in found.remedy


def test_what_stands_under_a_misspelt_key_is_checked_too():
    found = problems("run: a:b\nexecutoin:\n  timeout: soon\n  retries: 1\n")
    assert [(each.line, each.key) for each in found] == [(2, "executoin"), (3, "executoin.timeout")]


def test_messages_never_name_the_machinery_behind_them():
    text = (
        "run: 3\nparameters: 4\nzip: {a: 3}\nmetric: x\ngrids: [1]\nexecution: {retries: x}\nwhere: {a: 1}\nxyz: 1\n"
    )
    with pytest.raises(GridError) as caught:
        read(text)
    told = str(caught.value).lower()
    assert len(caught.value.problems) == 8
    for word in ("pydantic", "http", "spec", "input should", "validation", "ruamel"):
        assert word not in told


def test_values_are_those_of_yaml_1_2():
    text = "run: a:b\nparameters: {a: [1e-4, no, 010, 0o17, 0x1f, 1_0, 2024-01-01, ~, .inf, -.5, '1', True, y, +1]}"
    (row,) = [[point["a"] for point in points(text)]]
    assert row[:8] == [1e-4, "no", 10, 15, 31, "1_0", "2024-01-01", None]
    assert row[8:] == [float("inf"), -0.5, "1", True, "y", 1]


def test_repeated_values_count_once_and_equal_numbers_of_two_kinds_twice():
    assert [point["a"] for point in points("run: a:b\nparameters: {a: [1, 1, 1.0, true, [1], {b: 1}, [1]]}")] == [
        1,
        1.0,
        True,
        [1],
        {"b": 1},
    ]


def test_anchors_and_merges_mean_what_yaml_means():
    text = """\
run: a:b
grids:
  - &base
    parameters: &some {a: [1, 2]}
  - <<: *base
    parameters: {<<: *some, b: [3]}
"""
    assert points(text) == [{"a": 1}, {"a": 2}, {"a": 1, "b": 3}, {"a": 2, "b": 3}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: " + "[" * 100, "more than 50 levels"),
        ("a: " + "[" * 100 + "]" * 100, "more than 50 levels"),
        ("a: &x [*x]", "contains itself"),
        (
            "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)),
            "expands",
        ),
        ("a: [" + "1," * 250_001 + "]", "more than 250,000 values"),
        ("a: " + "x" * 10_000_001, "10,000,000 are allowed"),
        ("run: a:b\nparameters: {a: {range: [0, 1e7]}}", "1,000,000 can be listed"),
        ("run: a:b\nparameters: {a: {linspace: [0, 1, 1000000000000]}}", "1,000,000 can be listed"),
        ("run: a:b\nseed: " + "9" * 5000, "cannot be read as int"),
    ],
)
def test_hostile_files_are_refused_at_once(text, message):
    assert message in problems(text)[0].message


def test_large_numbers_are_values_like_others():
    assert points(f"run: a:b\nparameters: {{a: [{10**100}, 1e300]}}") == [{"a": 10**100}, {"a": 1e300}]


def test_the_name_comes_from_the_file_the_folder_or_the_command_line(tmp_path):
    folder = tmp_path / "my sweep"
    folder.mkdir()
    for file in ("grid.yaml", "tuning.yaml"):
        (folder / file).write_text("run: a:b\n")
    assert load(folder / "grid.yaml").name == "my-sweep"
    assert load(folder / "tuning.yaml").name == "tuning"
    assert load(folder / "tuning.yaml", name="x.1").name == "x.1"
    assert load(folder / "tuning.yaml", overrides=["name=y"]).name == "y"
    with pytest.raises(GridError, match=r"--name ../x: .* cannot be a name"):
        load(folder / "tuning.yaml", name="../x")


def test_a_file_that_cannot_be_read_is_said_so(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        load(tmp_path / "grid.yaml")
    with pytest.raises(UsageError, match="is a directory"):
        load(tmp_path)
    (tmp_path / "grid.yaml").write_bytes(b"run: \xff")
    with pytest.raises(UsageError, match="UTF-8"):
        load(tmp_path / "grid.yaml")


def test_methods_default_to_grid_and_to_list_where_there_are_only_points(tmp_path):
    (tmp_path / "p.csv").write_text("a\n1\n2\n")
    source = tmp_path / "grid.yaml"
    listed = loads("run: a:b\npoints: p.csv\ninclude: [{a: 5}]", source=source)
    assert [block.method for block in listed.plan.blocks] == ["list"]
    assert listed.plan.blocks[0].rows == ({"a": 1}, {"a": 2}, {"a": 5})
    both = loads("run: a:b\nparameters: {a: [1, 9]}\npoints: [p.csv, p.csv]", source=source)
    assert [block.method for block in both.plan.blocks] == ["grid", "list"]
    assert [point.params["a"] for point in Space(both.plan).points(0, 10)] == [1, 9, 2]
    assert points("run: a:b\nreplicates: 2") == [{}, {}]


def test_samples_have_a_default_that_is_said():
    sweep = read("run: a:b\nmethod: random\nparameters: {a: {min: 0.5, max: 1}}")
    assert sweep.plan.blocks[0].samples == 100
    assert "100 points" in sweep.warnings[0]
    assert (
        read("run: a:b\nmethod: sobol\nparameters: {a: {min: 0.5, max: 1}}\nsamples: 7").plan.blocks[0].samples == 7
    )


def test_blocks_share_the_top_level_and_win_over_it():
    text = """\
run: a:b
parameters: {a: [1, 2], b: [x]}
where: a != 3
exclude: [{a: 2, b: x}]
grids:
  - parameters: {a: [2, 3, 4]}
  - {method: random, samples: 5, parameters: {c: {min: 0, max: 3}}}
include: [{c: 7}]
"""
    plan = read(text).plan
    assert [block.method for block in plan.blocks] == ["grid", "random", "list"]
    assert [dimension.names for dimension in plan.blocks[0].dimensions] == [("b",), ("a",)]
    assert points(text)[0] == {"b": "x", "a": 4}
    assert plan.blocks[1].samples == 5
    assert plan.blocks[2].rows == ({"c": 7},)


def test_shared_parameters_come_first_and_in_their_order():
    text = "run: a:b\nparameters: {c: [1], a: [1], b: [1]}\ngrids: [{parameters: {d: [1], a: [2]}}]"
    assert [dimension.names for dimension in read(text).plan.blocks[0].dimensions] == [("c",), ("b",), ("d",), ("a",)]


def test_one_mistake_in_a_zip_makes_one_problem():
    text = "run: a:b\nzip: {z: {a: [1], b: {range: [1, 1]}}}\nexclude: [{b: 3}, {a: 1, b: 1}]\nwhere: a + b > 1"
    assert problem(text).key == "zip.z.b.range"


def test_include_extends_what_it_matches_and_is_a_point_otherwise():
    """GitHub Actions' own example of the rule, and an entry whose match is excluded."""
    text = """\
run: a:b
parameters: {fruit: [apple, pear], animal: [cat, dog]}
exclude: [{fruit: pear, animal: dog}]
include:
  - {color: green}
  - {color: pink, animal: cat}
  - {fruit: apple, shape: circle}
  - {fruit: banana}
  - {fruit: banana, animal: cat}
  - {fruit: pear, animal: dog, color: red}
"""
    assert points(text) == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
        {"fruit": "pear", "animal": "dog", "color": "red"},
    ]


def test_entries_may_nest_as_parameters_do():
    text = "run: a:b\nparameters: {net: {parameters: {depth: [2, 4]}}}\nexclude: [{net: {depth: 2}}]"
    assert points(text) == [{"net.depth": 4}]


def test_an_excluded_number_may_be_written_as_its_equal():
    assert points("run: a:b\nparameters: {a: [1.0, 2.0]}\nexclude: [{a: 1}]") == [{"a": 2.0}]


def test_where_asks_listed_points_about_what_they_have(tmp_path):
    (tmp_path / "p.csv").write_text("a,b\n1,1\n5,1\n6,\n")
    text = "run: a:b\npoints: p.csv\ninclude: [{c: 1}, {a: 9}]\nwhere: a + b < 4"
    sweep = loads(text, source=tmp_path / "grid.yaml")
    assert sweep.plan.blocks[0].rows == ({"a": 1, "b": 1}, {"a": 6}, {"c": 1}, {"a": 9})


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("alpha=0.1,1", [0.1, 1]),
        ("alpha=0.1", [0.1]),
        ("alpha=[0.1, 1]", [0.1, 1]),
        ("alpha=[1, 2],[3]", [[1, 2], [3]]),
        ("alpha={range: [0, 3]}", [0, 1, 2]),
        ("alpha={linspace: [0, 1, 3]}", [0.0, 0.5, 1.0]),
        ("alpha=no,'1',\"a,b\",1e-4", ["no", "1", "a,b", 1e-4]),
        ("net.depth=8", [8]),
    ],
)
def test_set_gives_a_parameter_new_values(override, changed):
    name = override.split("=", maxsplit=1)[0]
    sweep = read(FULL, overrides=[override])
    (dimension,) = [dimension for dimension in sweep.plan.blocks[0].dimensions if dimension.names == (name,)]
    assert [value for (value,) in dimension.rows] == changed
    assert read(sweep.text).plan == sweep.plan


def test_set_reaches_every_key_and_keeps_comments_and_everything_else():
    more = [
        "execution.retries=3",
        "execution.fail-fast=true",
        "execution.max_cost=0.5",
        "seed=7",
        "name=x",
        "metric.goal=maximize",
    ]
    sweep = read(FULL, overrides=more)
    before = read(FULL)
    assert sweep.execution == dataclasses.replace(before.execution, retries=3, fail_fast=True, max_cost_usd=0.5)
    assert (sweep.name, sweep.metric, sweep.plan.seed) == ("x", Metric("rmse", "maximize"), 7)
    assert sweep.plan.blocks[0].where == ("net.depth * width <= 256",)
    assert sweep.plan.blocks[0].dimensions == before.plan.blocks[0].dimensions
    for comment in ("# what this is for", "# the target", "# only for some"):
        assert comment in sweep.text
    again = read(sweep.text)
    assert dataclasses.replace(again, text="") == dataclasses.replace(sweep, text="")


def test_where_on_the_command_line_chooses_and_leaves_the_grid_as_it_is():
    """The plan, and so every id and index, and the text that is stored are the file's."""
    before, sweep = read(FULL), read(FULL, where=["fold > 0", "alpha < 1"])
    assert sweep == dataclasses.replace(before, chosen=("fold > 0", "alpha < 1"))


def test_set_reaches_a_parameter_in_every_block_that_has_it():
    text = "run: a:b\ngrids: [{parameters: {a: [1]}}, {parameters: {a: [2], b: [1]}}, {parameters: {b: [3]}}]"
    assert points(text, overrides=["a=7"]) == [{"a": 7}, {"a": 7, "b": 1}, {"b": 3}]


def test_set_leaves_an_anchor_s_other_users_alone():
    text = "run: a:b\nparameters: {a: &v [1, 2], b: *v}"
    assert points(text, overrides=["a=9"]) == [{"a": 9, "b": 1}, {"a": 9, "b": 2}]
    assert points(text, overrides=["b=9"]) == [{"a": 1, "b": 9}, {"a": 2, "b": 9}]
    nested = "run: a:b\nparameters: {n: &n {parameters: {d: [1]}}, m: *n}"
    assert points(nested, overrides=["n.d=9"]) == [{"n.d": 9, "m.d": 1}]


def test_an_exclude_that_an_override_left_nothing_to_exclude_goes():
    sweep = read(FULL, overrides=["alpha=0.1,1"])
    assert sweep.plan.blocks[0].exclude == ()
    assert read(sweep.text).plan == sweep.plan


def test_without_overrides_the_text_is_the_user_s_own():
    assert read(FULL, name="other").text == FULL


@pytest.mark.parametrize(
    ("more", "key", "message", "remedy"),
    [
        ({"overrides": ["alhpa=1"]}, "--set alhpa=1", "neither a parameter", "`alpha`"),
        ({"overrides": ["width=1"]}, "--set width=1", "part of the zip size", "zip.size={width"),
        ({"overrides": ["alpha"]}, "--set alpha", "not key=value", "alpha=0.1,1"),
        ({"overrides": ["alpha="]}, "--set alpha=", "not key=value", "alpha=0.1,1"),
        ({"overrides": ["alpha=["]}, "--set alpha=[", "not valid YAML", "quotes"),
        ({"overrides": ["alpha={rnge: [1, 2]}"]}, "--set alpha={rnge: [1, 2]}", "not a key", "`range`"),
        ({"overrides": ["seed=x"]}, "--set seed=x", "whole number", "seed: 42"),
        ({"overrides": ["execution.retires=3"]}, "--set execution.retires=3", "not a key", "`retries`"),
        ({"where": ["alhpa > 1"]}, "--where alhpa > 1", "not a parameter", "alpha"),
        ({"where": ["fold >"]}, "--where fold >", "cannot be read", "Python"),
    ],
)
def test_a_mistake_on_the_command_line_is_told_as_it_was_typed(more, key, message, remedy):
    found = problem(FULL, **more)
    assert (found.line, found.key) == (None, key)
    assert message in found.message
    assert remedy in found.remedy


def test_a_hyphenated_key_is_found_on_its_line():
    assert problem("run: a:b\nexecution:\n  max-parallel: x").line == 3


def test_many_mistakes_stay_readable():
    text = "run: a:b\n" + "".join(f"x{number}y: 1\n" for number in range(1000))
    assert len(problems(text)) == 100


TOKENS = st.sampled_from(
    [
        *"{}[]:,-?!&*#|>'\"%@`~<=\t\n ",
        "\n  ",
        ": ",
        "<<: ",
        "---\n",
        "!!int ",
        "!!x ",
        "&a ",
        "*a",
        "null",
        "1e9",
        "-1",
    ]
)
WORDS = """name run command program method seed parameters zip when where exclude include grids points samples
replicates metric execution run_cap values range linspace logspace min max distribution q probabilities alpha model
size retries timeout resources memory uniform q_uniform int_uniform random sobol list one_at_a_time"""
KEYS = st.sampled_from(WORDS.split())


@settings(deadline=None, max_examples=400, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, len(FULL)), st.integers(0, 12), TOKENS | KEYS), min_size=1, max_size=6))
def test_no_text_meets_a_traceback(edits):
    text = FULL
    for place, length, token in edits:
        text = text[:place] + token + text[place + length :]
    try:
        sweep = read(text)
    except UsageError as error:
        assert str(error)  # noqa: PT017  (either outcome is fine)
    else:
        assert read(sweep.text) == sweep


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2, width=16) | KEYS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "entry", [r'"\ud800": 1', r'metric: {"\ud800": 1}', r'method: "\ud800"', r'execution: {timeout: "\ud800"}']
)
def test_half_a_character_is_a_mistake_wherever_it_is(entry):
    with pytest.raises(GridError, match="unpaired surrogate"):
        read(f"run: a:b\n{entry}")


@settings(deadline=None, max_examples=400, derandomize=True)
@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_no_structure_meets_a_traceback(data):
    import json

    try:
        sweep = read(json.dumps({"run": "a:b", **data}))
    except UsageError as error:
        assert str(error)  # noqa: PT017  (either outcome is fine)
    else:
        Space(sweep.plan)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    st.lists(st.sampled_from(["alpha", "fold", "model"]), min_size=1, max_size=3),
    st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=6), max_size=3),
)
def test_the_text_with_overrides_loads_to_the_same_sweep(names, words):
    overrides = [f"{name}={','.join([*words, '1'])}" for name in names]
    try:
        sweep = read(FULL, overrides=overrides)
    except GridError:
        return
    again = read(sweep.text)
    assert dataclasses.replace(again, text="", warnings=()) == dataclasses.replace(sweep, text="", warnings=())


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("method: sobol\nsamples: 1000001\nparameters: {a: [1, 2]}", "samples"),
        ("method: random\nsamples: 5000000\nparameters: {a: {values: [1, 2], probabilities: [0.9, 0.1]}}", "samples"),
        ("method: random\nrun_cap: 2000000\nparameters: {a: {distribution: q_normal}}", "run_cap"),
        ("grids:\n  - {method: sobol, samples: 2000000, parameters: {a: [1, 2]}}", "grids[0].samples"),
    ],
)
def test_more_draws_than_can_be_told_from_their_repeats_are_refused(text, key):
    (problem,) = problems(f"run: a:b\n{text}")
    assert problem.key == key
    assert "draw may repeat" in problem.message
    assert problem.remedy.startswith("Write samples: 1000000 or fewer")
    assert ("method: grid" in problem.remedy) == ("q_normal" not in text)


@pytest.mark.parametrize(
    "text",
    [
        "method: sobol\nsamples: 1000000\nparameters: {a: [1, 2]}",
        "method: random\nsamples: 50000000\nparameters: {a: {min: 1, max: 100000}, b: {min: 1, max: 100000}}",
        "method: sobol\nsamples: 50000000\nparameters: {a: [1, 2], b: {min: 0.5, max: 1}}",
    ],
)
def test_draws_that_never_repeat_may_be_many(text):
    assert read(f"run: a:b\n{text}").plan.blocks[0].samples >= 10**6


@pytest.mark.parametrize(("over", "names"), [("fold", ("fold",)), ("[fold, a, fold]", ("fold", "a"))])
def test_the_mean_is_over_one_parameter_or_several(over: str, names: tuple[str, ...]) -> None:
    """Each once, as text or as a list."""
    sweep = loads(
        f"run: a:b\nparameters: {{fold: [0, 1], a: [1]}}\nmetric: {{name: x, over: {over}}}", source=Path("grid.yaml")
    )
    assert sweep.metric == Metric("x", "minimize", names)
    assert sweep.warnings == ()


def test_a_mean_over_a_part_of_a_zip_is_warned_of() -> None:
    """What varies with the fold keeps every fold apart."""
    text = "run: a:b\nzip: {z: {fold: [0, 1], file: [a, b]}}\nmetric: {name: x, over: OVER}"
    found = loads(text.replace("OVER", "fold"), source=Path("grid.yaml")).warnings
    assert len(found) == 1
    assert "does not name file" in found[0]
    assert loads(text.replace("OVER", "[fold, file]"), source=Path("grid.yaml")).warnings == ()


@pytest.mark.parametrize(
    ("log", "kept"),
    [
        ("none", None),
        ("1MB", 10**6),
        ("64KiB", 65536),
        ("1000", 1000),
        ("16MB", 16 * 10**6),
        ("", 65536),
        ("null", 65536),
    ],
)
def test_how_much_is_kept_of_what_a_point_prints(log, kept):
    assert read(f"run: a:b\nexecution: {{log: {log}}}").execution.log_bytes == kept
