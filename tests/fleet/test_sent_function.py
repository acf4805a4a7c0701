"""A function that is sent by value to a cluster: what it needs, and what is refused before anything is sent."""

from __future__ import annotations

import collections
import functools
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from sweepfleet.fleet.code.needs import modules_of
from sweepfleet.fleet.code.same_code import closure, difference
from sweepfleet.fleet.code.sent_function import check_modules, check_python
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.load import loads
from sweepfleet.grid.sweep import Sweep
from sweepfleet.machine.facts import KEYS
from sweepfleet.slot.by_value import Header, to_bytes
from tests.cloud.moto import Moto
from tests.fleet.test_same_code import BUCKET, Project

pytest_plugins = ["tests.cloud.fixtures"]
REQUIREMENTS = "cloudpickle==3.1.2 \\\n    --hash=sha256:00\nnumpy==2.0.0\n"
TABLE = collections.OrderedDict(a=1)


class Model(list[int]):
    """A class of a script, once it is sent by value."""

    def fit(self) -> Any:
        import csv

        return csv


def helper() -> Any:
    from decimal import Decimal

    return Decimal, TABLE


def fit(a: int, key: Any = lambda: __import__("os")) -> Any:
    import os.path

    return os.path, helper(), Model(), json.dumps, key, [each() for each in (lambda: importlib,)], a


def sent(function: Callable[..., Any]) -> bytes:
    """A function as of a script: by value, with all that its module has."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        return to_bytes(cloudpickle.dumps(function), name="__main__:fit", code="0")
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


IMPORTED = {"csv", "os.path", "decimal", "collections", "json", "importlib"}


@pytest.mark.parametrize(
    ("function", "needs"), [(fit, IMPORTED), (functools.partial(fit, 3), IMPORTED), (Model([1]).fit, {"csv"})]
)
def test_what_a_function_needs_is_read_and_not_run(function: Callable[..., Any], needs: set[str]) -> None:
    """Modules of what it refers to, and those that its code imports, however deep."""
    found = modules_of(sent(function))
    assert needs <= found
    assert found.isdisjoint({"__main__", "cloudpickle.cloudpickle", __name__})


class Bomb:
    """An object whose unpickling would run code."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("exploded"),)


def test_nothing_of_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "pathlib" in modules_of(sent(functools.partial(fit, Bomb())))
    assert not Path("exploded").exists()


@pytest.fixture
def project(tmp_path: Path, moto: Moto, no_credentials: None, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    (tmp_path / "project").mkdir()
    made = Project(tmp_path / "project", moto)
    made.commit(**{"study/near.py": "import far\n", "study/far.py": "", "study/apart.py": ""})
    made.push()
    made.s3.put_object(Bucket=BUCKET, Key=KEYS.environment_requirements("l"), Body=REQUIREMENTS.encode())
    monkeypatch.chdir(made.root)
    return made


def sweep_of(project: Project, body: str, **scope: Any) -> Sweep:
    """A sweep of a function with this body, as `sweepfleet.sweep` makes it of a script in study/."""
    space: dict[str, Any] = {"__name__": "__main__", **scope}
    exec(f"def fit(a):\n    {body}\n    return a\n", space)  # noqa: S102 - a script's
    folder = project.root / "runs" / "s"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "function.pickle").write_bytes(to_bytes(cloudpickle.dumps(space["fit"]), name="__main__:fit", code="0"))
    text = "name: s\nrun: __main__:fit\npickle: ../runs/s/function.pickle\nparameters: {a: [1]}\n"
    return loads(text, source=project.root / "study" / "s.yaml")


def refusal(project: Project, sweep: Sweep) -> str:
    with pytest.raises(UsageError) as refused:
        check_modules(project.fleet, sweep, project.release)
    return str(refused.value)


def test_modules_of_the_release_and_of_its_environment_are_there(project: Project) -> None:
    check_modules(project.fleet, sweep_of(project, "import near, numpy, json"), project.release)


def test_a_module_that_git_does_not_track_is_refused_wherever_it_is_imported(project: Project) -> None:
    """Also by a module that is tracked."""
    project.write(**{"study/new.py": ""})
    said = refusal(project, sweep_of(project, "import new"))
    for part in ("new: study/new.py is not tracked by Git", "inv push", "by_value=[new]", "nothing was sent"):
        assert part in said
    project.commit(**{"study/near.py": "import newer\n"})
    project.write(**{"study/newer.py": ""})
    assert "study/newer.py is not tracked by Git" in refusal(project, sweep_of(project, "import near"))


def test_a_module_that_git_ignores_may_be_made_over_there(project: Project) -> None:
    """As by the build of a package. So is one that travels as data."""
    project.commit(**{".gitignore": "study/_version.py\n"})
    project.write(**{"study/_version.py": ""})
    check_modules(project.fleet, sweep_of(project, "import _version"), project.release)
    settings = (project.root / "pyproject.toml").read_text()
    project.commit(**{"pyproject.toml": f'{settings}\n[tool.sweepfleet]\ninclude = ["study/new.py"]\n'})
    project.write(**{"study/new.py": ""})
    check_modules(project.fleet, sweep_of(project, "import new"), project.release)


def test_a_function_of_a_module_needs_its_files_in_the_release_too(project: Project) -> None:
    project.write(**{"trial/newer.py": "def fit(i):\n    return i\n"})
    text = "name: t\nrun: trial.newer:fit\nparameters: {i: [1]}\n"
    said = refusal(project, loads(text, source=project.root / "trial" / "t.yaml"))
    assert "trial/newer.py is not tracked by Git. Commit it, then: inv push" in said
    assert "by_value" not in said


def test_a_module_of_another_folder_is_refused(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "elsewhere_of_it.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    said = refusal(project, sweep_of(project, "import elsewhere_of_it"))
    assert "elsewhere_of_it.py is outside the project" in said
    assert "by_value=[elsewhere_of_it]" in said


def test_a_package_that_is_installed_here_alone_is_refused_with_how_to_add_it(project: Project) -> None:
    """Every one of them at once. One that a wheel of the release brings is there."""
    said = refusal(project, sweep_of(project, "import rich.table, dask"))
    assert "dask: the package dask is not in the environment of" in said
    assert "rich: the package rich is not in the environment of" in said
    assert "uv add rich" in said


def test_all_that_is_missing_is_said_at_once(project: Project) -> None:
    project.write(**{"study/new.py": ""})
    said = refusal(project, sweep_of(project, "import new, rich"))
    assert "study/new.py" in said
    assert "package rich" in said


def test_files_that_differ_count_where_the_function_imports_them(project: Project) -> None:
    """Its own script does not: it brings its own code. Nor do notebooks and other scripts beside it."""
    project.commit(**{"study/script.py": "1", "study/book.ipynb": "1", "study/apart.py": "2"})
    sweep = sweep_of(project, "import near")
    found = difference(project.fleet, sweep, project.release)
    assert found is not None
    assert (found.target, found.others) == ((), ("study/apart.py", "study/book.ipynb", "study/script.py"))
    project.commit(**{"study/far.py": "2", "study/table.csv": "1"})
    found = difference(project.fleet, sweep, project.release)
    assert found is not None
    assert found.target == ("study/far.py", "study/table.csv")
    names = {file.name for file in closure(sweep, root=project.root)}
    assert names == {"near.py", "far.py"}


class Head:
    """A head whose environment has this Python."""

    def __init__(self, version: str) -> None:
        self.version = version

    def ask(self, *words: str) -> str:
        assert "environments/l/bin/python" in words[2]
        return f"{self.version}\n"


def test_another_python_on_the_cluster_is_refused_with_both_versions(project: Project) -> None:
    sweep = sweep_of(project, "pass")
    same: Any = Head(Header("", "").python)
    check_python(same, sweep, lock="l")
    other: Any = Head("3.99")
    with pytest.raises(UsageError, match=r"this is 3\.\d+, and the cluster has Python 3\.99; nothing was sent.*uv"):
        check_python(other, sweep, lock="l")
    imported = loads("name: t\nrun: trial.fit:fit\nparameters: {i: [1]}\n", source=project.root / "trial" / "t.yaml")
    check_python(other, imported, lock="l")
    check_modules(project.fleet, imported, project.release)


def test_a_cluster_that_did_not_store_its_packages_is_not_guessed_about(project: Project) -> None:
    project.s3.delete_object(Bucket=BUCKET, Key=KEYS.environment_requirements("l"))
    check_modules(project.fleet, sweep_of(project, "import rich"), project.release)
