"""Messages propose Python to those who type Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import sweepfleet as sf
from sweepfleet.api.hints import in_python, python_hints
from sweepfleet.fleet.errors import ClusterError

ROOMS = Path(sf.__file__).parent
OPTION = re.compile(
    r"(?<![\w-])--(?:name|where|redo|workers?|yes|push|as-pushed|unpriced|retry-failed|set|best|point)\b"
)
COMMAND = re.compile(r"\b(?:inv|pulumi) [a-z.-]+(?: [a-z]+)*(?: --[a-z-]+(?: X)?)*")


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("Push it: inv push", 'Push it: sf.connect("dev").push()'),
        ("inv push --dirty", 'sf.connect("dev").push(dirty=True)'),
        ("Push this checkout first: inv sweep --push.", "Push this checkout first: sweep(..., push=True)."),
        ("Watch: inv attach --name a.b-2. Now", 'Watch: sf.open("a.b-2", stack="dev").wait(). Now'),
        ("without a limit: inv sweep --unpriced", "without a limit: sweep(..., unpriced=True)"),
        ("· Cancel: inv cancel --name a", '· Cancel: sf.open("a", stack="dev").cancel()'),
        ("cancel it: inv cancel", 'cancel it: sf.open(stack="dev").cancel()'),
        ("another name: --name a-2", 'another name: name="a-2"'),
        ("Make it: inv up", 'Make it: sf.up("dev")'),
        ("Bring the stack up: inv up --stack prod", 'Bring the stack up: sf.up("prod")'),
        ("`inv up --renew-head` makes", '`sf.up("dev", renew_head=True)` makes'),
        ("Delete it: inv down --purge --stack org/p/dev", 'Delete it: sf.down("org/p/dev", purge=True)'),
        ("Start them: inv start --workers 3", 'Start them: sf.connect("dev").start(3)'),
        ("Which key: inv doctor", "Which key: inv doctor"),
        ("inv ssh-config --stack dev --remove", "inv ssh-config --stack dev --remove"),
        ("pulumi cancel --yes --stack dev", "pulumi cancel --yes --stack dev"),
        ("inv stop --yes, inv stop", 'sf.connect("dev").stop(yes=True), sf.connect("dev").stop()'),
    ],
)
def test_commands_become_python_where_there_is_python(text: str, python: str) -> None:
    assert in_python(text, stack="dev") == python


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("Their rows: inv results a --where \"status == 'failed'\"", 'Their rows: sf.open("a").failures()'),
        ("What they printed: inv output a --failed", 'What they printed: sf.open("a").output(point_id)'),
        ("Retry them: the same command with --retry-failed", 'Retry them: the same call with redo="failed"'),
        ("(x; alone, with its traceback: --test-point 3)", "(x; alone, with its traceback: run.output(3))"),
        ("with today's code: --redo stale", 'with today\'s code: redo="stale"'),
        ("--redo 'x' cannot be used.", "redo 'x' cannot be used."),
        ("limit: --set execution.max_fails=100", 'limit: execution={"max_fails": 100}'),
        ("or type --set samples=500.", "or type samples=500."),
        ("fewer points at once: --workers 1.", "fewer points at once: workers=1."),
        ("the same command without --where", "the same call without where"),
        ("--where 'a >': it ends too early.", "where 'a >': it ends too early."),
        ("A sweep needs another --name.", "A sweep needs another name."),
        ("in grid.yaml: metric: {name: ...}; there are: a.", 'with metric="..."; there are: a.'),
        ("--point 'x' is not a point.", "point 'x' is not a point."),
        ("When that is fixed: inv report --name a", 'When that is fixed: sf.open("a").report()'),
    ],
)
def test_a_run_on_this_machine_has_no_stack(text: str, python: str) -> None:
    assert in_python(text, stack="") == python


def said(tree: ast.AST) -> Iterator[str]:
    """What a module's errors say, with X for what is filled in."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Raise) or node.exc is None:
            continue
        for part in ast.walk(node.exc):
            if isinstance(part, ast.JoinedStr):
                yield "".join(str(each.value) if isinstance(each, ast.Constant) else "X" for each in part.values)
            elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value


@pytest.mark.parametrize("room", ["grid", "run", "slot", "fleet"])
def test_no_error_that_python_can_cause_proposes_an_option_of_a_command(room: str) -> None:
    seen = 0
    for file in sorted(ROOMS.joinpath(room).rglob("*.py")):
        for text in said(ast.parse(file.read_text())):
            seen += 1
            left = COMMAND.sub("", in_python(text, stack="dev"))
            assert not OPTION.search(left), f"{file.relative_to(ROOMS)}: {text}"
    assert seen > 10


def test_errors_keep_their_kind() -> None:
    with pytest.raises(ClusterError, match=r'sf\.connect\("dev"\)\.status\(\)') as error, python_hints("dev"):
        raise ClusterError("See: inv status")
    assert error.value.exit_code == 3


def test_a_cluster_without_its_packages_says_how_to_add_them() -> None:
    with pytest.raises(sf.UsageError, match=r'uv add "sweepfleet\[cluster\]"'), python_hints("dev"):
        raise ModuleNotFoundError("No module named 'boto3'", name="boto3")
    with pytest.raises(ModuleNotFoundError), python_hints("dev"):
        raise ModuleNotFoundError("No module named 'mine'", name="mine")
