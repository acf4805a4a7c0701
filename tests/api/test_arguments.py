"""Whatever is passed to a public function: it is taken, or refused with an error that its documentation names."""

from __future__ import annotations

import contextlib
import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import sweepfleet as sf


class Odd:
    """An object that refuses everything, its own text too."""

    def __repr__(self) -> str:
        raise RuntimeError

    def __bool__(self) -> bool:
        raise RuntimeError


class Reached(Exception):  # noqa: N818 - no error
    """The arguments have passed, and the cluster is asked."""


class NoFleet:
    """What a `Cluster` of no machine has."""

    def __getattr__(self, name: str) -> Any:
        raise Reached(name)


def called(alpha: float) -> float:
    """What is swept, if ever."""
    return alpha


WRONG = [
    None, True, False, 0, -1, 3, 10**400, 2.5, math.nan, math.inf, 1j, "", "x\0", "\ud800", "a b", "a/b", "..", "é",
    "x" * 300, b"x", [], [3], {}, {3: None}, {"name": 3}, {"over": {}}, set(), (), object(), Odd(), len, int, re,
    Path("x"), Path("x\0"), range(3), slice(3), NotImplemented, ...,
]  # fmt: skip


def of(function: Callable[..., Any]) -> list[str]:
    """The names of a function's arguments."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, each in inspect.signature(function).parameters.items() if each.kind in kinds]


def junk(function: Callable[..., Any], *without: str) -> st.SearchStrategy[dict[str, Any]]:
    """Some of a function's arguments, each of any kind."""
    names = [name for name in of(function) if name not in without and name != "self"]
    chosen = st.lists(st.sampled_from(names), unique=True, min_size=1, max_size=4)
    return chosen.flatmap(lambda some: st.fixed_dictionaries({name: st.sampled_from(WRONG) for name in some}))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, which is the current folder."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "0"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INVOKE_RUNS", raising=False)
    return tmp_path


ANY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@ANY
@given(arguments=junk(sf.sweep, "stack", "grid", "as_pushed", "yes", "unpriced"))
@example(arguments={"target": Path("x\0")})
def test_a_sweep_takes_them_or_says_what_is_wrong(project: Path, arguments: dict[str, Any]) -> None:
    """It is refused at the end in any case, since `push` is for a cluster, and so no process is started."""
    given = {"target": called, "parameters": {"alpha": [1]}} | arguments | {"push": True}
    with pytest.raises(sf.UsageError):
        sf.sweep(**given)


@ANY
@given(arguments=junk(sf.open, "stack"))
@example(arguments={"name": "x" * 300})
@example(arguments={"runs": "x" * 300})
def test_opening_finds_a_run_or_says_what_is_wrong(project: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(sf.UsageError):
        sf.open(**arguments)


@ANY
@given(arguments=junk(sf.Executor, "run", "stack"))
@example(arguments={"initargs": 3, "runs": 3})
def test_an_executor_takes_them_or_says_what_is_wrong(project: Path, arguments: dict[str, Any]) -> None:
    """A thing that cannot be called is refused as the standard library's executors refuse it."""
    error = None
    try:
        sf.Executor(**arguments).shutdown()
    except (sf.UsageError, TypeError) as raised:
        error = raised
    says = ("Executor: ", "The initializer cannot be sent", "initializer must be a callable")
    assert error is None or str(error).startswith(says)


@ANY
@given(
    arguments=st.one_of(junk(sf.connect), junk(sf.up, "yes"), junk(sf.down, "yes")),
    which=st.sampled_from(["connect", "up", "down"]),
)
@example(arguments={"project": "x" * 300}, which="up")
def test_no_cluster_is_made_or_found_by_them(project: Path, which: str, arguments: dict[str, Any]) -> None:
    function = getattr(sf, which)
    with pytest.raises(sf.SweepfleetError):
        function(**{name: value for name, value in arguments.items() if name in of(function)})


METHODS = ("status", "push", "start", "stop", "run", "logs", "cost", "open", "sweep", "client")


@ANY
@given(data=st.data(), which=st.sampled_from(METHODS))
def test_a_clusters_methods_take_them_or_say_what_is_wrong(project: Path, data: st.DataObject, which: str) -> None:
    cluster = sf.Cluster(NoFleet())  # type: ignore[arg-type]
    method = getattr(cluster, which)
    names = of(method)
    arguments = data.draw(junk(method)) if names else {}
    needed = {"run": {"command": "true"}, "sweep": {"target": called, "parameters": {"alpha": [1]}}}.get(which, {})
    with pytest.raises((sf.UsageError, Reached)):
        method(**(needed | arguments)).__enter__()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> sf.Run:
    """A run of two points."""
    return sf.sweep(called, {"alpha": [1, 2]}, name="two", metric="value", runs=tmp_path_factory.mktemp("runs"))


@ANY
@given(data=st.data(), which=st.sampled_from(["frame", "ranking", "output"]))
def test_a_runs_methods_answer_or_say_what_is_wrong(run: sf.Run, data: st.DataObject, which: str) -> None:
    method = getattr(run, which)
    needed = {"ranking": {"count": 1}, "output": {"point": 0}}.get(which, {})
    with contextlib.suppress(sf.UsageError):
        method(**(needed | data.draw(junk(method))))


@ANY
@given(function=st.sampled_from([sf.linspace, sf.logspace, sf.distribution, sf.Metric]), data=st.data())
def test_values_of_no_use_are_refused_by_the_sweep(
    project: Path, function: Callable[..., Any], data: st.DataObject
) -> None:
    names = of(function)
    made = function(**{name: data.draw(st.sampled_from(WRONG)) for name in names})
    given = {"metric": made} if function is sf.Metric else {"parameters": {"alpha": made}}
    with pytest.raises(sf.UsageError):
        sf.sweep(called, **({"parameters": {"alpha": [1]}} | given), push=True)


def test_any_whole_number_of_rows_can_be_asked_for(run: sf.Run) -> None:
    assert run.ranking(10**400).height == 2


@pytest.mark.parametrize("wrong", [3, "text", None, Odd])
def test_what_cannot_be_decorated_is_said_at_once(wrong: Any) -> None:
    if wrong in (Odd, None):  # a class can be called, and None is the decorator with parentheses
        assert callable(sf.function(wrong))
        return
    with pytest.raises(TypeError, match="decorates a function"):
        sf.function(wrong)


def test_an_option_that_an_executor_does_not_have_is_said_at_once() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'cpu'"):
        sf.function(cpu=2)


def test_all_arguments_of_a_wrong_kind_are_named_in_one_error() -> None:
    wrong: dict[str, Any] = {
        "name": 3,
        "metric": 4,
        "where": 5,
        "by_value": re,
        "workers": "all",
        "runs": 6,
        "wait": "no",
    }
    with pytest.raises(sf.UsageError) as caught:
        sf.sweep(abs, {"x": [1]}, **wrong)
    assert re.findall(r"(\w+) is [^;]*; it is ", str(caught.value)) == list(wrong)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: sf.open(3), "open: name is text, such as 'fits'; it is 3."),  # type: ignore[arg-type]
        (lambda: sf.open(stack=3), "open: stack is a stack's name, or what sf.connect returned; it is 3."),  # type: ignore[arg-type]
        (lambda: sf.Executor(runs=3), "Executor: runs is the path of a folder; it is 3."),  # type: ignore[arg-type]
        (lambda: sf.down(yes="no"), "down: yes is True or False; it is 'no'."),  # type: ignore[arg-type]
    ],
)
def test_the_error_names_the_argument_what_it_is_and_what_fits(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(sf.UsageError) as caught:
        call()
    assert str(caught.value) == says


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_stands_where_a_runs_folder_belongs_is_said(project: Path, kind: str) -> None:
    (project / "runs").mkdir()
    path = project / "runs" / "small"
    path.symlink_to("nowhere") if kind == "link" else path.touch()
    said = f"{path} is a symbolic link to nowhere, which does not exist." if kind == "link" else "is not a folder."
    for start in (
        lambda: sf.sweep(called, {"alpha": [1]}, name="small", runs="runs"),
        lambda: sf.Executor(run="small"),
    ):
        with pytest.raises(sf.SweepfleetError, match=re.escape(said)) as caught:
            start()
        assert "Make room" not in str(caught.value)
        assert "move it away, then run the same call again" in str(caught.value)
    (project / "runs" / "small").unlink()
    assert not any((project / "runs").iterdir())
