"""The result in what a command printed: outputs and the right value, or why there is none."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.grid.plan import Plan
from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Target
from sweepfleet.slot.printed import NoResultError, result
from sweepfleet.slot.target import OUT_BYTES, CommandFailedError, find
from tests.command import Project
from tests.support import context, grid

PRETTY = '{\n  "loss": 0.1,\n  "curve": [\n    0.3,\n    0.2\n  ],\n  "acc":\n    0.93\n}\n'
WHOLE = {"loss": 0.1, "curve": [0.3, 0.2], "acc": 0.93}


@pytest.mark.parametrize(
    ("output", "value"),
    [
        ('{"loss": 0.1}', {"loss": 0.1}),
        (PRETTY, WHOLE),
        (f"loading\n\n{PRETTY}\nbye\n", WHOLE),
        (f"Result: {PRETTY}", WHOLE),
        ('Result: {"loss": 0.1}\n', {"loss": 0.1}),
        ('[12:00:01] INFO {"loss": 0.1}\n', {"loss": 0.1}),
        ('foo[1] = {"loss": 0.1}\n', {"loss": 0.1}),
        ('{"loss": 0.1}\n0.93\n', {"loss": 0.1}),
        (f"{PRETTY}0.93\n", WHOLE),
        ('0.5\n{"loss": 0.1}\n', {"loss": 0.1}),
        ('{"epoch": 1, "loss": 0.9}\n{"epoch": 2, "loss": 0.1}\n', {"epoch": 2, "loss": 0.1}),
        (f'{{"lr": 3}}\n{PRETTY}', WHOLE),
        ('x {"lr": 3}\n{"loss": 0.1}\n', {"loss": 0.1}),
        ("{'lr': 3}\n" + PRETTY, WHOLE),
        ('{"loss": 0.1}\ntrue\n"text"\n[1]\n[0.5, 0.6]\nnull\n', {"loss": 0.1}),
        ('{"loss": 0.1}\n[INFO] saved [12 files]\n[=>   ] 5 %\n', {"loss": 0.1}),
        (' 10%|#  |\r 99%|## |\r{"loss": 0.1}\r\n', {"loss": 0.1}),
        ("[=>  ]\r[==> ]\r[===>\r0.5\n", 0.5),
        ('\x1b[1;32m{\x1b[0m"loss"\x1b[39m: 0.1}\x1b[0m\n\x1b]0;title\x07\x1b[K', {"loss": 0.1}),
        ('\ufeff{"loss": 0.1}\r\n', {"loss": 0.1}),
        ("\ufeff0.5\r\n\r\n", 0.5),
        ('{"a": "}\\"{ \u2028 \\n"}', {"a": '}"{ \u2028 \n'}),
        ('a 5" disk {\n{"loss": 0.1}\n', {"loss": 0.1}),
        ('BEGIN {\n{"loss": 0.1}\n}\n', {"loss": 0.1}),
        ('{"n": 18446744073709551617}', {"n": 2**64 + 1}),
        ('{"loss": NaN, "a": Infinity, "b": -Infinity}', {"loss": math.nan, "a": math.inf, "b": -math.inf}),
        ("{}\n", {}),
        ('{"conf": {"tp": 3}, "loss": 0.1}', {"conf": {"tp": 3}, "loss": 0.1}),
        ("training\n0.93\n\n", 0.93),
        ("3", 3),
        ("-1e-05\n", -1e-05),
        ("+.5", 0.5),
        ("2.\n", 2.0),
        ("9007199254740993", 2**53 + 1),
        ("nan\n", math.nan),
        ("NaN", math.nan),
        ("-Inf\n", -math.inf),
        ("[0.5, 0.6]\n0.93\n", 0.93),
        ("[1/3 epochs\n0.93", 0.93),
    ],
)
def test_the_object_is_the_result_and_else_the_number_on_the_last_line(output: str, value: Any) -> None:
    assert json.dumps(result(output)) == json.dumps(value)


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("", "no object was printed, and the last line is not a number"),
        ("0.93\nbye\n", "the last line is not a number"),
        ("loss 0.93", "the last line is not a number"),
        ("true", "the last line is not a number"),
        ('"0.93"', "the last line is not a number"),
        ("1_000", "the last line is not a number"),
        ("0x10", "the last line is not a number"),
        ("007", "007 starts with a zero"),
        ("1e400", "1e400 is larger than a float"),
        ("9" * 5000, "5,000 digits; the limit is 4,000"),
        ("[1] 0.93", "R's print"),
        ("[0.5, 0.93]", "[0.5, 0.93] is a list; a result must be an object"),
        ('[\n  {"loss": 0.1},\n  {"loss": 0.2}\n]\n', "is a list; a result must be an object"),
        ('[{"loss": 0.1}]\n0.93\n', 'the list [{"loss": 0.1}] and the number 0.93 could be the result'),
        ("[\n  0.1,\n  0.93", "it is not closed: [ 0.1, 0.93"),
        ('{"loss": 0.1, "acc": 0.93', 'it is not closed: {"loss": 0.1, "acc": 0.93'),
        ('{\n  "loss": 0.1,\n  "acc":\n  0.93\n', "it is not closed"),
        ('{\n  "runs": [\n  {\n    "loss": 0.1\n  }\n', "it is not closed"),
        ('{"loss": 0.1}\n{"loss": 0.2,', 'it is not closed: {"loss": 0.2,'),
        ('Result: {"loss": 0.1,\n"acc":\n0.93', "it is not closed"),
        ('{"loss": 0.1, "loss": 0.2}', "the key 'loss' is given twice"),
        ('{"a": {"b": 1, "b": 1}}', "the key 'b' is given twice"),
        ('{"loss": 1e400}', "1e400 is larger than a float"),
        ('{\n  "loss": oops,\n  "acc":\n  {"tp": 3}\n}\n', "Expecting value at 'oops"),
        ("{'loss': 0.1}\n", "Expecting property name enclosed in double quotes"),
        ("{'loss': 0.1}\n0.93\n", "Expecting property name"),
        ("{loss: 0.1}\n0.93\n", "Expecting property name"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "nested too deeply"),
        ("[" * 200_000, "it is not closed"),
        ('Result: {"loss": 0.1}\n0.93\n', "in a line with other text, and the number 0.93 could be the result"),
        ('a {"loss": 1}\nb {"loss": 2}\n', "2 objects are in lines with other text"),
        ('{"loss": 1}{"loss": 2}', "2 objects are in lines with other text"),
        ('saved {"loss": 0.1} to disk\n', "is in the middle of a line"),
        ('{"lr": 3}\nResult: {"loss": 0.1}\n', "two objects could be the result"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_and_says_what_was_found(output: str, says: str) -> None:
    with pytest.raises(NoResultError) as refusal:
        result(output)
    assert says in str(refusal.value)
    assert len(str(refusal.value)) < 400, "a short word about a long output"


@pytest.mark.parametrize(
    ("end", "value"),
    [
        ('half a line\n{"loss": 0.1}\n', {"loss": 0.1}),
        ('0.9\n  ]\n}\n{"loss": 0.1}\n', {"loss": 0.1}),
        ('half\n{"loss": 0.1}\n}\n', None),
        ('": {"loss": 0.1}}\n', None),
        (' {"loss": 0.1}\n', None),
        ("0.92\n0.93\n", None),
    ],
)
def test_in_the_end_of_a_long_output_only_what_began_there_counts(end: str, value: Any) -> None:
    """Of an object that began before it, no part is taken for the result; nor is a number."""
    if value is not None:
        assert result(end, cut=True) == value
        return
    with pytest.raises(NoResultError, match="in the last part of the output"):
        result(end, cut=True)


def test_a_long_output_with_unbalanced_signs_takes_no_longer_than_one_without() -> None:
    """Signs that nothing closes are looked at once each."""
    for line in ("x [INFO] {\n", "{\n", "[ ", '"', "}\n"):
        with pytest.raises(NoResultError):
            result(line * 200_000)


@pytest.mark.parametrize("over", [False, True])
def test_an_object_larger_than_what_is_read_fails_its_point(tmp_path: Path, over: bool) -> None:  # noqa: FBT001
    """It says so, and no number of its tail is taken; a smaller one is read whole after gigabytes of words."""
    count = OUT_BYTES // 8 if over else 100
    code = (
        "import json\n"
        f"for _ in range(30): print('x' * {OUT_BYTES // 10})\n"
        f"print(json.dumps({{'curve': [0.12345] * {count}, 'inner': {{'loss': 0.93}}, 'loss': 0.1}}, indent=0))\n"
    )
    (tmp_path / "talk.py").write_text(code)
    plan: Plan = grid({"a": [1]})
    space = Space(plan)
    compute = find(context(tmp_path, "", plan, target=Target(command=(sys.executable, "talk.py"))), space)
    if not over:
        assert compute(space.point(0))["loss"] == 0.1
        return
    with pytest.raises(CommandFailedError, match="in the last part of the output") as refusal:
        compute(space.point(0))
    assert "Print one JSON object" in str(refusal.value)


def test_a_program_that_prints_pretty_gives_its_own_numbers(tmp_path: Path) -> None:
    """As a user runs it: what a formatter makes of a result is the result, and not the last number in it."""
    result = "{'loss': float(sys.argv[1]), 'per_fold': [0.91, 0.92, 0.93]}"
    (tmp_path / "fit.py").write_text(f"import json, sys\nprint(json.dumps({result}, indent=4))\n")
    words = f'[{sys.executable}, fit.py, "{{a}}"]'
    project = Project(tmp_path).write(f"name: pretty\ncommand: {words}\nparameters: {{a: [0.1, 0.2, 0.3]}}\n")
    project.sweep()
    found = project.table("pretty")
    assert found["metric.loss"].to_list() == [0.1, 0.2, 0.3]
    assert found["metric.per_fold"].to_list() == ["[0.91, 0.92, 0.93]"] * 3
