"""What a person sees while a sweep runs."""

from __future__ import annotations

import io
import math
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from sweepfleet.grid.sweep import Metric
from sweepfleet.run import bar
from sweepfleet.run import progress as shown
from sweepfleet.run.bar import Bar
from sweepfleet.run.progress import Lines, Silent, Words, observer
from sweepfleet.run.run_progress import Progress
from sweepfleet.run.text import duration, number
from tests.support import space

SPACE = space({"model": ["ridge", "lasso"], "alpha": [0.1, 1 / 3]})


def at(**facts: object) -> Progress:
    """Progress of a command that has run for ten seconds."""
    now_s = time.time()
    base: dict[str, object] = {"total": 1000, "exact": True, "resumed": 0, "slots": 2, "first_submit_s": now_s - 10}
    return Progress(**(base | facts))  # type: ignore[arg-type]


def words(metric: Metric | None = None) -> Words:
    return Words(SPACE, metric)


def text_of(progress: Progress, metric: Metric | None = None, *, width: int = 100) -> str:
    """The bar as it stands on a terminal, without colours."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(Bar(words(metric), console)._draw(progress))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_number_that_matters_is_told() -> None:
    """Done, failed, retried, lost, resumed, rate, time left and efficiency; what is zero is left out."""
    full = at(done=300, failed=20, computed=220, resumed=100, retried=7, losses=3, busy_s=18.0, last_result_s=None)
    full.last_result_s = (full.first_submit_s or 0) + 10
    counts = [text for text, _ in words().counts(full)]
    assert counts == [
        *("300 done", "100 of them before", "20 failed", "7 retried", "3 points run again", "efficiency 90%"),
    ]
    assert [text for text, _ in words().counts(at())] == ["0 done"]
    bar = text_of(full)
    for part in ("32%", "320/1,000", "22 points/s", "31 s left", "20 failed", "efficiency 90%"):
        assert part in bar


def test_before_the_first_result_it_says_that_it_starts() -> None:
    assert words().rate(at()) == "starting"
    assert words().rate(at(running=2)) == ""
    assert words().rate(Progress(total=5, exact=True, resumed=2, done=2)) == "starting"
    assert "0%" in text_of(at())


def test_the_rate_is_of_this_command_and_not_of_what_it_found() -> None:
    """Resumed points were not computed in these ten seconds."""
    assert words().rate(at(done=900, resumed=800, computed=100)).startswith("10 points/s")


def test_an_estimated_total_is_marked_and_cannot_be_overrun() -> None:
    """More points than estimated: no share past 100%, no negative time."""
    over = at(total=100, exact=False, done=150, computed=150)
    bar = text_of(over)
    assert "100%" in bar
    assert "150/~100" in bar
    assert "~0.0 s left" in words().rate(over)


def test_a_sweep_that_stops_says_so_and_promises_no_end() -> None:
    stopping = at(done=5, computed=5, stopping=True)
    assert "left" not in words().rate(stopping)
    assert "stopping; finished points are kept" in text_of(stopping)


@pytest.mark.parametrize(("goal", "value"), [("minimize", "0.25"), ("maximize", "-0.25")])
def test_the_best_point_is_named_with_its_parameters(goal: str, value: str) -> None:
    """The value as it was returned, whatever the goal, and the parameters in the grid's order."""
    metric = Metric("rmse", goal)  # type: ignore[arg-type]
    found = words(metric).best(at(best=(0.25, 1, 1)))
    assert found == f"best rmse {value} at model=ridge alpha=0.3333"
    assert words(metric).best(at()) == ""
    assert words().best(at(best=(0.25, 1, 1))) == ""
    changing = words(metric)
    assert "alpha=0.1" in changing.best(at(best=(0.25, 0, 1)))
    assert "model=lasso" in changing.best(at(best=(0.2, 2, 1)))


def test_parameters_are_shown_as_they_are() -> None:
    """Text in brackets is no markup of the terminal's, and a long list of parameters does not break the bar."""
    long = space({"x": ["[bold]not markup[/bold]", "[/]"], **{f"parameter{n}": [n] for n in range(40)}})
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    bar = Bar(Words(long, Metric("m")), console)
    for index in (0, 1):
        console.print(bar._draw(at(best=(1.0, index, 1))))
    bar.say("[bold]said[/bold]")
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "[bold]not markup[/bold]" in text
    assert "[bold]said[/bold]" in text
    assert max(len(line) for line in text.splitlines()) <= 80


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_the_bar_fits_its_terminal(width: int) -> None:
    full = at(total=10**9, done=123_456_789, failed=1000, computed=10**6, resumed=10**6, retried=10**5, losses=10**4)
    assert all(len(line) <= width for line in text_of(full, width=width).splitlines())


def test_lines_come_now_and_then_and_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """A thousand updates are one line, not a thousand; with time gone by there is another."""
    lines = Lines(words(Metric("rmse")))
    progress = at(done=320, failed=5, computed=325, best=(0.25, 1, 1))
    for _ in range(1000):
        lines.update(progress)
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert re.match(r"325 of 1,000 · 320 done · 5 failed · 32\.5 points/s · 21 s left · best rmse 0\.25 at ", out)
    lines._next_s = 0.0
    progress.exact, progress.done = False, 321
    lines.update(progress)
    assert capsys.readouterr().out.startswith("326 of about 1,000")


def test_while_no_point_ends_a_line_a_minute_says_what_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Long points: nothing new for minutes, but the points that run, and for how long."""
    lines = Lines(words())
    progress = at(done=1, computed=1)
    lines.update(progress)
    capsys.readouterr()
    progress.running, progress.longest_s = 2, 192.0
    lines._next_s = 0.0
    lines.update(progress)
    assert capsys.readouterr().out == ""
    lines._said_s -= shown.QUIET_LINE_S
    lines.update(progress)
    assert "2 running, longest 3 min 12 s" in capsys.readouterr().out
    assert "2 running, longest 3 min 12 s" in text_of(progress)
    assert "running" not in text_of(at(done=1))


def test_the_first_line_waits_a_moment(capsys: pytest.CaptureFixture[str]) -> None:
    """A sweep of a second ends without any."""
    lines = Lines(words())
    with lines.running():
        lines.update(at(done=1, computed=1))
    assert capsys.readouterr().out == ""


def test_a_script_sees_nothing_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json what is said goes to standard error."""
    silent = observer(SPACE, Metric("m"), quiet=True)
    assert isinstance(silent, Silent)
    with silent.running():
        silent.say("a word")
        silent.update(at(done=5))
    assert capsys.readouterr() == ("", "a word\n")


def test_where_there_is_no_terminal_lines_are_written() -> None:
    assert isinstance(observer(SPACE, None, quiet=False), Lines)


def test_the_last_state_stays_on_the_screen() -> None:
    """Whatever was throttled: what the bar shows in the end is how it ended."""
    file = io.StringIO()
    console = Console(file=file, width=100, force_terminal=True, color_system=None)
    bar = Bar(words(), console)
    with bar.running():
        bar.update(at(done=1, computed=1))
        for done in range(2, 1001):
            bar.update(at(done=done, computed=done))
    assert "1,000/1,000" in file.getvalue()
    bar.update(at(done=5))  # after its time it does nothing


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (1.24, "1.2 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (10.4, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3599.7, "1 h"),
        (3600 + 59, "1 h"),
        (5400, "1 h 30 min"),
        (86400 * 3 + 7200, "3 d 2 h"),
        (1e12, "11,574,074 d 1 h"),
    ],
)
def test_a_time_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.floats(0, 1e9))
def test_a_time_is_never_told_wrong(seconds: float) -> None:
    """Read back, it is the time to within its smaller unit."""
    sizes = {"d": 86400, "h": 3600, "min": 60, "s": 1}
    parts = re.findall(r"([\d.,]+) (d|h|min|s)\b", duration(seconds))
    value = sum(float(count.replace(",", "")) * sizes[unit] for count, unit in parts)
    assert math.isclose(value, seconds, rel_tol=0.05, abs_tol=0.051)


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.0123"), (1.5, "1.5"), (99.96, "100"), (123.4, "123"), (195_000.0, "195,000")]
)
def test_a_rate_has_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_an_efficiency_is_told_once_the_run_is_long_enough() -> None:
    for spent_s, told in ((0.5, False), (5.0, True)):
        young = at(done=3, computed=3, busy_s=0.01, first_submit_s=100.0, last_result_s=100.0 + spent_s)
        assert any("efficiency" in text for text, _ in words().counts(young)) == told


def test_efficiency_is_a_share() -> None:
    """Of the slots' time; never more than all of it, whatever clocks say."""
    assert at(busy_s=10.0, first_submit_s=100.0, last_result_s=110.0).efficiency == 0.5
    assert at(busy_s=99.0, first_submit_s=100.0, last_result_s=110.0).efficiency == 1.0
    assert at(first_submit_s=100.0, last_result_s=100.0).efficiency is None
    assert Progress(total=1, exact=True, resumed=0).efficiency is None
    assert bar.REFRESH_S < shown.LINE_S
