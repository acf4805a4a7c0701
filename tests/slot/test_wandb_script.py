"""A W&B script runs as it is, with the real `wandb` offline: it is given its point, what it logs is its result."""

from __future__ import annotations

import json
import math
import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweepfleet.grid.load import loads
from sweepfleet.grid.space import Space
from sweepfleet.slot import wandb_log, wandb_script
from sweepfleet.slot.context import Context
from sweepfleet.slot.records import Packet
from sweepfleet.slot.runner import Runner
from sweepfleet.slot.target import CommandFailedError, find
from tests.support import outcomes_of

PARAMETERS = """
  lr: {values: [1.0e-5]}
  trainer.lr: {value: 0.1}
  opt: {value: {momentum: 0.9}}
  net: {parameters: {depth: {value: 2}, "a.b": {value: [1, null]}}}
  text: {value: "\\"quoted\\" \\\\ é 😀 : # {x}"}
  flag: {value: no}
"""
CONFIG = {
    "lr": 1e-5,
    "trainer.lr": 0.1,
    "opt": {"momentum": 0.9},
    "net": {"depth": 2, "a.b": [1, None]},
    "text": '"quoted" \\ é 😀 : # {x}',
    "flag": False,
}


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No account, no settings of W&B, and the script is run by this interpreter."""
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def computed(folder: Path, script: str, *, words: tuple[str, ...] = (sys.executable, "train.py")) -> Any:
    (folder / "train.py").write_text(script)
    text = f"project: p\ncommand: {json.dumps(list(words))}\nmethod: grid\nparameters: {PARAMETERS}"
    sweep = loads(text, source=folder / "sweep.yaml")
    target = Context.from_json(
        Context(sweep.plan.to_json(), sweep.target, folder=str(folder), root=str(folder), metric="x").to_json()
    )
    space = Space(sweep.plan)
    return find(target, space)(space.point(0))


SCRIPT = """
import json, os, sys
import wandb

run = wandb.init(project="p", config={"lr": 5, "batch": 32})
seen = json.dumps(dict(wandb.config))
print(json.dumps({"config": seen, "mode": os.environ["WANDB_MODE"], "loss": "printed", "val": {"f1": 9}}))
wandb.config.update({"more": 1})
run.define_metric("best", summary="min")
for step in range(4):
    wandb.log({"loss": 1 / (step + 1), "best": abs(step - 2), "val": {"f1": step / 10}, "val/acc": step}, step=step)
wandb.log({"none": float("nan"), "picture": wandb.Histogram([1, 2, 3]), "long": "x" * 100_000})
wandb.summary["epochs"] = 4
run.summary["test"] = {"auc": 0.75, "deep": {"er": True}}
"""


def test_a_script_that_uses_wandb_runs_unchanged(tmp_path: Path) -> None:
    """It finds its parameters in wandb.config as W&B nests them; its summary, as W&B makes it, is the result."""
    found = computed(tmp_path, SCRIPT)
    assert json.loads(found.pop("config")) == CONFIG | {"batch": 32}
    assert math.isnan(found.pop("none"))
    assert found == {
        "mode": "offline",
        "loss": 0.25,  # what is logged counts, whatever is printed
        "best.min": 0,
        "val.f1": 0.3,
        "val/acc": 3,
        "long": "x" * 100_000,
        "epochs": 4,
        "test.auc": 0.75,
        "test.deep.er": True,
    }
    assert not list(tmp_path.glob("wandb*"))  # its files are gone


TWO_RUNS = """
import importlib.util
import wandb
assert importlib.util.find_spec("grid") is None, "no code of ours"
first = wandb.init(project="p")
first.log({"loss": 1, "first": 1})
first.finish()
second = wandb.init(project="p", dir=".")  # as Lightning's logger does
second.log({"loss": 2, "second": 1})
"""


def test_any_interpreter_several_runs_and_a_folder_that_the_script_names(tmp_path: Path) -> None:
    """An interpreter that has nothing of ours; of several runs the last counts, where they have the same names."""
    bare = str(Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}"))
    packages = sysconfig.get_path("purelib")
    words = ("/usr/bin/env", f"PYTHONPATH={packages}", "PYTHONSAFEPATH=1", bare, "train.py")
    assert computed(tmp_path, TWO_RUNS, words=words) == {"loss": 2, "first": 1, "second": 1}


def test_wandb_s_files_are_kept_where_the_user_wants_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second attempt is not told what the first one logged."""
    monkeypatch.setenv("WANDB_DIR", "kept")
    assert computed(tmp_path, "import wandb\nwandb.init().log({'a': 1})") == {"a": 1}
    assert computed(tmp_path, "print('{\"b\": 2}')") == {"b": 2}
    (log,) = (tmp_path / "kept").glob("*/wandb/offline-run-*/run-*.wandb")
    assert wandb_log.read(log).metrics() == {"a": 1}


@pytest.mark.parametrize(
    ("ending", "error", "told"),
    [
        ("os._exit(0)", wandb_script.WandbRunError, "was not finished"),
        ("run.finish(exit_code=3)", wandb_script.WandbRunError, "as failed, with exit code 3"),
        ("raise ValueError('diverged')", CommandFailedError, "ValueError: diverged"),
    ],
)
def test_a_run_that_did_not_end_well_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, error: type[Exception], told: str
) -> None:
    monkeypatch.setattr(wandb_script, "_LATE_S", 0.5)
    with pytest.raises(error, match=told):
        computed(tmp_path, f"import os, wandb\nrun = wandb.init()\nrun.log({{'a': 1}})\n{ending}")


def test_a_script_without_wandb_prints_its_result_as_before(tmp_path: Path) -> None:
    assert computed(tmp_path, "print('{\"a\": 1}')") == {"a": 1}
    assert computed(tmp_path, "print(0.5)") == 0.5
    with pytest.raises(CommandFailedError, match="printed no result"):
        computed(tmp_path, "")
    assert not list(tmp_path.glob("wandb*"))


def test_a_script_of_another_grid_is_given_nothing_of_wandb_s(tmp_path: Path) -> None:
    """One's own W&B account stays in use where the sweep is none of W&B's."""
    code = "import json, os; print(json.dumps({'set': [n for n in os.environ if n.startswith('WANDB')]}))"
    sweep = loads(
        f"command: {json.dumps([sys.executable, '-c', code])}\nparameters: {{a: 1}}", source=tmp_path / "g.yaml"
    )
    context = Context(sweep.plan.to_json(), sweep.target, folder=str(tmp_path), root=str(tmp_path), metric="x")
    assert find(context, Space(sweep.plan))(Space(sweep.plan).point(0)) == {"set": []}


def test_a_mode_that_the_user_set_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Online, the config is handed over, and no sweep that W&B's server would not know."""
    monkeypatch.setenv("WANDB_MODE", "online")
    code = "import json, os; print(json.dumps({n: 1 for n in sorted(os.environ) if n.startswith('WANDB')}))"
    assert list(computed(tmp_path, code)) == ["WANDB_DIR", "WANDB_MODE", "WANDB_SWEEP_PARAM_PATH"]


VALUES = [
    0, -3, 2**70, 0.1, 1e-5, 1e300, 1.5e-7, math.inf, -math.inf, True, False, None, "", "yes", "1e5", "a: b # c",
    '"\\', "é\n\t\x00\x7f\u0085\u2028\ufeff😀", [], [1, [2.0, None]], {"a": {"b": []}, "no": 1},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_wandb_reads_the_values_that_a_point_has(value: Any) -> None:
    """It reads the file with PyYAML."""
    text = wandb_script._config_file({"x y": value, "+a.b": 1})
    assert text.isascii()
    read = yaml.safe_load(text)
    assert repr(read) == repr({"wandb_version": 1, "x y": {"value": value}, "+a.b": {"value": 1}})


@pytest.mark.parametrize(
    "damage", [b"", b"PK\x03\x04" + b"x" * 99, b":W&B\xe1\xbe\x00\x00\x00\x00\x00\x03\x00\x01\x1a\x09x"]
)
def test_what_is_no_log_of_wandb_is_an_error_and_never_a_result(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "run-x.wandb"
    path.write_bytes(damage)
    with pytest.raises(wandb_log.LogError):
        wandb_log.read(path)


def test_nothing_is_left_of_a_script_that_is_killed(tmp_path: Path) -> None:
    """A timeout takes the child with it, which can remove nothing any more."""
    (tmp_path / "train.py").write_text(
        "import os, time\nopen(os.environ['WANDB_DIR'] + '/x', 'w').close()\ntime.sleep(99)"
    )
    text = f"project: p\ncommand: [{sys.executable}, train.py]\nmethod: grid\nparameters: {{a: {{value: 1}}}}"
    sweep = loads(text, source=tmp_path / "sweep.yaml")
    where = str(tmp_path)
    runner = Runner(Context(sweep.plan.to_json(), sweep.target, where, where, "x", timeout_s=1.0), name="host/0")
    try:
        ((_, outcome),) = outcomes_of(Packet.from_bytes(runner.run([(0, 1)])))
        assert "timeout" in str(outcome)
    finally:
        runner.close()
    assert {file.name for file in tmp_path.iterdir()} - {".cache"} == {"train.py"}  # it is the home folder, too


def test_a_file_has_the_parameters_as_wandb_nests_them(tmp_path: Path) -> None:
    words = (sys.executable, "train.py", "${args_json_file}")
    found = computed(tmp_path, "import sys, json; print(json.dumps({'a': open(sys.argv[1]).read()}))", words=words)
    assert json.loads(found["a"]) == CONFIG
