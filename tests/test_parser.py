"""Command lines as a newcomer types them: read where they can be meant, and else met with the word that was meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from invoke.program import Program

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
    ("sweep -Z", f"sweep has no flag -Z. {ALL}"),
    ("sweep -grid x", f"'-grid' {DASHES}"),
    ("sweep \u2013grid x", f"'\u2013grid' {DASHES}"),
    ("sweep preview", "'preview' is not a grid. Did you mean --preview?"),
    ("sweep x.yaml --grid y.yaml", "--grid is given twice: x.yaml and y.yaml. Give it once."),
    ("sweep --grid y.yaml x.yaml", "sweep takes one grid, and was given two: y.yaml and x.yaml."),
    ("sweep x.yaml --workers 1 --workers 2", "--workers is given twice: 1 and 2. Give it once."),
    ("sweep x.yaml --set", f"--set needs a value. {ALL}"),
    ("sweep --set --preview x.yaml", f"--set needs a value. {ALL}"),
    ("sweep x.yaml --workers", f"--workers needs a value. {ALL}"),
    ("results one two", "results takes one name, and was given two: one and two."),
    ("runs foo", "runs cannot use 'foo'. All flags: inv runs --help"),
    ("sweep", "Which sweep? Name its grid file, e.g. inv sweep examples/diabetes/grid.yaml"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), MISTYPED)
def test_a_wrong_word_gets_one_line_with_the_right_one_and_exit_code_2(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inv(*words.split()) == 2
    assert tuple(capsys.readouterr()) == ("", f"error: {said}\n")


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
