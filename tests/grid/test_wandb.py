"""What `grid.wandb` promises: W&B's sweep files run unchanged, and what differs is said."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from sweepfleet.grid.command import render
from sweepfleet.grid.errors import GridError
from sweepfleet.grid.load import loads
from sweepfleet.grid.plan import Dimension, Distribution
from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Metric
from sweepfleet.grid.wandb import POINT_MACROS

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


def test_the_default_number_of_samples_names_the_key_of_the_file_s_kind():
    text = "method: random\nparameters: {a: {min: 0.5, max: 9}}\n"
    for target, key in (("program: t.py", "run_cap"), ("run: a:b", "samples")):
        (warning,) = read(f"{target}\n{text}").warnings
        drawn, change = warning.split(". ", maxsplit=1)
        assert drawn == f"{key} is not set, so 100 points are drawn"
        assert change == f"For another number, write {key}: 500, or type --set {key}=500."


def test_keys_that_only_wandb_needs_are_accepted():
    assert read("program: t.py\napiVersion: v1\nkind: sweep\ncontroller: {type: local}\nparameters: {a: {value: 1}}")


@pytest.mark.parametrize(
    ("command", "message", "remedy"),
    [
        ('["${interpeter}", x]', "`${interpeter}` is not a macro", "`${interpreter}`"),
        ('["--x=${args}"]', "part of a longer word", "a word of its own"),
        ('["./${program}"]', "part of a longer word", "a word of its own"),
        ('["${NOPE}"]', "is not a macro", "${envvar:NAME}"),
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


def test_macros_have_the_words_that_wandb_s_own_agent_makes():
    """Asked of the package itself, with keys that have dots in them, which nest nothing at W&B."""
    text = (
        "parameters: {+trainer.lr: {value: 0.1}, f: {value: no}, t: {value: yes}, l: {value: [1, x]}, n: {value: ~}}"
    )
    macros = [f"${{{name}}}" for name in POINT_MACROS]
    sweep = read(f"project: p\ncommand: {json.dumps(macros)}\nmethod: grid\n{text}")
    point = Space(sweep.plan).point(0)
    made = create_sweep_command_args({"args": {name: {"value": value} for name, value in point.params.items()}})
    env = {"SWEEPFLEET_PARAMS_FILE": "/tmp/x.json"}  # noqa: S108  (nothing is written there)
    made["args_json_file"] = ["/tmp/x.json"]  # noqa: S108
    for name, macro in zip(POINT_MACROS, macros, strict=True):
        words = render([macro], point, env=env, names=list(point.params), keys=sweep.target.keys)
        assert words == made[name], name


def test_bayes_is_refused_with_what_to_use():
    with pytest.raises(GridError) as caught:
        read(GRID.replace("method: grid", "method: bayes"))
    (problem,) = caught.value.problems
    assert problem.line == 6
    assert "random" in problem.remedy
    assert "sobol" in problem.remedy


def test_bayes_is_one_mistake_whatever_else_only_random_could_do():
    text = "program: t.py\nmethod: bayes\nparameters: {lr: {distribution: normal}, b: {min: 0.1, max: 0.5}}"
    with pytest.raises(GridError) as caught:
        read(text)
    assert len(caught.value.problems) == 1


WORDS = """
yes Yes YES no No NO on On ON off Off OFF y n Y N true True false null Null ~ yEs
1_000 1_000_000 010 -010 +010 0o10 08 0b101 -0b1_1 0x1F 0X1F 0xff_ff 1:30 -1:30 1:30:15 1:60 1:30.5 190:20:30.15
1e5 1e-5 1.0e5 1.0e-5 1.0e+5 1.e+3 1E+5 .5 +.5 -.5 .5e-3 1. 1._0 6.02e23 685_230.15 .inf -.inf +.INF .Inf .nan .NaN
0 -0 +0 00 1 -1 +1 12e03 -2E+05 0.1 1,000 0. 0.0 1__0 9007199254740993 _ _1 1_ 0_ +_1 5:0 0:5 1:1:1
2024-01-01 2024-1-1 2001-12-14t21:59:43.10-05:00 1.2.3 a-b none None
""".split()  # noqa: SIM905


@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_in_a_wandb_file_what_pyyaml_makes_of_it(word):
    """W&B reads sweep files with PyYAML; dates, which it sends on as it writes them, stay as they are written."""
    expected = yaml.safe_load(word)
    if isinstance(expected, dt.date):
        expected = word
    sweep = read(
        f"program: t.py\nmethod: grid\nparameters: {{a: {{values: [{word}]}}}}"
        if "," not in word
        else f"program: t.py\nmethod: grid\nparameters:\n  a:\n    values:\n    - {word}"
    )
    (point,) = Space(sweep.plan).points(0, 9)
    assert repr(point.params["a"]) == repr(expected)
    other = Space(loads(sweep.text.replace("program: t.py", "run: a:b"), source=Path("/x/s.yaml")).plan).point(0)
    assert bool(sweep.warnings) is (repr(other.params["a"]) != repr(expected))


@pytest.mark.parametrize(
    ("marks", "is_one"),
    [
        ("program: t.py", True),
        ("command: [x]\nproject: p", True),
        ("command: [x]\nentity: p", True),
        ("command: [x]\nrun_cap: 5", True),
        ("command: [x]\nearly_terminate: {type: hyperband}", True),
        ('command: ["${env}", x]', True),
        ('command: [x, "${args}"]', False),
        ("command: [x]", False),
        ("run: a:b", False),
        ("run: a:b\nproject: p\nrun_cap: 5", False),
    ],
)
def test_which_files_are_wandb_s(marks, is_one):
    sweep = read(f"{marks}\nparameters: {{a: [no]}}")
    assert sweep.target.wandb is is_one
    assert Space(sweep.plan).point(0).params["a"] == (False if is_one else "no")


def test_a_note_tells_the_words_that_are_read_as_wandb_reads_them():
    sweep = read(
        "program: t.py\nparameters: {a: {values: [no, 1e-5, 'yes', 5]}, b: {min: 1e-5, max: 1e-1}}\nmethod: random"
    )
    told = next(warning for warning in sweep.warnings if "YAML 1.1" in warning)
    assert told == "Read as W&B reads its files (YAML 1.1): `no` is false, `1e-5` is text (a number is 1.0e-5)."


def test_bounds_may_be_numbers_that_pyyaml_takes_for_text():
    text = "program: t.py\nmethod: random\nparameters: {n: {parameters: {a: {min: 1e-5, max: 1e-1}}}}"
    sweep = read(text)
    assert sweep.plan.blocks[0].dimensions[0].distribution == Distribution("uniform", low=1e-5, high=1e-1)
    assert not any("YAML" in warning for warning in sweep.warnings)


def test_overrides_of_a_wandb_file_are_typed_as_the_file_is():
    text = "program: t.py\nmethod: grid\nparameters: {a: {values: [off]}}"
    sweep = read(text, overrides=["a=yes,010"])
    assert [point.params["a"] for point in Space(sweep.plan).points(0, 9)] == [True, 8]
    assert read(sweep.text).plan == sweep.plan
    made_one = read("command: [x]\nparameters: {a: [off]}", overrides=["project=p"])
    assert Space(made_one.plan).point(0).params == {"a": False}
    assert read(made_one.text).plan == made_one.plan


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("my sweep", "my-sweep"),
        ("a/b: c (v2)", "a-b-c-v2"),
        ("Übung 実験", "Ubung"),
        ("実験", "sweep"),
        ("../x", "x"),
        ("x" * 150, "x" * 100),
        ("🚀 run", "run"),
    ],
)
def test_any_name_of_a_wandb_sweep_becomes_a_folder_s_with_a_note(name, plain):
    sweep = read(f"program: t.py\nname: {json.dumps(name, ensure_ascii=False)}\nparameters: {{a: {{value: 1}}}}")
    assert sweep.name == plain
    assert f"is changed to '{plain}'" in sweep.warnings[0]
