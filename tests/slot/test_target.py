"""The user's code: found, checked and called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.plan import Block, Plan, nest
from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Target
from sweepfleet.slot.context import Context
from sweepfleet.slot.target import CommandFailedError, find
from tests.support import context, dimension, grid


def called(folder: Path, code: str, plan: Plan, index: int = 0, **limits: Any) -> Any:
    wanted = context(folder, code, plan, **limits)
    space = Space(plan)
    return find(wanted, space)(space.point(index))


def refusal(folder: Path, code: str, plan: Plan | None = None, run: str = "fit:fit") -> str:
    plan = plan or grid({"a": [1]})
    with pytest.raises(UsageError) as error:
        find(context(folder, code, plan, target=Target(run=run)), Space(plan))
    return str(error.value)


def test_a_point_is_called_with_its_parameters_as_keywords(tmp_path: Path) -> None:
    """Nested names come as dicts, and seed and artifact_dir to a function that names them."""
    code = "def fit(a, net, seed, artifact_dir):\n    return dict(a=a, net=net, seed=seed, where=artifact_dir)\n"
    plan = grid({"a": [1], "net.depth": [2], "net.act.name": ["relu"]})
    found = called(tmp_path, code, plan, artifacts=str(tmp_path / "artifacts"))
    point = Space(plan).point(0)
    assert found["net"] == {"depth": 2, "act": {"name": "relu"}}
    assert found["seed"] == point.seed
    assert found["where"] == tmp_path / "artifacts" / point.id


@pytest.mark.parametrize(("kept", "writes", "stays"), [(1, 1, 1), (1, 0, 0), (0, 1, 0)])
def test_an_artifact_folder_stays_with_what_was_written_where_the_run_keeps_it(
    tmp_path: Path, kept: int, writes: int, stays: int
) -> None:
    """It is there while the point runs; nothing of it is left in the temporary folder of the machine."""
    code = """\
def fit(writes, artifact_dir):
    assert artifact_dir.is_dir()
    if writes:
        (artifact_dir / "a.txt").write_text("x")
    return str(artifact_dir)
"""
    artifacts = str(tmp_path / "artifacts") if kept else None
    folder = Path(called(tmp_path, code, grid({"writes": [writes]}), artifacts=artifacts))
    assert folder.exists() == stays


def test_a_function_that_does_not_ask_is_given_nothing_more(tmp_path: Path) -> None:
    """**kwargs see the parameters and nothing else; no artifact folder is made for them."""
    found = called(tmp_path, "def fit(**all): return all\n", grid({"a": [1]}), artifacts=str(tmp_path / "artifacts"))
    assert found == {"a": 1}
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.parametrize(
    "code",
    [
        "def fit(a, b=2): return a\n",
        "def fit(*, a): return a\n",
        "def fit(_unused=None, /, *, a): return a\n",
        "class Fit:\n    def __call__(self, a): return a\nfit = Fit()\n",
        "import functools\ndef two(x, a): return a\nfit = functools.partial(two, 3)\n",
        "from builtins import dict as fit\n",
        "class fit(dict):\n    def __init__(self, a): super().__init__(a=a)\n",
    ],
    ids=["default", "keyword-only", "positional with default", "instance", "partial", "builtin", "class"],
)
def test_whatever_can_be_called_with_the_parameters_is_a_target(tmp_path: Path, code: str) -> None:
    assert called(tmp_path, code, grid({"a": [7]})) in (7, {"a": 7})


def test_a_target_may_be_inside_a_class_or_a_package(tmp_path: Path) -> None:
    """`package.module:Class.method` is found."""
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "deep.py").write_text("class Model:\n    @staticmethod\n    def fit(a): return a + 1\n")
    plan = grid({"a": [1]})
    wanted = context(tmp_path, "", plan, target=Target(run="inner.deep:Model.fit"))
    assert find(wanted, Space(plan))(Space(plan).point(0)) == 2


def test_the_grids_folder_comes_before_the_projects_root(tmp_path: Path) -> None:
    """A module of one name in both places is the one beside the grid; the root is looked in next."""
    root, folder = tmp_path / "root", tmp_path / "root" / "sweeps"
    folder.mkdir(parents=True)
    (root / "helper.py").write_text("WHO = 'root'\n")
    (root / "fit.py").write_text("raise RuntimeError('the wrong one')\n")
    (folder / "fit.py").write_text("import helper\ndef fit(a): return helper.WHO\n")
    plan = grid({"a": [1]})
    wanted = Context(plan.to_json(), Target(run="fit:fit"), folder=str(folder), root=str(root), metric="x")
    assert find(wanted, Space(plan))(Space(plan).point(0)) == "root"


@pytest.mark.parametrize(
    ("code", "run", "says"),
    [
        ("def fit(): pass\n", "fit:fit", "fit:fit(): it does not take a, which the grid has"),
        ("def fit(a, b): pass\n", "fit:fit", "it needs b, which the grid does not have"),
        ("def fit(a, /): pass\n", "fit:fit", "it does not take a"),
        ("def fit(x, /, a): pass\n", "fit:fit", "it needs x"),
        ("def fit(*a): pass\n", "fit:fit", "it does not take a"),
        ("fit = 3\n", "fit:fit", "is a int, not a function"),
        ("def other(): pass\ndef _private(): pass\n", "fit:fit", "fit has no 'fit'. It has: other."),
        ("X = 1\n", "fit:fit", "It has: no functions."),
        ("X = 1\n", "fit:X.fit", "fit has no 'X.fit'"),
        ("", "nowhere:fit", "there is no module 'nowhere' in "),
        ("", "fit.deeper:fit", "there is no module 'fit.deeper' in "),
        ("import nowhere_else.x\n", "fit:fit", "needs 'nowhere_else', which is not installed here"),
        ("raise ValueError('bad licence')\n", "fit:fit", "failed with ValueError: bad licence"),
        ("import sys; sys.exit(3)\n", "fit:fit", "failed with SystemExit: 3"),
        ("", ".fit:fit", "importing .fit failed with TypeError"),
    ],
)
def test_a_wrong_target_is_refused_with_what_to_type(tmp_path: Path, code: str, run: str, says: str) -> None:
    """The message names the target, what was found and what to do; nothing is run."""
    text = refusal(tmp_path, code, run=run)
    assert says in text
    assert run.partition(":")[0] in text


def test_a_module_of_pythons_own_name_is_refused_rather_than_mistaken(tmp_path: Path) -> None:
    """A user's `random.py` cannot be imported where Python's own has been: say so, and what to do."""
    (tmp_path / "random.py").write_text("def fit(a): return a\n")
    text = refusal(tmp_path, "", run="random:fit")
    assert str(tmp_path / "random.py") in text
    assert "Rename" in text


def test_a_given_name_that_the_grid_has_too_is_the_grids(tmp_path: Path) -> None:
    """A parameter that is called as something we give is never overwritten behind the user's back."""
    code = "def fit(seed, artifact_dir): return [seed, artifact_dir]\n"
    assert called(tmp_path, code, grid({"seed": [5], "artifact_dir": ["here"]})) == [5, "here"]


def test_what_one_point_does_to_its_parameters_no_other_sees(tmp_path: Path) -> None:
    """Lists and maps are each point's own."""
    plan = grid({"net": [[1, 2]], "b": [0, 1]})
    wanted = context(tmp_path, "def fit(net, b):\n    net.append(b)\n    return net\n", plan)
    compute, space = find(wanted, Space(plan)), Space(plan)
    assert [compute(point) for point in space.points(0, 2)] == [[1, 2, 0], [1, 2, 1]]


def test_a_parameter_that_a_point_does_not_have_is_not_given(tmp_path: Path) -> None:
    """Where `when` takes a dimension away, the function's default holds."""
    block = Block("grid", (dimension("m", ["a", "b"]), dimension("x", [1, 2], when="m == 'b'")))
    plan = Plan("fit:fit", 1, 1, (block,))
    wanted = context(tmp_path, "def fit(m, x=None): return (m, x)\n", plan)
    compute, space = find(wanted, Space(plan)), Space(plan)
    assert [compute(point) for point in space.points(0, space.size)] == [("a", None), ("b", 1), ("b", 2)]


def command(folder: Path, *words: str, **parameters: Any) -> Any:
    plan = grid({name: [value] for name, value in (parameters or {"a": 1}).items()})
    wanted = context(folder, "", plan, target=Target(command=words), artifacts=str(folder / "artifacts"))
    return find(wanted, Space(plan))(Space(plan).point(0))


def test_a_command_gets_its_point_and_gives_its_last_line(tmp_path: Path) -> None:
    """Placeholders, the environment, the folder it runs in, and the last line that is JSON."""
    code = (
        "import json, os, sys\n"
        'print(\'{"not": "the last"}\')\n'
        "p = json.loads(os.environ['SWEEPFLEET_PARAMS'])\n"
        "print(json.dumps({'a': sys.argv[1], 'p': p['net']['depth'], 'cwd': os.getcwd(),\n"
        "  'dir': os.path.isdir(os.environ['SWEEPFLEET_ARTIFACT_DIR']), 'seed': os.environ['SWEEPFLEET_SEED'],\n"
        "  'id': os.environ['SWEEPFLEET_POINT_ID'], 'replicate': os.environ['SWEEPFLEET_REPLICATE']}))\n"
        "print('bye')\n"
    )
    plan = grid({"a": [1.5], "net.depth": [3]})
    wanted = context(
        tmp_path,
        "",
        plan,
        target=Target(command=(sys.executable, "-c", code, "{a}")),
        artifacts=str(tmp_path / "artifacts"),
    )
    point = Space(plan).point(0)
    found = find(wanted, Space(plan))(point)
    assert found == {
        "a": "1.5",
        "p": 3,
        "cwd": str(tmp_path),
        "dir": True,
        "seed": str(point.seed),
        "id": point.id,
        "replicate": "0",
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("sh", "-c", "echo trouble >&2; exit 3"), r"sh exited with 3\ntrouble"),
        (("sh", "-c", "kill -9 $$"), "sh was killed by signal 9"),
        (("sh", "-c", "echo no result"), r"printed no result(.|\n)*no result"),
        (("true",), r"stdout ended with: \(nothing\)"),
    ],
)
def test_a_command_that_fails_says_why(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    with pytest.raises(CommandFailedError, match=says):
        command(tmp_path, *words)


def test_a_command_is_told_where_things_are(tmp_path: Path) -> None:
    """In variables, and as placeholders; the file of parameters is gone when the point has ended."""
    code = (
        "import json, os, sys\n"
        "env = {name: os.environ['SWEEPFLEET_' + name] for name in ('ARTIFACT_DIR', 'PROJECT', 'PARAMS_FILE')}\n"
        "given = json.load(open(env['PARAMS_FILE'])) == json.loads(os.environ['SWEEPFLEET_PARAMS'])\n"
        "print(json.dumps({'words': ' '.join(sys.argv[1:]), 'given': given} | env))\n"
    )
    found = command(tmp_path, sys.executable, "-c", code, "{artifact_dir}/x", "{project_dir}", a=1.5)
    assert found["words"] == f"{found['ARTIFACT_DIR']}/x {tmp_path}"
    assert (found["PROJECT"], found["given"]) == (str(tmp_path), True)
    assert Path(found["ARTIFACT_DIR"]).parent == tmp_path / "artifacts"
    assert not Path(found["PARAMS_FILE"]).exists()


LARGE = "x" * 3_000_000


def test_a_large_parameter_does_not_break_a_command_that_does_not_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the file; the variable is left out, also where this process was given one of its own."""
    monkeypatch.setenv("SWEEPFLEET_PARAMS", "another sweep's")
    code = (
        "import json, os\nall = json.load(open(os.environ['SWEEPFLEET_PARAMS_FILE']))\n"
        "print(json.dumps({'size': len(all['data']), 'there': 'SWEEPFLEET_PARAMS' in os.environ}))"
    )
    assert command(tmp_path, sys.executable, "-c", code, data=LARGE) == {"size": 3_000_000, "there": False}
    small = command(tmp_path, sys.executable, "-c", code, data="x" * 60_000)
    assert small == {"size": 60_000, "there": True}


@pytest.mark.parametrize(
    ("words", "value", "says"),
    [
        (("echo", "{data}"), LARGE, r"The parameter data has 3,000,000 characters: have the program read data from"),
        (("echo", "${args}"), LARGE, r"The parameter data has 3,000,000 characters"),
        (("echo", "{data}"), "a\0b", r"the parameter data has a NUL character"),
    ],
)
def test_what_no_command_line_carries_fails_with_the_parameters_name(
    tmp_path: Path, words: tuple[str, ...], value: str, says: str
) -> None:
    with pytest.raises(CommandFailedError, match=says):
        command(tmp_path, *words, data=value, small=1)


SCRIPT = "#!/bin/sh\necho 1\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("/no/such/program",), "there is no program /no/such/program"),
        (("./none.sh", "{a}"), "there is no program ./none.sh (that is "),
        (("no-such-program",), "there is no program 'no-such-program' on the PATH. Install it"),
        (("runs.sh",), "'runs.sh' is not on the PATH; there is one in "),
        (("./plain.sh",), "./plain.sh is not executable. Make it so: chmod +x "),
        (("./folder",), "./folder is a folder"),
        (("./windows.sh",), "has Windows line ends"),
        (("./interpreted.sh",), "has the interpreter /no/such/interpreter in its first line"),
        (("",), "its first word is empty"),
        (("/usr/bin/env", "no-such-program"), "there is no program 'no-such-program' on the PATH"),
        (("${envvar:NO_SUCH_VARIABLE}",), "NO_SUCH_VARIABLE is not set"),
    ],
)
def test_a_command_that_cannot_be_started_is_refused(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    """Before any point runs, with what to do."""
    (tmp_path / "folder").mkdir()
    for name, text in {
        "runs.sh": SCRIPT,
        "plain.sh": SCRIPT,
        "windows.sh": SCRIPT.replace("\n", "\r\n"),
        "interpreted.sh": "#! /no/such/interpreter -x\n",
    }.items():
        (tmp_path / name).write_bytes(text.encode())
        (tmp_path / name).chmod(0o644 if name == "plain.sh" else 0o755)
    with pytest.raises(UsageError) as refused:
        command(tmp_path, *words)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "words",
    [
        ("./runs.sh",),
        ("{a}",),
        ("env", "A=1", "./runs.sh"),
        ("env", "-i", "/bin/sh", "runs.sh"),
        ("${envvar:SH}", "runs.sh"),
    ],
)
def test_a_command_that_can_be_started_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """From the grid's folder, by the PATH, by a variable; a program that is a parameter is found out when it runs."""
    monkeypatch.setenv("SH", "sh")
    (tmp_path / "runs.sh").write_text(SCRIPT)
    (tmp_path / "runs.sh").chmod(0o755)
    assert command(tmp_path, *words, a="./runs.sh") == 1


def test_a_program_that_is_a_parameter_fails_its_own_point(tmp_path: Path) -> None:
    with pytest.raises(CommandFailedError, match=r"cannot start '\./none\.sh': No such file"):
        command(tmp_path, "{a}", a="./none.sh")


def test_a_command_may_print_a_great_deal(tmp_path: Path) -> None:
    """A hundred kilobytes of metrics on one line, after many megabytes of talk, are found."""
    (tmp_path / "talk.py").write_text(
        "import json\n"
        "for _ in range(200): print('x' * 100_000)\n"
        "print(json.dumps({f'metric_number_{i}': i + 0.123456789 for i in range(4000)}))\n"
    )
    assert len(command(tmp_path, sys.executable, "talk.py")) == 4000


def test_async_functions_are_run_to_their_end(tmp_path: Path) -> None:
    """An `async def`, a partial of one, and an object whose call is one: the result is what they return."""
    for code in (
        "import asyncio\nasync def fit(a):\n    await asyncio.sleep(0)\n    return {'a': a}\n",
        "import functools\nasync def two(x, a): return {'a': a}\nfit = functools.partial(two, 3)\n",
        "class Fit:\n    async def __call__(self, a): return {'a': a}\nfit = Fit()\n",
    ):
        sys.modules.pop("fit", None)
        assert called(tmp_path, code, grid({"a": [7]})) == {"a": 7}


def test_dotted_names_nest() -> None:
    assert nest({"a": 1, "b.c": 2, "b.d.e": 3}) == {"a": 1, "b": {"c": 2, "d": {"e": 3}}}
