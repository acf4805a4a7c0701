"""Any function can be swept: by name where it has one elsewhere, else as its content; what cannot travel is named."""

from __future__ import annotations

import functools
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sweepfleet.api.functions import function_of
from sweepfleet.grid.errors import UsageError
from sweepfleet.slot import by_value
from sweepfleet.slot.identity import digest, importable, name_of

ADDEND = 10


def by_name(a: int) -> int:
    return a + ADDEND


class Model:
    def __init__(self, scale: float) -> None:
        self.scale = scale

    def fit(self, a: int) -> float:
        return self.scale * a

    def __call__(self, a: int) -> float:
        return self.fit(a)


def closure(scale: int) -> Any:
    def fit(a: int) -> int:
        return scale * by_name(a)

    return fit


def loaded(function: Any, tmp_path: Path) -> Any:
    """The function as another process has it; here it is the same process, which knows the modules."""
    found = function_of(function)
    file = tmp_path / "function.pickle"
    found.write(file)
    return by_value.load(file, run=found.run)


def test_a_function_of_a_module_goes_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").touch()
    (tmp_path / "mine" / "fits.py").write_text("class A:\n    @staticmethod\n    def fit(a):\n        return a\n")
    monkeypatch.syspath_prepend(tmp_path)
    from mine import fits  # type: ignore[import-not-found]

    found = function_of(fits.A.fit)
    assert (found.run, found.folder, found.data) == ("mine.fits:A.fit", tmp_path, None)
    assert function_of(fits.A.fit, by_value=[fits]).data is not None


@pytest.mark.parametrize(
    ("function", "name", "result"),
    [
        (lambda a: a + 1, "<lambda>", 3),
        (closure(3), "closure.fit", 36),
        (Model(2.0).fit, "Model.fit", 4.0),
        (Model(2.0), "Model", 4.0),
        (functools.partial(by_name), "by_name", 12),
        (functools.partial(closure(2), a=5), "closure.fit", 30),
    ],
)
def test_what_cannot_be_imported_goes_by_value(tmp_path: Path, function: Any, name: str, result: float) -> None:
    assert importable(function) is None
    assert name_of(function).partition(":")[2] == name
    found = loaded(function, tmp_path)
    assert (found() if "a" in getattr(function, "keywords", {}) else found(2)) == result


def test_what_cannot_be_pickled_is_named() -> None:
    lock = threading.Lock()
    with pytest.raises(UsageError, match=r"cannot be sent to another process because of `lock`"):
        function_of(lambda a: (lock, a))


def test_what_is_too_large_is_named() -> None:
    data = bytes(2_000_000)
    with pytest.raises(
        UsageError, match=r"is 2\.0 MB with what it refers to, `data` alone 2\.0 MB; the limit is 1 MB"
    ):
        function_of(lambda a: data[a])


def test_what_cannot_be_called_is_no_function() -> None:
    with pytest.raises(UsageError, match=r"sweep\(\) needs a function, and 3 is of type int"):
        function_of(3)  # type: ignore[arg-type]


SOURCE = """
import functools
import sys
sys.path.insert(0, {home!r})
SCALE = {scale}
NAMES = {{"a", "b", "c", "d", "e"}}
class Helper:
    def times(self, a):
        return a * SCALE
def helper(a):
    return Helper().times(a) if a else None
def fit(a, b={default}):
    {comment}return (helper(a) or len(NAMES)) + b
from sweepfleet.slot.identity import digest
print(digest({what}))
"""


def digest_elsewhere(folder: Path, **changes: Any) -> str:
    """The digest of `fit` in a script of another process, whose sets have another order."""
    values = {"scale": 3, "default": 1, "comment": "", "what": "fit", "home": ""} | changes
    script = folder / f"{abs(hash(tuple(values.items())))}.py"
    script.write_text(SOURCE.format(**values))
    return subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout


def test_a_function_is_the_same_in_every_process_and_another_when_it_changes(tmp_path: Path) -> None:
    first = digest_elsewhere(tmp_path)
    assert digest_elsewhere(tmp_path) == first
    (tmp_path / "elsewhere").mkdir()
    assert digest_elsewhere(tmp_path / "elsewhere") == first
    for change in ({"scale": 4}, {"default": 2}, {"comment": "a += 1; "}, {"what": "functools.partial(fit, b=9)"}):
        assert digest_elsewhere(tmp_path, **change) != first, change


def test_a_closure_is_what_it_closes_over() -> None:
    assert digest(closure(3)) == digest(closure(3)) != digest(closure(4))
    assert digest(Model(1.0).fit) != digest(Model(2.0).fit)


def test_functions_that_call_each_other_have_a_digest() -> None:
    def even(n: int) -> bool:
        return n == 0 or odd(n - 1)

    def odd(n: int) -> bool:
        return n != 0 and even(n - 1)

    assert digest(even) == digest(even)


def test_a_file_of_an_unchanged_function_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "function.pickle"
    function_of(closure(3)).write(file)
    before = file.stat()
    function_of(closure(3)).write(file)
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    function_of(closure(4)).write(file)
    assert by_value.load(file, run="x")(1) == 44


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a function's file"),
        (b"{}\nx", "is not a function's file"),
        (
            b'{"name": "a", "code": "b", "python": "3.5", "sweepfleet": 1}\nx',
            "has the bytecode of Python 3.5, and this",
        ),
        (by_value.to_bytes(b"rubbish", name="a", code="b"), "cannot be made from"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "function.pickle"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        by_value.load(file, run="a:b")
    with pytest.raises(UsageError, match="cannot be read: no such file"):
        by_value.load(tmp_path / "none", run="a:b")


def test_a_module_that_is_missing_there_is_named_with_what_to_write(tmp_path: Path) -> None:
    module = ModuleType("only_here")
    exec(textwrap.dedent("def helper(a):\n    return a + 1\n"), module.__dict__)  # noqa: S102
    module.helper.__module__ = "only_here"
    sys.modules["only_here"] = module
    helper = module.helper
    data = function_of(lambda a: helper(a) + 0)
    data.write(tmp_path / "f")
    del sys.modules["only_here"]
    with pytest.raises(UsageError, match=r"needs the module 'only_here'.*by_value=\[only_here\]"):
        by_value.load(tmp_path / "f", run="a:b")
    sys.modules["only_here"] = module
    try:
        function_of(lambda a: helper(a) + 0, by_value=[module]).write(tmp_path / "f")
    finally:
        del sys.modules["only_here"]
    assert by_value.load(tmp_path / "f", run="a:b")(1) == 2


def test_under_a_tool_the_project_is_that_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pytest's script is in the environment: a run must not land in the project that this belongs to."""
    monkeypatch.chdir(tmp_path)
    assert function_of(lambda: 1).folder == tmp_path
    (tmp_path / "tools").mkdir()
    script = tmp_path / "tools/script.py"
    script.touch()
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    assert function_of(lambda: 1).folder == tmp_path / "tools"
