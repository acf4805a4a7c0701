"""What `grid.names` promises: a name with signs works everywhere, and is never computed with in silence."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from sweepfleet.grid.command import render
from sweepfleet.grid.errors import GridError, UsageError
from sweepfleet.grid.expressions import Expression, ExpressionError
from sweepfleet.grid.load import loads
from sweepfleet.grid.space import Space
from sweepfleet.run.query import select
from sweepfleet.run.selection import Selection
from sweepfleet.slot.context import Context
from sweepfleet.slot.target import find

NAMES = [
    "learning-rate",
    "val/loss",
    "+trainer.lr",
    "model@net",
    "numbers[0]",
    "f1-score",
    "opt.weight-decay",
    "a:b%c",
]


def read(text, folder=Path("/somewhere"), **more):
    return loads(f"run: fit:fit\n{text}", source=folder / "grid.yaml", **more)


def params(sweep):
    return [point.params for point in Space(sweep.plan).points(0, 99)]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_with_signs_is_a_parameter_everywhere(name, tmp_path):
    (tmp_path / "p.csv").write_text(f"{name},y\n9,9\n")
    text = f"""
parameters: {{"{name}": [1, 2, 3], y: [0, 5]}}
when: {{y: "`{name}` > 1"}}
where: "`{name}` != 3 or y == 5"
exclude: [{{"{name}": 2, y: 0}}]
include: [{{"{name}": 7}}, {{"{name}": 2, z: 1}}]
points: p.csv
metric: {{name: "{name}"}}
"""
    sweep = read(text, folder=tmp_path)
    assert params(sweep) == [
        {name: 1},
        {name: 2, "y": 5, "z": 1},
        {name: 3, "y": 5},
        {name: 9, "y": 9},
        {name: 7},
    ]
    assert sweep.metric is not None
    assert sweep.metric.name == name
    fewer = read(
        text.replace("exclude", "# exclude"), folder=tmp_path, overrides=[f"{name}=1,2"], where=[f"`{name}` == 1"]
    )
    assert [point.params for point in Selection(fewer).space.points(0, 10)] == [{name: 1}]
    again = loads(fewer.text, source=tmp_path / "grid.yaml", where=[f"`{name}` == 1"])
    assert again == fewer


@pytest.mark.parametrize("name", NAMES)
def test_a_name_with_signs_is_filled_into_a_command(name):
    text = f"""
command: [fit, "--x={{{name}}}", "{{x[0]}} {{y}}", "{{a+b}}"]
parameters: {{"{name}": [1], y: 2, net: {{parameters: {{"{name}": 3}}}}}}
"""
    sweep = loads(text, source=Path("/somewhere/grid.yaml"))
    space = Space(sweep.plan)
    words = render(sweep.target.command, space.point(0), env={}, names=space.names)
    assert words == ["fit", "--x=1", "{x[0]} 2", "{a+b}"]


def test_a_signed_name_that_a_point_lacks_leaves_no_word():
    sweep = loads(
        'command: [fit, "{+lr}", "x{+lr}", "{+t}"]\n'
        'parameters: {m: [1], +lr: [2], +t: {parameters: {a: 1}}}\nwhen: {+lr: "m == 2"}',
        source=Path("/somewhere/grid.yaml"),
    )
    space = Space(sweep.plan)
    assert render(sweep.target.command, space.point(0), env={}, names=space.names) == ["fit", "x", '{"a": 1}']


def test_what_looks_like_a_signed_parameter_in_braces_is_said():
    with pytest.raises(GridError, match=r"\{model@nett\} is not a parameter. Did you mean \{model@net\}\?"):
        loads('command: [fit, "{model@nett}"]\nparameters: {model@net: [1]}', source=Path("/somewhere/grid.yaml"))


def test_nested_and_zipped_names_may_have_signs():
    text = """
parameters: {net: {parameters: {learning-rate: [1, 2]}}}
zip: {f/s: {w-d: [1, 2], "n[0]": [3, 4]}}
where: "net.`learning-rate` == 1 and `net.learning-rate` < `w-d` + 1"
"""
    assert params(read(text)) == [
        {"net.learning-rate": 1, "w-d": 1, "n[0]": 3},
        {"net.learning-rate": 1, "w-d": 2, "n[0]": 4},
    ]


@pytest.mark.parametrize("name", ["", "-a", "1x", "a b", "a`b", "a{b", "a..b", ".a", "a=b", "a'b", "a,b"])
def test_what_cannot_be_a_name_is_refused(name):
    with pytest.raises(GridError, match="cannot be a parameter's name"):
        read(f'parameters: {{"{name}": [1], ok: 1}}')


@pytest.mark.parametrize(
    ("text", "point", "expected"),
    [
        ("`a-b` > 0", {"a": 1, "b": 9, "a-b": 5}, True),
        ("a - b > 0", {"a": 1, "b": 9, "a-b": 5}, False),
        ("a -b > 0", {"a": 1, "b": 9, "a-b": 5}, False),
        ("a-2 > 0", {"a": 3, "a-b": 5}, True),
        ("`a-b` - a - b == 1", {"a": 1, "b": 3, "a-b": 5}, True),
        ("c-`a-b` == 1", {"a-b": 5, "c": 6}, True),
        ("`numbers[0]` in [1, 2]", {"numbers[0]": 2}, True),
        ("c+trainer.lr == 3", {"c": 1, "trainer.lr": 2, "+trainer.lr": 9}, True),
        ("`+trainer.lr` == 9 and + trainer.lr == 2", {"trainer.lr": 2, "+trainer.lr": 9}, True),
        ("c == 'a-b' and c != \"`\"", {"c": "a-b", "a-b": 5}, True),
        ("c == '`a-b`'", {"c": "`a-b`", "a-b": 5}, True),
        ("`lambda` > 0 and `opt.in` > 0 and opt.`in` > 0", {"lambda": 1, "opt.in": 1}, True),
        ("`c` == 1 and `net`.depth == 2", {"c": 1, "net.depth": 2}, True),
        ("x-a-bc == 0", {"x": 3, "a": 1, "bc": 2, "a-b": 9}, True),
        ("`a b (c)` == 1", {"a b (c)": 1}, True),
    ],
)
def test_both_readings_have_a_spelling_of_their_own(text, point, expected):
    assert Expression(text, [*point])(point) is expected


@pytest.mark.parametrize(
    ("text", "names", "told"),
    [
        (
            "a-b > 0",
            ["a", "b", "a-b"],
            "For the parameter, write `a-b` in backticks; for arithmetic, put spaces around the sign: a - b.",
        ),
        ("c*(a-b) > 0", ["a", "b", "c", "a-b"], "`a-b`"),
        ("x-a-b > 0", ["a", "b", "x", "a-b"], "`a-b`"),
        ("learning-rate > 0.15", ["learning-rate"], "Write it in backticks: `learning-rate`."),
        ("0 < learning-rate", ["learning-rate", "rate", "learning"], "learning - rate"),
        ("metric.val/loss < 1", ["val/loss", "metric.val/loss", "metric.val"], "`metric.val/loss`"),
        ("f1-1 < 1", ["f1", "f1-1"], "f1 - 1"),
        ("numbers[0] > 1", ["numbers[0]"], "Write it in backticks: `numbers[0]`."),
        ("model@net == 'x'", ["model@net"], "`model@net`"),
        ("+trainer.lr > 1", ["+trainer.lr", "trainer.lr"], "`+trainer.lr`"),
        ("c and +trainer.lr > 1", ["c", "+trainer.lr", "trainer.lr"], "`+trainer.lr`"),
        ("a:b == 1", ["a:b"], "`a:b`"),
        ("layers.0.w == 1", ["layers.0.w"], "`layers.0.w`"),
        ("lambda > 1", ["lambda"], "write `lambda` in backticks"),
        ("`a-b > 1", ["a-b"], "has no closing backtick"),
        ("`` > 1", ["a"], "no name between"),
        ("`a-c` > 1", ["a-bc"], "Did you mean `a-bc`?"),
        ("`a-b`[0] > 1", ["a-b"], "'`a-b`[0]'"),
        ("`a-b` ** 2 > 1", ["a-b"], "'`a-b` ** 2'"),
    ],
)
def test_a_name_is_never_computed_with_in_silence(text, names, told):
    with pytest.raises(ExpressionError) as caught:
        Expression(text, names)
    assert told in str(caught.value)


def test_rows_are_chosen_by_names_with_signs(tmp_path):
    path = tmp_path / "results.parquet"
    columns = {"param.a-b": [1, 2, 3], "metric.val/loss": [0.1, 0.2, 0.3], "point_id": ["x", "y", "z"]}
    pl.DataFrame(columns).write_parquet(path)

    def ids(where):
        return select(path, where=where, best=None, metric=None)["point_id"].to_list()

    assert ids("`val/loss` < 0.15") == ids("metric.`val/loss` < 0.15") == ids("`metric.val/loss` < 0.15") == ["x"]
    assert ids("`a-b` >= 2 and `val/loss` < 0.25") == ["y"]
    with pytest.raises(UsageError, match="`val/loss`"):
        ids("val/loss < 1")


def test_a_backtick_that_yaml_cannot_start_with_has_its_remedy():
    with pytest.raises(GridError, match="double quotes"):
        read("parameters: {a-b: [1]}\nwhere: `a-b` > 0")


CASE = """
name: hyphen
run: fit:fit
parameters: {learning-rate: [0.1, 0.2], a: [1], b: [3], a-b: [5, 0], mom: [0.9, 0.99]}
metric: {name: val/loss, goal: minimize}
"""


@pytest.mark.parametrize(
    ("condition", "points"),
    [
        ('when: {mom: "learning-rate > 0.15"}', None),
        ('when: {mom: "`learning-rate` > 0.15"}', 2 + 4),
        ('where: "a-b > 0"', None),
        ('where: "`a-b` > 0"', 4),
        ('where: "a - b > 0"', 0),
    ],
)
def test_a_function_takes_names_with_signs_and_a_condition_asks_in_backticks(tmp_path, condition, points):
    (tmp_path / "fit.py").write_text('def fit(**k): return {"val/loss": k["learning-rate"], "f1-score": 0.5}')
    if points is None:
        with pytest.raises(GridError, match=r"line 6: .* reads as arithmetic.*`"):
            loads(f"{CASE[1:]}\n{condition}", source=tmp_path / "grid.yaml")
        return
    sweep = loads(f"{CASE[1:]}{condition}", source=tmp_path / "grid.yaml")
    space = Space(sweep.plan)
    compute = find(Context(sweep.plan.to_json(), sweep.target, str(tmp_path), str(tmp_path), "x"), space)
    found = [compute(point)["val/loss"] for point in space.points(0, 99)]
    assert len(found) == points
    assert set(found) <= {0.1, 0.2}
