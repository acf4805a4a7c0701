"""The public API documents itself: every example runs, and every name says what it takes, returns and raises."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import griffe
import pytest

import sweepfleet as sf
from tests.command import DEADLINE_S

ON_A_CLUSTER = {"connect", "Cluster", "up", "down"}  # their examples need a cluster that is up

RUN = """
import doctest, re, sys, types
import sweepfleet

PROGRESS = re.compile(r"^[\\d,]+ of [\\d,]+ · .*\\n", re.MULTILINE)  # of a sweep on a slow machine

class Checker(doctest.OutputChecker):
    def check_output(self, want, got, flags):
        return super().check_output(want, PROGRESS.sub("", got), flags)

name = sys.argv[1]
thing = sweepfleet if name == "sweepfleet" else getattr(sweepfleet, name)
runner = doctest.DocTestRunner(checker=Checker(), optionflags=doctest.ELLIPSIS)
finder = doctest.DocTestFinder(recurse=isinstance(thing, type), exclude_empty=True)
for test in finder.find(thing, name, module=False, globs={"__name__": "__main__"}):
    if any(doctest.SKIP in example.options for example in test.examples):
        sys.exit(f"an example of {test.name} is skipped")
    runner.run(test)
sys.exit(0 if runner.summarize().attempted and not runner.failures else 1)
"""


@pytest.mark.parametrize("name", ["sweepfleet", *(name for name in sf.__all__ if name not in ON_A_CLUSTER)])
def test_every_example_runs_as_it_is_written(name: str, tmp_path: Path) -> None:
    """In a project and a Python of its own, as at a prompt, with real sweeps."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "0"\n')
    ran = subprocess.run(
        [sys.executable, "-c", RUN, name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("name", sf.__all__)
def test_every_export_has_examples_under_their_title(name: str) -> None:
    text = inspect.getdoc(getattr(sf, name)) or ""
    assert "\nExamples:\n    >>> import sweepfleet as sf\n" in text


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every public function, and every public method, property and constructor of our own classes."""
    for name in sf.__all__:
        thing = getattr(sf, name)
        if not inspect.isclass(thing):
            yield name, thing
            continue
        for own, member in vars(thing).items():
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            made_by_users = own == "__init__" and "Not for users" not in (function.__doc__ or "Not for users")
            if inspect.isfunction(function) and (made_by_users or not own.startswith("_")):
                yield f"{name}.{own}", function


@pytest.mark.parametrize(("name", "function"), list(public()))
def test_what_a_function_takes_returns_and_raises_is_said(name: str, function: Callable[..., Any]) -> None:
    signature = inspect.signature(function)
    docstring = griffe.Docstring(inspect.getdoc(function) or "")
    sections = {section.kind.value: section.value for section in griffe.parse_google(docstring)}
    takes = [str(each).partition(":")[0] for each in signature.parameters.values() if each.name != "self"]
    assert all(
        each.annotation is not inspect.Parameter.empty
        for each in signature.parameters.values()
        if each.name != "self"
    )
    assert signature.return_annotation is not inspect.Signature.empty
    said = [each.name for each in sections.get("parameters", [])]
    assert said == [each.partition(" =")[0] for each in takes]
    if takes:
        assert ("returns" in sections) == (signature.return_annotation != "None")
    raised = {each.annotation for each in sections.get("raises", [])}
    assert raises(function) <= raised


def raises(function: Callable[..., Any]) -> set[str]:
    """The errors that a function's own lines raise."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    calls = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    return {call.func.id for call in calls if isinstance(call.func, ast.Name)}


@pytest.mark.parametrize("name", [name for name in sf.__all__ if dataclasses.is_dataclass(getattr(sf, name))])
def test_a_dataclass_says_what_its_fields_are(name: str) -> None:
    sections = griffe.parse_google(griffe.Docstring(inspect.getdoc(getattr(sf, name)) or ""))
    said = [
        each.name
        for section in sections
        if section.kind.value in {"parameters", "attributes"}
        for each in section.value
    ]
    assert said == [field.name for field in dataclasses.fields(getattr(sf, name))]


USER = """
from pathlib import Path
from typing import Any, assert_type

import polars as pl

import sweepfleet as sf


def fit(alpha: float, fold: int, checkpoint_dir: Path) -> dict[str, float]:
    if sf.leaving() is not None:
        sf.checkpoint()
    return {"rmse": alpha * fold}


def main() -> None:
    try:
        run = sf.sweep(
            fit,
            {"alpha": sf.logspace(-3, 1, 9), "rate": sf.linspace(0, 1, 5), "fold": range(5),
             "noise": sf.distribution("uniform", min=0, max=1), "model": ["ridge", "lasso"]},
            where="alpha < 5", replicates=2, metric=sf.Metric("rmse", over="fold"), execution={"timeout": "10m"},
            name="ridge", redo="failed", workers=2, wait=False, runs=Path("runs"), method="random", samples=9,
        )
    except sf.UsageError as error:
        assert_type(error, sf.UsageError)
        raise
    except sf.SweepfleetError:
        run = sf.open("ridge")
    assert_type(run, sf.Run)
    assert_type(run.wait(), sf.Run)
    assert_type(run.frame("alpha > 1"), pl.DataFrame)
    assert_type(run.frame(long=True), pl.DataFrame)
    assert_type(run.ranking(10), pl.DataFrame)
    assert_type(run.failures(), pl.DataFrame)
    assert_type(run.best(), dict[str, Any] | None)
    assert_type(run.summary, dict[str, Any])
    assert_type(run.output(0) + run.output("1f") + run.grid() + run.name + run.state, str)
    assert_type(run.report() / run.folder, Path)
    assert_type(sf.Metric("rmse").goal, str)
    run.cancel()
    fleet = sf.connect("dev", project=".")
    assert_type(fleet, sf.Cluster)
    assert_type(fleet.sweep(fit, {"alpha": [1]}, wait=False), sf.Run)
    assert_type(sf.sweep(fit, {"alpha": [1]}, stack="dev", push=True, yes=True), sf.Run)
    assert_type(sf.open("ridge", stack=fleet), sf.Run)
    assert_type(fleet.open("ridge"), sf.Run)
    assert_type(sf.up("dev", yes=True), sf.Cluster)
    fleet.push(dirty=True)
    assert_type(fleet.start(2), int)
    status = fleet.status()
    assert_type([run.name for run in status.runs], list[str])
    assert_type(sum(worker.slots or 0 for worker in status.workers), int)
    assert_type(fleet.run("nproc", workers=True)["i-0"].stdout + fleet.logs(name="ridge"), str)
    assert_type(fleet.cost()["ridge"].usd, float | None)
    with fleet.client(workers=2) as client:
        assert client.submit(fit, 1.0, 2, Path()).result()
    fleet.stop(yes=True)
    sf.down("dev")
    with sf.Executor(2, timeout="10m", memory="2GB", initializer=print, initargs=("ready",)) as executor:
        assert_type(executor.submit(fit, 0.1, fold=3, checkpoint_dir=Path()).result(), dict[str, float])
        assert_type(list(executor.map(float, ["1"], timeout=9, buffersize=2)), list[float])
        raised = executor.submit(fit, 0.1, 3, Path()).exception()
        if isinstance(raised, sf.CallError):
            assert_type(raised.kind, str)
    fitted = sf.function(cpus=2, timeout="10m")(fit)
    assert_type(fitted.submit(0.1, fold=3, checkpoint_dir=Path()).result(), dict[str, float])
    assert_type(list(fitted.starmap([(0.1, 3, Path())])), list[dict[str, float]])
"""


def test_a_users_script_that_uses_every_export_is_typed(tmp_path: Path) -> None:
    """By mypy, strictly, with the package as it is installed; and what is misspelt is found."""
    assert [name for name in sf.__all__ if f"sf.{name}" not in USER] == []
    (tmp_path / "right.py").write_text(USER)
    (tmp_path / "wrong.py").write_text(
        'import sweepfleet as sf\nsf.sweep(abs, {"x": [1]}, redo=3)\nsf.open("a").fame()\n'
    )
    said = mypy(tmp_path, "right.py", "wrong.py")
    assert [line for line in said.splitlines() if line.startswith("right.py")] == []
    assert '"Run" has no attribute "fame"' in said
    assert 'Argument "redo" to "sweep" has incompatible type "int"; expected "str"' in said


def mypy(folder: Path, *files: str) -> str:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file=", *files]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout
