"""What `grid.module_names` promises: a path as the target is met with the module that it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepfleet.grid.errors import GridError
from sweepfleet.grid.load import loads

FILES = {
    "pyproject.toml": "",
    "src/fit.py": "import os\n\ndef _helper(): ...\n\ndef train(a): ...\n\ndef fit(a): ...\n",
    "src/deep/net.py": "class Model:\n    def fit(self): ...\n\nasync def objective(a): ...\n",
    "tools/run-it.py": "def main(): ...\n",
    "my-code/job.py": "def main(): ...\n",
    "lib/broken.py": "def (",
    "study/grid.yaml": "",
    "study/fit.py": "def evaluate(a): ...\n",
    "study/script.py": "print(1)\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / "project" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "project"


def refused(project: Path, run: str) -> str:
    with pytest.raises(GridError) as caught:
        loads(f"run: {run!r}\nparameters: {{a: 1}}", source=project / "study" / "grid.yaml")
    (problem,) = caught.value.problems
    assert "is not module:function" in problem.message
    assert problem.line == 1
    return problem.remedy


@pytest.mark.parametrize(
    ("run", "right"),
    [
        ("fit.py:fit", "run: fit:fit."),
        ("./fit.py:fit", "run: fit:fit."),
        ("fit.py", "run: fit:evaluate."),
        ("fit.py::fit", "run: fit:fit."),
        ("fit.py:fit()", "run: fit:fit."),
        ("fit", "run: fit:evaluate."),
        ("fit:", "run: fit:evaluate."),
        ("fit.evaluate", "run: fit:evaluate."),
        ("src/fit.py", "run: src.fit:fit."),
        ("../src/fit.py:train", "run: src.fit:train."),
        ("src/fit:train", "run: src.fit:train."),
        ("src\\fit.py:train", "run: src.fit:train."),
        ("src.fit", "run: src.fit:fit."),
        ("src/deep/net.py", "run: src.deep.net:objective."),
        ("study/fit.py:evaluate", "run: fit:evaluate."),
        ("lib/broken.py", "run: lib.broken:fit."),
        ("script.py", "run: script:fit."),
    ],
)
def test_a_path_becomes_the_module_that_it_is(project: Path, run: str, right: str) -> None:
    assert refused(project, run) == f"Write {right}"


def test_an_absolute_path_becomes_a_module_of_the_project(project: Path) -> None:
    assert refused(project, f"{project}/src/fit.py:fit") == "Write run: src.fit:fit."


@pytest.mark.parametrize("run", ["my-code/job.py:main", "../tools/run-it.py"])
def test_what_python_cannot_import_has_another_way(project: Path, run: str) -> None:
    told = refused(project, run)
    assert "Rename it, or write command: [python, ../" in told


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ("gone.py:fit", "run: gone:fit. There is no gone.py beside the grid file or in its project."),
        ("lib/gone.py", "run: lib.gone:fit. There is no lib/gone.py"),
        ("a-b", "run: examples.diabetes.fit:fit."),
        ("../outside.py:f", "run: outside:f. There is no ../outside.py"),
    ],
)
def test_what_is_not_there_is_said(project: Path, run: str, told: str) -> None:
    (project.parent / "outside").mkdir()
    assert told in refused(project, run)


@pytest.mark.parametrize("run", ["fit:fit", "a.b.c:d.e", "fit:Model.fit"])
def test_a_target_as_it_should_be_is_left_alone(project: Path, run: str) -> None:
    assert loads(f"run: {run}\nparameters: {{a: 1}}", source=project / "study" / "grid.yaml").target.run == run


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("[echo, {a}]", 'YAML reads {a} without quotes as a map. Put it in quotes: "{a}".'),
        ("\n- echo\n- {net.depth}", 'Put it in quotes: "{net.depth}".'),
        ("[echo, --a={a}]", 'Put a word that has { in it into quotes, such as "--alpha={alpha}".'),
        ("echo {a} --x 'a b'", 'Write command: [echo, "{a}", "--x", "a b"].'),
        ("[echo, true]", "it must be text. Put it in quotes."),
        ("[echo, {a: 1}]", "it must be text. Put it in quotes."),
        ("[echo, ~]", "it must be text. Put it in quotes."),
    ],
)
def test_a_command_s_words_have_the_remedy_with_quotes(command: str, told: str) -> None:
    with pytest.raises(GridError) as caught:
        loads(f"command: {command}\nparameters: {{a: 1}}", source=Path("/somewhere/grid.yaml"))
    (problem,) = caught.value.problems
    assert told in str(problem)
