"""An Executor's calls are refused where the release has other code than what they would import."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest

from sweepfleet.fleet.calls.way import within
from sweepfleet.fleet.code import same_modules
from sweepfleet.fleet.code.same_code import PACKAGE, Compared
from sweepfleet.fleet.code.same_modules import SameModules
from sweepfleet.grid.errors import UsageError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """With a module that another one imports, one that nothing imports, and one that only a function names."""
    for name, text in {
        "outer_one.py": "import inner_one\n",
        "inner_one.py": "X = 1\n",
        "aside_one.py": "X = 1\n",
        "later_one.py": "def scaled(a):\n    return a\n",
    }.items():
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def same(
    project: Path, monkeypatch: pytest.MonkeyPatch, *names: str, always: frozenset[str] = frozenset()
) -> SameModules:
    """The project beside a release from which these files differ."""
    found = Compared(names, always, "c" * 40, changed=False) if names else None
    monkeypatch.setattr(same_modules, "compare", lambda *_: found)
    monkeypatch.setattr(same_modules, "since", lambda _: "pushed a minute ago")
    fleet: Any = SimpleNamespace(root=project, outputs=SimpleNamespace(stack="dev"))
    release: Any = SimpleNamespace(label="0123456789")
    return SameModules(fleet, release)


def test_modules_that_are_imported_here_and_what_they_import_count_and_no_others(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same(project, monkeypatch, "outer_one.py").check_loaded()  # nothing has imported it
    __import__("outer_one")
    with pytest.raises(UsageError, match=r"stack dev .*other code than this checkout: inner_one\.py.*inv push"):
        same(project, monkeypatch, "aside_one.py", "inner_one.py").check_loaded()
    same(project, monkeypatch, "aside_one.py", "docs/text.md").check_loaded()
    same(project, monkeypatch).check_loaded()


def test_a_module_that_a_function_names_counts_once_it_is_sent(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def uses(a: int) -> Any:
        from later_one import scaled

        return scaled(a)

    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    try:
        pickled = cloudpickle.dumps(uses)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    checked = same(project, monkeypatch, "later_one.py")
    checked.check_loaded()
    with pytest.raises(UsageError, match=r"later_one\.py"):
        checked.check_function(pickled)


def test_another_sweepfleet_is_refused_whatever_is_imported(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="another sweepfleet"):
        same(project, monkeypatch, own := f"{PACKAGE} (2 here, 1 there)", always=frozenset({own})).check_loaded()


def test_folders_of_the_project_are_looked_in_on_the_cluster_too(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    folders = [
        str(tmp_path / "src"),
        str(tmp_path),
        "/usr/lib/python3",
        str(tmp_path / ".venv" / "lib" / "site-packages"),
    ]
    assert within(tmp_path.resolve(), folders) == ["src", "."]
