"""Command lines as a newcomer types them: read where they can be meant, and else met with the word that was meant."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from invoke.program import Program

from sweepfleet.grid.errors import UsageError
from sweepfleet.tasks import ns
from sweepfleet.tasks.grids import grid_file
from tests.command import ROOT, Project

GRID = "name: small\nrun: fit:fit\nparameters:\n  a: [1, 2]\n"
CODE = "def fit(a):\n    return a\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path).write(GRID, CODE)


def inv(*words: str) -> int:
    """What a command line ends with, read by invoke in this process."""
    with pytest.raises(SystemExit) as end:
        Program().run(["inv", "--search-root", str(ROOT), *words])
    return int(end.value.code or 0)


EXAMPLE = "examples/diabetes/grid.yaml"
ALL = "All flags: inv sweep --help"
DASHES = "has too few dashes. Did you mean --grid?"
PREVIEW = "inv has no flag --preview. Flags stand behind a task: inv sweep --grid ... All tasks: inv --list"
MISTYPED = [
    ("swep", "There is no task 'swep'. Did you mean sweep? All tasks: inv --list"),
    ("zzz", "There is no task 'zzz'. All tasks: inv --list"),
    ("ci.preveiw", "There is no task 'ci.preveiw'. Did you mean ci.preview? All tasks: inv --list"),
    ("--help swep", "There is no task 'swep'. Did you mean sweep? All tasks: inv --list"),
    ("here/grid.yaml", "'here/grid.yaml' is not a task. Did you mean: inv sweep here/grid.yaml?"),
    ("--preview sweep", PREVIEW),
    ("sweep --gird x", f"sweep has no flag --gird. Did you mean --grid? {ALL}"),
    ("sweep --grid x --retry-faild", f"sweep has no flag --retry-faild. Did you mean --retry-failed? {ALL}"),
    ("sweep --retry_failed", f"sweep has no flag --retry_failed. Did you mean --retry-failed? {ALL}"),
    ("runs -Z", "runs has no flag -Z. All flags: inv runs --help"),
    ("sweep -grid x", f"'-grid' {DASHES}"),
    ("sweep \u2013grid x", f"'\u2013grid' {DASHES}"),
    ("sweep help", "'help' is not a grid. Did you mean --help?"),
    ("help", "There is no task 'help'. All tasks: inv --list · flags of one: inv sweep --help"),
    ("sweep x --dry-run", f"sweep has no flag --dry-run. Here it is --preview. {ALL}"),
    ("sweep x --n-jobs 4", f"sweep has no flag --n-jobs. Here it is --workers. {ALL}"),
    ("sweep x -j 4", f"--json takes no value, but '4' follows it. {ALL}"),
    ("sweep x --yes=1", f"--yes takes no value, but '1' follows it. {ALL}"),
    ("sweep x --resume", f"sweep has no flag --resume: it resumes by itself, and runs what is not done. {ALL}"),
    ("sweep x --alpha 3", f"sweep has no flag --alpha. To override a parameter or a key: --set alpha=... {ALL}"),
    ("sweep x --force", f"sweep has no flag --force. Here it is --redo. {ALL}"),
    ("sweep x alpha=3", "'alpha=3' is not a grid. Did you mean --set alpha=3?"),
    ("sweep x --name=", "--name is empty. Is a variable of the shell not set?"),
    ("sweep docs", "docs is a folder. There is no grid file in it."),
    (
        "sweep examples/diabetes",
        "examples/diabetes is a folder. Name the grid file in it: inv sweep examples/diabetes/grid.yaml",
    ),
    ("sweep ftp://x/g", "ftp://x/g is an address. Download the grid, and the code that it runs, then name the file."),
    (f"sweep {EXAMPLE} --preview --test-point 0", "--preview runs nothing, --test-point runs one. Remove one."),
    ("sweep preview", "'preview' is not a grid. Did you mean --preview?"),
    ("sweep x.yaml --grid y.yaml", "--grid is given twice: x.yaml and y.yaml. Give it once."),
    ("sweep --grid y.yaml x.yaml", "sweep takes one grid, and was given two: y.yaml and x.yaml."),
    ("sweep x.yaml --workers 1 --workers 2", "--workers is given twice: 1 and 2. Give it once."),
    ("sweep x.yaml --set", f"--set needs a value. {ALL}"),
    ("sweep --set --preview x.yaml", f"--set needs a value. {ALL}"),
    ("sweep x.yaml --workers", f"--workers needs a value. {ALL}"),
    ("results one two", "results takes one name, and was given two: one and two."),
    ("runs foo", "runs cannot use 'foo'. All flags: inv runs --help"),
    ("sweep", "Which sweep? Name its grid file: inv sweep grid.yaml. A first one: inv sweep sweeps/hello/grid.yaml"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), MISTYPED)
def test_a_wrong_word_gets_one_line_with_the_right_one_and_exit_code_2(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv(*words.split()) == 2
    assert tuple(capsys.readouterr()) == ("", f"error: {said}\n")


def test_a_file_that_is_not_there_is_met_with_the_one_that_is(tmp_path: Path) -> None:
    named = tmp_path / "grid.yaml"
    named.touch()
    (tmp_path / "fit.py").touch()
    for wrong, said in (
        ("gird.yaml", f"There is no file {tmp_path}/gird.yaml. Did you mean {named}?"),
        ("other", f"There is no file {tmp_path}/other. The folder has grid.yaml."),
        ("not/grid.yaml", f"There is no file {tmp_path}/not/grid.yaml. Nor is there a folder {tmp_path}/not."),
        ("fit.py", f"{tmp_path}/fit.py is code. Name the grid file whose `run:` names it"),
    ):
        with pytest.raises(UsageError) as refusal:
            grid_file(str(tmp_path / wrong), root=tmp_path)
        assert str(refusal.value).startswith(said), wrong
    assert grid_file(str(named), root=tmp_path) == named


def test_a_grid_named_from_the_projects_root_is_found_when_the_command_is_given_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "grid.yaml").touch()
    monkeypatch.chdir(tmp_path / "below")
    with pytest.raises(UsageError, match=f"from the project's root: {tmp_path}/below/grid.yaml"):
        grid_file("below/grid.yaml", root=tmp_path)


def test_the_grid_may_be_given_without_its_flag_anywhere_and_with_it(project: Project) -> None:
    for words in (["grid.yaml", "--json"], ["--json", "grid.yaml"], ["--grid", "grid.yaml", "--json", "./grid.yaml"]):
        assert json.loads(project.inv("sweep", *words).stdout)["done"] == 2, words


def test_results_and_report_take_a_runs_name_without_its_flag(project: Project) -> None:
    project.inv("sweep", "grid.yaml", "--name", "one")
    project.inv("sweep", "grid.yaml", "--name", "two", "--set", "a=7")
    assert json.loads(project.inv("results", "two", "--json").stdout)["param.a"] == 7
    assert "/one/" in project.inv("report", "one").stdout


def test_tasks_may_still_follow_each_other_on_one_line(project: Project) -> None:
    both = project.inv("--no-dedupe", "sweep", "grid.yaml", "--local", "results", "--json")
    assert both.stdout.count('"metric.value"') == 2


def test_inv_alone_lists_the_tasks_as_inv_list_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert inv() == 0
    alone = capsys.readouterr().out
    assert inv("--list") == 0
    listed = capsys.readouterr().out
    assert alone.startswith(listed.rstrip("\n"))
    assert "sweep" in listed


@pytest.mark.parametrize("name", ["inv", "sweepfleet"])
def test_the_list_has_one_line_a_task_on_80_columns(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Invoke wraps a summary that is too long; where there is no terminal, as here, at 80 columns."""
    program = Program() if name == "inv" else Program(name=name, namespace=ns)
    with pytest.raises(SystemExit):
        program.run(["inv", "--search-root", str(ROOT), "--list"] if name == "inv" else [name])
    listed = capsys.readouterr().out.split("\n\n")[1].splitlines()
    names = [line.split()[0] for line in listed if re.fullmatch(r"  [a-z.-]+ +\S.*", line) and len(line) <= 80]
    assert {"sweep", "up", "ci.preview"} <= set(names)
    assert len(names) == len(listed), listed


def test_first_steps_name_a_sweep_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, words in ((ROOT, "inv sweep sweeps/hello/grid.yaml"), (tmp_path, "inv init")):
        monkeypatch.chdir(folder)
        assert inv() == 0
        assert capsys.readouterr().out.endswith(f"first steps: {words}\n")


def test_a_command_whose_output_is_closed_says_nothing_and_ends_well(project: Project) -> None:
    command = f"exec {sys.executable} -m invoke --search-root {ROOT} sweep grid.yaml --local >&-"
    env = os.environ | {"INVOKE_RUNS": str(project.runs)}
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=False, cwd=project.path, env=env
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_list_of_which_only_the_beginning_is_read_ends_in_silence() -> None:
    """`inv --list | head`: the pipe is closed before anything is written."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "invoke", "--list"]
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(command, cwd=ROOT, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")
