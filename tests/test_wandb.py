"""What `grid.wandb` promises: W&B's sweep files run unchanged, and what differs is said."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from grid.command import render
from grid.errors import GridError
from grid.load import loads
from grid.plan import Dimension, Distribution
from grid.space import Space
from grid.sweep import Metric

GRID = """\
# as in W&B's own examples
program: train.py
project: my-project
entity: my-team
description: which optimizer
method: grid
metric:
  name: val_loss
  goal: minimize
parameters:
  batch_size:
    distribution: categorical
    values: [32, 64]
  epochs:
    value: 5
  layers:
    distribution: int_uniform
    min: 1
    max: 3
  dropout:
    distribution: q_uniform
    min: 0
    max: 0.5
    q: 0.25
  optimizer:
    parameters:
      lr:
        values: [0.001, 0.0001]
"""

RANDOM = """\
program: src/train.py
name: my sweep
method: random
metric: {name: acc, goal: maximize, target: 0.99}
run_cap: 12
early_terminate: {type: hyperband, min_iter: 3}
command: ["${env}", "${interpreter}", "-u", "${program}", --epochs, 10, "${args_no_boolean_flags}"]
parameters:
  lr: {distribution: log_uniform_values, min: 1e-5, max: 0.1}
  warm: {values: [true, false]}
  depth: {min: 2, max: 8}
  momentum: {min: 0.1, max: 0.9}
  act: {values: [relu, gelu], probabilities: [0.75, 0.25]}
"""


def read(text, **more):
    return loads(text, source=Path("/somewhere/sweep.yaml"), **more)


def test_a_grid_file_runs_unchanged():
    sweep = read(GRID)
    assert sweep.name == "sweep"
    assert sweep.warnings == ()
    assert sweep.metric == Metric("val_loss", "minimize")
    assert sweep.target.command == ("/usr/bin/env", "python", "train.py", "${args}")
    assert sweep.plan.target == json.dumps(["/usr/bin/env", "python", "train.py", "${args}"], separators=(",", ":"))
    assert sweep.plan.blocks[0].dimensions == (
        Dimension(("batch_size",), ((32,), (64,))),
        Dimension(("epochs",), ((5,),)),
        Dimension(("layers",), distribution=Distribution("int_uniform", low=1, high=3)),
        Dimension(("dropout",), ((0.0,), (0.25,))),
        Dimension(("optimizer.lr",), ((0.001,), (0.0001,))),
    )
    space = Space(sweep.plan)
    assert space.size == 2 * 3 * 2 * 2
    assert render(sweep.target.command, space.point(0), env={}) == [
        "/usr/bin/env",
        "python",
        "train.py",
        "--batch_size=32",
        "--epochs=5",
        "--layers=1",
        "--dropout=0.0",
        "--optimizer.lr=0.001",
    ]


def test_a_random_file_runs_unchanged_and_says_what_is_not_done():
    sweep = read(RANDOM)
    assert sweep.name == "my-sweep"
    assert [warning.split(" ")[0] for warning in sweep.warnings] == ["early_terminate", "metric.target", "The"]
    assert "not supported yet" in sweep.warnings[0]
    (block,) = sweep.plan.blocks
    assert (block.method, block.samples) == ("random", 12)
    assert [dimension.distribution and dimension.distribution.name for dimension in block.dimensions] == [
        "log_uniform_values",
        None,
        "int_uniform",
        "uniform",
        None,
    ]
    assert block.dimensions[4].probabilities == (0.75, 0.25)
    point = SimpleNamespace(params={"lr": 0.01, "warm": True}, id="x", seed=0, replicate=0)
    assert render(sweep.target.command, point, env={})[:6] == [
        "/usr/bin/env",
        "python",
        "-u",
        "src/train.py",
        "--epochs",
        "10",
    ]
    assert render(sweep.target.command, point, env={})[6:] == ["--lr=0.01", "--warm"]
    assert len(list(Space(sweep.plan).points(0, 100))) == 12


def test_a_seed_may_be_a_parameter_of_a_command():
    """Sweeps over seeds are common at W&B; only a Python function gets `seed` from elsewhere."""
    sweep = read("program: train.py\nmethod: grid\nparameters: {seed: {values: [1, 2, 3]}}")
    assert [point.params["seed"] for point in Space(sweep.plan).points(0, 9)] == [1, 2, 3]


def test_a_run_cap_keeps_a_grid_s_first_points():
    text = "program: t.py\nmethod: grid\nrun_cap: 3\nreplicates: 2\n"
    text += "parameters: {a: {min: 0, max: 9}, b: {values: [x, y]}}"
    capped, whole = read(text), read(text.replace("run_cap: 3\n", ""))
    first = [(point.id, point.seed, point.params) for point in Space(whole.plan).points(0, 6)]
    assert [(point.id, point.seed, point.params) for point in Space(capped.plan).points(0, 99)] == first
    assert "first 3 points" in capped.warnings[0]
    roomy = read(text.replace("run_cap: 3", "run_cap: 20"))
    assert roomy.plan == whole.plan
    assert roomy.warnings == ()


def test_a_run_cap_limits_samples():
    text = "program: t.py\nmethod: random\nparameters: {a: {min: 0.5, max: 9}}\n"
    for more, samples in (("run_cap: 7", 7), ("run_cap: 7\nsamples: 3", 3), ("run_cap: 7\nsamples: 9", 7)):
        assert read(text + more).plan.blocks[0].samples == samples


def test_keys_that_only_wandb_needs_are_accepted():
    assert read("program: t.py\napiVersion: v1\nkind: sweep\ncontroller: {type: local}\nparameters: {a: {value: 1}}")


@pytest.mark.parametrize(
    ("command", "message", "remedy"),
    [
        ('["${interpeter}", x]', "`${interpeter}` is no macro", "`${interpreter}`"),
        ('["${args_json_file}"]', "not supported", "`${args_json}`"),
        ('["--x=${args}"]', "inside a longer word", "a word of its own"),
        ('["./${program}"]', "inside a longer word", "a word of its own"),
        ('["${NOPE}"]', "is no macro", "${envvar:NAME}"),
    ],
)
def test_a_macro_that_would_not_be_filled_in_is_refused(command, message, remedy):
    with pytest.raises(GridError) as caught:
        read(f"program: t.py\ncommand: {command}\nparameters: {{a: {{value: 1}}}}")
    (problem,) = caught.value.problems
    assert problem.line == 2
    assert message in problem.message
    assert remedy in problem.remedy


def test_a_program_macro_needs_a_program():
    with pytest.raises(GridError, match="no `program` is given"):
        read('command: ["${program}"]\nparameters: {a: {value: 1}}')


def test_a_shell_s_own_variables_stay():
    command = ("sh", "-c", "echo ${HOME} ${x:-{a}}", "${envvar:HOME}")
    assert read(f"command: {json.dumps(command)}\nparameters: {{a: [1]}}").target.command == command


def test_bayes_is_refused_with_what_to_use():
    with pytest.raises(GridError) as caught:
        read(GRID.replace("method: grid", "method: bayes"))
    (problem,) = caught.value.problems
    assert problem.line == 6
    assert "random" in problem.remedy
    assert "sobol" in problem.remedy
