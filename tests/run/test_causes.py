"""Failures as one line each, and equal causes counted together."""

from __future__ import annotations

import pytest

from sweepfleet.run import causes
from sweepfleet.run.causes import LINE_CHARS, cause, failure_groups, failure_line
from sweepfleet.slot.writer import describe

PYTHON = 'Traceback (most recent call last):\n  File "fit.py", line 3, in fit\n    raise {0}\n{0}'


def raised(error: BaseException) -> tuple[str, str]:
    """An error as a point's row has it."""
    with pytest.raises(type(error)) as found:
        raise error
    return type(error).__name__, describe(found.value)


def look_up() -> None:
    try:
        {}["a"]
    except KeyError as error:
        raise ValueError("no key") from error


def chained() -> tuple[str, str]:
    with pytest.raises(ValueError) as found:
        look_up()
    return "ValueError", describe(found.value)


def command(text: str) -> tuple[str, str]:
    return "CommandFailedError", f"CommandFailedError: {text}"


class NoConvergenceError(Exception):
    """An error of the user's own."""


R_WARNED = "Loading required package: stats\nWarning message:\nError in fit(a) : no convergence\nCalls: fit\n"
LATE = "DeprecationWarning: error bars\nusage\nfit: FATAL: x"
MEMORY = "Used 812 MB, more than 500 MB."
ONE_LINE = [
    (raised(ValueError("no convergence in 20 steps")), "ValueError: no convergence in 20 steps"),
    (raised(ValueError("first\nsecond: 2\nValue")), "ValueError: first"),
    (raised(ValueError("\n\n  late")), "ValueError: late"),
    (raised(ValueError()), "ValueError"),
    (raised(NoConvergenceError("x")), "NoConvergenceError: x"),
    (raised(ExceptionGroup("many", [ValueError("a"), OSError("b")])), "ExceptionGroup: many (2 sub-exceptions)"),
    (raised(SystemExit(3)), "SystemExit: 3"),
    (chained(), "ValueError: no key"),
    (("BadResultError", "BadResultError: returned None."), "BadResultError: returned None."),
    (("Timeout", 'Took longer than 2 s.\n  File "fit.py"'), "Timeout: Took longer than 2 s."),
    (("Crash", "Killed by SIGSEGV.\nFatal Python error"), "Crash: Killed by SIGSEGV."),
    (("MemoryLimit", MEMORY), f"MemoryLimit: {MEMORY}"),
    (command("sh exited with 9"), "sh exited with 9"),
    (
        command(f"Rscript exited with 1\n{R_WARNED}Execution halted"),
        "Error in fit(a) : no convergence (Rscript exited with 1)",
    ),
    (
        command("Rscript exited with 1\nError in fit(a) :\n  too long\nExecution halted"),
        "Error in fit(a) : too long (Rscript exited with 1)",
    ),
    (
        command(f"python exited with 1\nnote\n{PYTHON.format('OSError: disk')}"),
        "OSError: disk (python exited with 1)",
    ),
    (command(f"./fit exited with 2\n{LATE}"), "fit: FATAL: x (./fit exited with 2)"),
    (command("Rscript exited with 1\nExecution halted"), "Rscript exited with 1"),
    (
        command("julia was killed by signal 9\n\x1b[31mERROR:\x1b[0m dim 3"),
        "ERROR: dim 3 (julia was killed by signal 9)",
    ),
    (command("printed no result: nothing.\nstdout ended with: x"), "printed no result: nothing."),
    (command("cannot start 'Rscript': No such file"), "cannot start 'Rscript': No such file"),
    ((None, None), "Error"),
    (("ValueError", ""), "ValueError"),
]


@pytest.mark.parametrize(("failure", "line"), ONE_LINE)
def test_a_failure_is_one_line_that_says_what_happened(failure: tuple[str, str], line: str) -> None:
    assert failure_line(*failure) == line


def test_a_long_message_is_cut() -> None:
    line = failure_line(*raised(ValueError("x" * 9000)))
    assert len(line) == LINE_CHARS
    assert line.startswith("ValueError: xxx")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("no convergence in 20 steps", "no convergence in 3 steps", True),
        ("loss is nan at 1e-4", "loss is -inf at .5", True),
        ("no file /tmp/a1b2c3d4e5f60718/x", "no file /tmp/00ffa1b2c3d4e5f6/x", True),
        ("<fit at 0x7f01>", "<fit at 0x7fff>", True),
        ("<object objec...x7f893434cbb0>", "<object objec...x7f89343aaaaa>", True),
        ("shape [1, 2, 3]", "shape [1 2]", True),
        ("fold3.csv is empty", "fold12.csv is empty", True),
        ("no convergence", "no memory", False),
        ("bad column a", "bad column b", False),
        ("added", "acceded", False),
    ],
)
def test_failures_that_differ_in_their_numbers_alone_have_one_cause(one: str, other: str, *, same: bool) -> None:
    assert (cause(*raised(ValueError(one))) == cause(*raised(ValueError(other)))) is same


def test_an_errors_type_and_a_commands_exit_code_are_part_of_its_cause() -> None:
    assert cause(*raised(ValueError("x"))) != cause(*raised(KeyError("x")))
    assert cause("CommandFailedError", "sh exited with 9") != cause("CommandFailedError", "sh exited with 3")
    assert cause("ProcessExit", "Its process ended with exit code 3.") != cause(
        "ProcessExit", "Its process ended with exit code 4."
    )


def test_groups_come_by_their_count_with_the_first_points_line_and_id() -> None:
    groups = failure_groups(
        [
            ("p1", "OSError", "OSError: disk"),
            ("p2", "ValueError", "ValueError: 3 is odd"),
            *(("p3", "ValueError", "ValueError: 5 is odd") for _ in range(7)),
            ("p4", "KeyError", "KeyError: 'a'"),
        ]
    )
    assert [(g.cause, g.count, g.line, g.point_id) for g in groups] == [
        ("ValueError: # is odd", 8, "ValueError: 3 is odd", "p2"),
        ("OSError: disk", 1, "OSError: disk", "p1"),
        ("KeyError: 'a'", 1, "KeyError: 'a'", "p4"),
    ]


def test_beyond_so_many_texts_failures_are_counted_and_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causes, "MAX_TEXTS", 2)
    groups = failure_groups((f"p{n}", "ValueError", f"ValueError: {'abcd'[n]}") for n in (0, 1, 2, 3, 0))
    assert [(g.cause, g.count) for g in groups] == [
        ("ValueError: a", 2),
        ("ValueError: b", 1),
        (causes.NOT_READ, 2),
    ]
