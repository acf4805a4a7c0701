"""What `grid.command` promises: the words of a command for one point."""

from __future__ import annotations

import pytest

from sweepfleet.grid.command import is_known, placeholders, render
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.space import Point

PARAMS = {
    "alpha": 0.1,
    "n": 3,
    "on": True,
    "off": False,
    "none": None,
    "net.depth": 2,
    "net.sgd.lr": 1e-05,
    "l": [1, "a"],
}


def words(*command, env=None, **params):
    return render(command, Point(0, "00ff", 7, 2, params or PARAMS), env=env or {})


def test_placeholders_are_filled_in_any_word():
    assert words("fit", "--alpha", "{alpha}", "--out={id}-{seed}-{replicate}.csv", "{n}{n}") == [
        "fit",
        "--alpha",
        "0.1",
        "--out=00ff-7-2.csv",
        "33",
    ]


def test_values_that_are_no_words_are_json():
    command = ("{on}", "{off}", "{none}", "{l}", "{net.sgd.lr}", "{net}", "{s}", "{big}")
    assert words(*command, **PARAMS, s="a b", big=1e300) == [
        "true",
        "false",
        "null",
        '[1, "a"]',
        "1e-05",
        '{"depth": 2, "sgd": {"lr": 1e-05}}',
        "a b",
        "1e+300",
    ]


def test_a_parameter_that_a_point_lacks_leaves_no_word_or_an_empty_place():
    assert words("fit", "{l1_ratio}", "--l1={l1_ratio}", "{alpha}") == ["fit", "--l1=", "0.1"]
    assert words("fit", "{s}", s="") == ["fit", ""]


def test_a_parameter_wins_over_the_point_s_own_word():
    assert words("{seed}", "{id}", seed=99) == ["99", "00ff"]


def test_other_braces_stand_for_themselves():
    assert words("{print $1}", "${alpha}", "{{alpha}}", "{{{alpha}}}", '{"a": {"b": {n}}}', "{}", "$(x)") == [
        "{print $1}",
        "${alpha}",
        "{alpha}",
        "{0.1}",
        '{"a": {"b": 3}}',
        "{}",
        "$(x)",
    ]


def test_what_is_filled_in_is_not_looked_at_again():
    assert words("{s}", "${envvar:V}", env={"V": "{alpha}"}, s="{alpha} ${envvar:V}", alpha=1) == [
        "{alpha} ${envvar:V}",
        "{alpha}",
    ]


def test_macros_are_written_as_wandb_s_agent_writes_them():
    params = {"lr": 1e-05, "on": True, "off": False, "none": None, "l": ["a"], "net.depth": 2}
    flags = ["lr=1e-05", "on=True", "off=False", "none=None", "l=['a']", "net.depth=2"]
    assert words("${args}", **params) == [f"--{flag}" for flag in flags]
    assert words("${args_no_hyphens}", **params) == flags
    assert words("x", "${args_no_boolean_flags}", "y", **params) == [
        "x",
        "--lr=1e-05",
        "--on",
        "--none=None",
        "--l=['a']",
        "--net.depth=2",
        "y",
    ]
    assert words("${args_no_equals}", lr=1e-05, on=True) == ["--lr", "1e-05", "--on", "True"]
    assert words("${args_json}", **params) == [
        '{"lr": 1e-05, "on": true, "off": false, "none": null, "l": ["a"], "net": {"depth": 2}}'
    ]


def test_environment_variables_are_filled_in_or_missed():
    assert words("${envvar:HOME}/x", env={"HOME": "/h"}) == ["/h/x"]
    with pytest.raises(UsageError, match="NOPE is not set"):
        words("${envvar:NOPE}")


def test_placeholders_are_found_and_known():
    assert list(placeholders("{a} {{b}} {{{c}}} ${d} {net.depth} {e f} ${envvar:X}")) == ["a", "c", "net.depth"]
    assert is_known("net", ["net.depth"])
    assert is_known("seed", [])
    assert not is_known("netw", ["net.depth"])
