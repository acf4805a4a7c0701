"""Which code computed a row: the files that its child imported, or that its command names, as they were then."""

from __future__ import annotations

import itertools
import os
import py_compile
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.grid.plan import Plan
from sweepfleet.grid.project_root import project_around
from sweepfleet.grid.sweep import Target
from sweepfleet.run.codes import differing, label, labels, merged
from sweepfleet.slot.code import code_of, digest, digest_of, files_named
from sweepfleet.slot.project_files import Names
from sweepfleet.slot.records import Packet
from sweepfleet.slot.runner import Runner
from tests.support import context, grid, outcomes_of

PLAN = grid({"a": range(6)})


def code_by_point(folder: Path, code: str, *, plan: Plan = PLAN, **rest: Any) -> dict[int, dict[str, str]]:
    """By index, what each point of a one-slot sweep is said to have been computed by."""
    runner = Runner(context(folder, code, plan, **rest), name="here/0")
    try:
        found = {}
        size = len(plan.blocks[0].dimensions[0].rows)
        while len(found) < size:
            packet = Packet.from_bytes(runner.run([(len(found), size)]))
            found |= {row.point_index: segment.code for segment in packet.segments for row in segment.rows()}
        return found
    finally:
        runner.close()


def written(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


def test_a_code_is_the_files_that_were_imported_from_the_project(tmp_path: Path) -> None:
    """The target, its helpers and packages; not what nobody imported, nor Python's own, ours, or installed ones."""
    written(tmp_path, {"pyproject.toml": "", "lib/__init__.py": "", "lib/a.py": "A = 1", "lib/b.py": "B = 1"})
    code = "import json, numpy, sweepfleet.grid.space\nimport lib.a\n\ndef fit(a):\n    return a\n"
    found = code_by_point(tmp_path, code)
    names = ("fit.py", "lib/__init__.py", "lib/a.py")
    assert all(files == {name: digest_of(tmp_path / name) for name in names} for files in found.values())


def test_a_module_that_a_point_imports_counts_from_then_on(tmp_path: Path) -> None:
    """Another child that has not come so far has a part of the same code."""
    written(tmp_path, {"late.py": "X = 1"})
    code = "def fit(a):\n    if a == 5:\n        import late\n    return a\n"
    found = code_by_point(tmp_path, code)
    assert found[5].keys() == {"fit.py", "late.py"}
    one = code_by_point(
        tmp_path, "def fit(a):\n    if a == 5:\n        import late\n    return a\n", plan=grid({"a": [1]})
    )
    assert one[0].keys() == {"fit.py"}
    assert len(merged({"x": found[5], "y": one[0]})) == 1


@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_a_child_that_starts_again_tells_of_the_code_that_it_has(tmp_path: Path, start: str) -> None:
    """A file that is edited while a sweep runs: a new process imports it anew, a copy goes on with what it has."""
    code = """
        import os, pathlib
        VERSION = 1
        def fit(a):
            if a == 2 and VERSION == 1:
                file = pathlib.Path(__file__)
                file.write_text(file.read_text().replace("VERSION = 1", "VERSION = 2", 1))
                os._exit(3)
            return {"version": VERSION}
    """
    found = code_by_point(tmp_path, code, start=start)
    now = {"fit.py": digest_of(tmp_path / "fit.py")}
    assert found[0] == found[1] == found[2] != now
    assert found[3] == found[5] == (now if start == "spawn" else found[0])


def test_an_edit_while_the_target_is_imported_is_not_taken_for_its_code(tmp_path: Path) -> None:
    """What the look at an import reads afterwards changes nothing of what it was."""
    code = """
        import pathlib
        file = pathlib.Path(__file__)
        before = file.read_bytes()
        file.write_bytes(before + b"# edited")
        def fit(a):
            return 1
    """
    found = code_by_point(tmp_path, code, start="auto")
    imported = (tmp_path / "fit.py").read_bytes().removesuffix(b"# edited")
    assert found[0] == {"fit.py": digest(imported)}


def test_what_a_compiled_file_holds_of_an_older_edit_is_not_run(tmp_path: Path) -> None:
    """Python compares whole seconds and the size: an edit of one digit within a second would run as it was before."""
    file = tmp_path / "fit.py"

    def edit(version: int, at_s: float) -> str:
        code = f"V = {version}\n\ndef fit(a):\n    return V\n"
        file.write_text(code)
        os.utime(file, (at_s, at_s))
        return code

    edit(1, 1.7e9 + 0.1)
    compiled = py_compile.compile(str(file), doraise=True)
    os.utime(str(compiled), (1.7e9 + 0.15, 1.7e9 + 0.15))
    code = edit(2, 1.7e9 + 0.2)
    where = context(tmp_path, code, grid({"a": [1]}))
    edit(2, 1.7e9 + 0.2)
    runner = Runner(where, name="here/0")
    try:
        packet = Packet.from_bytes(runner.run([(0, 1)]))
    finally:
        runner.close()
    assert outcomes_of(packet) == [(0, {"value": 2})]
    assert packet.segments[0].code == {"fit.py": digest(code.encode())}


@pytest.mark.parametrize("script", ["run.sh", "lib.sh"])
def test_a_command_whose_files_are_edited_during_the_run_has_a_new_code_from_the_next_point_on(
    tmp_path: Path, script: str
) -> None:
    written(
        tmp_path,
        {"run.sh": f'. "./$2"\nif [ $1 = 2 ]; then echo "# edited" >> {script}; fi\necho $1\n', "lib.sh": "true\n"},
    )
    target = Target(command=("sh", "run.sh", "{a}", "lib.sh"))
    before = {name: digest_of(tmp_path / name) for name in ("run.sh", "lib.sh")}
    found = code_by_point(tmp_path, "", target=target)
    after = {name: digest_of(tmp_path / name) for name in ("run.sh", "lib.sh")}
    assert before != after
    assert [found[index] == before for index in range(6)] == [True, True, True, False, False, False]
    assert found[3] == found[5] == after


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (["Rscript", "fit.R", "--alpha", "{a}"], ["fit.R"]),
        (["python", "-u", "lib/train.py", "--config=conf.yaml"], ["lib/train.py", "conf.yaml"]),
        (["python", "-m", "lib.train"], ["lib/train.py"]),
        (["python", "-m", "lib"], ["lib/__main__.py"]),
        (["sh", "-c", "python lib/train.py --a={a} < conf.yaml"], ["lib/train.py", "conf.yaml"]),
        (["./fit.R"], ["fit.R"]),
        (["{a}.R"], []),
        (["echo", "{a}", "lib", "nothing.py", "it's", "x" * 5000], []),
        (["python", "tools/top.py"], ["../tools/top.py"]),
    ],
    ids=str,
)
def test_the_files_that_a_command_names(tmp_path: Path, command: list[str], named: list[str]) -> None:
    folder = tmp_path / "grids"
    files = dict.fromkeys(["fit.R", "conf.yaml", "lib/train.py", "lib/__main__.py"], "")
    written(folder, files)
    written(tmp_path, {"tools/top.py": ""})
    found = files_named(command, folders=(folder, tmp_path))
    assert [Path(os.path.relpath(path, folder)).as_posix() for path in found] == named


@pytest.mark.parametrize(
    ("command", "wandb", "named"),
    [
        (("python", "train.py"), True, "train.py"),
        (("python", "only.py"), True, "sweeps/only.py"),
        (("python", "-m", "train"), True, "train.py"),
        (("python", "train.py"), False, "sweeps/train.py"),
        (("python", "lib.py"), False, "lib.py"),
    ],
)
def test_a_files_code_is_the_one_that_runs(
    tmp_path: Path, command: tuple[str, ...], named: str, *, wandb: bool
) -> None:
    """With a file of that name in both places, too: W&B's commands start in the root, others in the grid's folder."""
    written(tmp_path, {"train.py": "1", "sweeps/train.py": "2", "sweeps/only.py": "3", "lib.py": "4"})
    folder = tmp_path / "sweeps"
    where = replace(
        context(folder, "", target=Target(command=command, wandb=wandb, program=command[-1])), root=str(tmp_path)
    )
    assert code_of(where).news() == {named: digest_of(tmp_path / named)}


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("grids/fit.py", "grids/fit.py"),
        ("lib/a.py", "lib/a.py"),
        (".venv/lib/python3.12/site-packages/x.py", None),
        ("vendor/site-packages/x.py", None),
        ("../elsewhere/x.py", None),
        ("../project-2/x.py", None),
    ],
)
def test_what_a_file_is_called_does_not_depend_on_where_the_project_is(
    tmp_path: Path, file: str, name: str | None
) -> None:
    for place in ("one/project", "two/project"):
        root = tmp_path / place
        assert Names(folder=str(root / "grids"), root=str(root)).name_of(str(root / file)) == name


HELPER = "def fit(a):\n    return X\n"


@pytest.mark.parametrize(
    "code",
    [
        "import sys\nsys.path.append('..')\nfrom common import X\n" + HELPER,
        "import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parents[1]))\nfrom common import X\n"
        + HELPER,
        "import sys\ndef fit(a):\n    sys.path.append('..')\n    from common import X\n    return X\n",
    ],
    ids=["relative", "whole", "late"],
)
def test_a_module_of_a_folder_beside_the_project_counts(tmp_path: Path, code: str) -> None:
    """A helper that lies above the grid, or a package installed as editable: an edit of it is an edit of the code."""
    written(tmp_path, {"common.py": "import json, numpy\nX = 1\n", "sweeps/pyproject.toml": ""})
    found = code_by_point(tmp_path / "sweeps", code)[5]
    assert found == {name: digest_of(tmp_path / "sweeps" / name) for name in ("fit.py", "../common.py")}


def test_a_script_beside_the_project_counts_and_a_program_by_its_whole_path_does_not(tmp_path: Path) -> None:
    written(tmp_path, {"common/run.sh": "echo $1\n", "sweeps/pyproject.toml": ""})
    target = Target(command=("/bin/sh", "../common/run.sh", "{a}"))
    found = code_by_point(tmp_path / "sweeps", "", target=target)[0]
    assert found == {"../common/run.sh": digest_of(tmp_path / "common" / "run.sh")}


def test_what_compilers_write_into_the_temporary_folder_is_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    names = Names(folder=str(tmp_path / "sweeps"), root=str(tmp_path / "sweeps"))
    assert names.name_of_module(str(tmp_path / "scratch" / "kernel.py")) is None
    assert names.name_of_module(os.__file__) is names.name_of_module(pytest.__file__) is None
    assert names.name_of_module(str(tmp_path / "lib" / "x.py")) == "../lib/x.py"


def test_a_grid_outside_the_project_has_a_project_of_its_own(tmp_path: Path) -> None:
    """Names are relative to what is around the grid; a file of the other project is called by its whole path."""
    root, other = tmp_path / "root", tmp_path / "other"
    written(other, {"pyproject.toml": "", "grids/fit.py": "", "lib.py": ""})
    written(root, {"examples/fit.py": ""})
    names = Names(folder=str(other / "grids"), root=str(root))
    assert names.name_of(str(other / "grids" / "fit.py")) == "grids/fit.py"
    assert names.name_of(str(other / "lib.py")) == "lib.py"
    whole = str(root / "examples" / "fit.py")
    assert names.name_of(whole) == whole
    assert names.path_of(whole) == Path(whole)
    assert project_around(tmp_path / "other" / "grids") == other


def test_our_own_files_are_no_code_of_a_project(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    names = Names(folder=str(root / "examples"), root=str(root))
    assert names.name_of(str(root / "src" / "sweepfleet" / "grid" / "space.py")) is None
    assert names.name_of(str(root / "examples" / "diabetes" / "fit.py")) == "examples/diabetes/fit.py"


# ---- What is the same code.


@pytest.mark.parametrize(
    ("codes", "groups"),
    [
        ([{"fit": "1"}, {"fit": "1"}], [2]),
        ([{"fit": "1"}, {"fit": "2"}], [1, 1]),
        ([{"fit": "1"}, {"fit": "1", "a": "1"}, {"fit": "1", "b": "1"}], [3]),
        ([{"fit": "1", "a": "1"}, {"fit": "1", "a": "2"}], [1, 1]),
        ([{"fit": "1", "a": "1"}, {"fit": "1", "a": "2"}, {"fit": "1", "a": "2", "b": "1"}], [2, 1]),
        ([{"fit": "1", "a": "1"}, {"fit": "2"}, {"fit": "1"}], [2, 1]),
    ],
)
def test_codes_that_agree_on_what_both_have_are_one(codes: list[dict[str, str]], groups: list[int]) -> None:
    """Whatever order they come in, and under the same label."""
    for order in itertools.permutations(codes):
        found = merged({str(number): files for number, files in enumerate(order)})
        assert sorted((len(names) for _, names in found), reverse=True) == groups
        called = labels({str(number): files for number, files in enumerate(order)})
        assert len(set(called.values())) == len(groups)
        assert set(called.values()) == {label(union) for union, _ in merged(dict(enumerate_text(codes)))}


def enumerate_text(codes: list[dict[str, str]]) -> Iterator[tuple[str, dict[str, str]]]:
    return ((str(number), files) for number, files in enumerate(codes))


def test_the_files_in_which_codes_differ_are_named() -> None:
    unions = [{"fit": "1", "a": "1"}, {"fit": "2", "a": "1", "b": "1"}]
    assert differing(unions) == ["fit"]
    assert differing(unions[:1]) == []
