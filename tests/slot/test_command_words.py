"""Odd values in a command's words: as written in a grid file, rendered, and as a real program receives them."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sweepfleet.grid.load import loads
from sweepfleet.grid.space import Space
from sweepfleet.slot.context import Context
from sweepfleet.slot.target import find
from tests.support import grid

ECHO = "import json, os, sys; print(json.dumps({'words': sys.argv[1:], 'env': os.environ['SWEEPFLEET_PARAMS']}))"

WORDS: list[tuple[str, Any, str]] = [
    ("plain", "ridge", "ridge"),
    ("spaces", "  a  b ", "  a  b "),
    ("empty", "", ""),
    ("double quotes", 'say "hi"', 'say "hi"'),
    ("single quotes", "it's", "it's"),
    ("newline", "a\nb\n", "a\nb\n"),
    ("tab and carriage return", "a\tb\r", "a\tb\r"),
    ("backslashes", "C:\\new\\\\", "C:\\new\\\\"),
    ("unicode", "λ→日本 é 😀", "λ→日本 é 😀"),
    ("combining", "e\u0301\u200d\u2028", "e\u0301\u200d\u2028"),
    ("leading dash", "-rf", "-rf"),
    ("leading dashes", "--help", "--help"),
    ("dollar", "$HOME ${HOME} $(id)", "$HOME ${HOME} $(id)"),
    ("shell", "a; b | c && d > e *.py ~ `id` !", "a; b | c && d > e *.py ~ `id` !"),
    ("braces", "{x} {{x}} {", "{x} {{x}} {"),
    ("macro", "${args} ${envvar:HOME}", "${args} ${envvar:HOME}"),
    ("percent", "%s %d %%", "%s %d %%"),
    ("equals", "a=b=c", "a=b=c"),
    ("looks like a number", "007", "007"),
    ("looks like a truth value", "no", "no"),
    ("looks like null", "null", "null"),
    ("small float", 1e-05, "1e-05"),
    ("float with 17 digits", 0.30000000000000004, "0.30000000000000004"),
    ("whole float", 3.0, "3.0"),
    ("float of large exponent", 1e300, "1e+300"),
    ("minus zero", -0.0, "-0.0"),
    ("NaN", math.nan, "nan"),
    ("infinity", -math.inf, "-inf"),
    ("huge int", 2**64 + 1, "18446744073709551617"),
    ("negative int", -3, "-3"),
    ("true", True, "true"),
    ("false", False, "false"),
    ("list", [1, "a b", None, 0.1, [True]], '[1, "a b", null, 0.1, [true]]'),
    ("empty list", [], "[]"),
    ("map", {"k": {"l": "it's"}}, '{"k": {"l": "it\'s"}}'),
    ("list of unicode", ["é"], '["\\u00e9"]'),
]
IDS = [word[0] for word in WORDS]


@pytest.mark.parametrize(("value", "word"), [word[1:] for word in WORDS], ids=IDS)
def test_a_program_receives_the_value_to_the_last_character(tmp_path: Path, value: Any, word: str) -> None:
    """Alone, within a longer word, in braces and from a macro; and in SWEEPFLEET_PARAMS as JSON."""
    command = (sys.executable, "-c", ECHO, "--", "{x}", "--x={x}!", "{{{x}}}", "{{x}}", "${args_json}")
    found = ran(tmp_path, command, value)
    assert found["words"][:5] == ["--", word, f"--x={word}!", f"{{{word}}}", "{x}"]
    for text in (found["words"][5], found["env"]):
        assert json.dumps(json.loads(text)) == json.dumps({"x": value})


def test_null_is_a_word_too(tmp_path: Path) -> None:
    """A parameter that is null is written, unlike one that the point does not have."""
    found = ran(tmp_path, (sys.executable, "-c", ECHO, "{x}", "--x={x}"), None)
    assert found["words"] == ["null", "--x=null"]


@pytest.mark.parametrize(("value", "word"), [word[1:] for word in WORDS], ids=IDS)
def test_a_value_in_a_grid_file_is_the_value_that_is_computed_with(tmp_path: Path, value: Any, word: str) -> None:
    """Quoted as YAML's own writer does it, read back, and through a plan's JSON as workers get it."""
    import io

    text = io.StringIO()
    YAML(typ="safe", pure=True).dump({"command": ["echo", "{x}"], "parameters": {"x": {"value": value}}}, text)
    sweep = loads(text.getvalue(), source=tmp_path / "grid.yaml")
    (point,) = Space(sweep.plan).points(0, 1)
    assert json.dumps(point.params) == json.dumps({"x": value})
    assert rendered(sweep.target.command, point, sweep) == ["echo", word]


def rendered(command: tuple[str, ...], point: Any, sweep: Any) -> list[str]:
    from sweepfleet.grid.command import render

    return render(command, point, env={}, names=Space(sweep.plan).names)


def ran(folder: Path, command: tuple[str, ...], value: Any) -> dict[str, Any]:
    from sweepfleet.grid.sweep import Target

    plan = grid({"x": [value]}, target="echo")
    context = Context(
        plan_json=plan.to_json(),
        target=Target(command=command),
        folder=str(folder),
        root=str(folder),
        metric="value",
    )
    space = Space(Context.from_json(context.to_json()).plan)
    found: dict[str, Any] = find(context, space)(space.point(0))
    return found
