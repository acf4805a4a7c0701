"""Console and notebook from outside: what is said of them, and words typed wrongly."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from typing import Any, cast

import pytest

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.remote import Answer, Host
from sweepfleet.fleet.reach.sessions import SCRIPT, Begun, begin, end, idle_seconds, lines
from sweepfleet.fleet.steps import Steps
from sweepfleet.grid.errors import UsageError
from sweepfleet.machine.job import Job
from sweepfleet.machine.session import Session

BEGUN = Begun(Session("console", "a" * 64, 7200, 0.0), new=True, ended="", token="")
JOB = Job("like", "a" * 64, "b", "e", "", "", 0.0, retry_failed=False, workers_needed=3)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400)])
def test_an_idle_time_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert idle_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "-1h", "59s", "0m", "2 hours", "1.5h"])
def test_any_other_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="Write it as 30m, 2h or 1d"):
        idle_seconds(text)


def said(begun: Begun, **more: Any) -> str:
    return "\n".join(lines(begun, **{"stack": "dev", "current": "a" * 64, "asked_idle_s": None} | more))


def test_it_is_said_when_a_session_ends_and_what_it_costs() -> None:
    assert said(BEGUN) == (
        "A new console on the head of dev. It ends 2 h after its last use, or with: inv console --end. Only the "
        "head's time is paid for; workers are paid for while they run."
    )
    old = replace(BEGUN, new=False)
    assert said(old).startswith("The active console on the head of dev.")
    assert "--idle is for a new console: this one keeps 2 h." in said(old, asked_idle_s=60)
    assert "--idle" not in said(BEGUN, asked_idle_s=7200)
    assert said(replace(BEGUN, ended="60 s without a command")).startswith("The console before ended by itself: 60 s")


def test_one_with_another_release_says_how_to_have_the_current_one() -> None:
    assert (
        "It runs the release aaaaaaaaaaaa, and the cluster's is bbbbbbbbbbbb now. For that one: inv console --end, "
        "then inv console" in said(BEGUN, current="b" * 64)
    )


class Head:
    """A head that answers so."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: tuple[str, ...] = ()

    def run(self, *words: str, out: Any, **_: Any) -> Answer:
        self.asked = words
        out.write(self.answer.stdout)
        return self.answer


def test_what_the_head_does_is_shown_and_what_it_answers_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"session": json.loads(BEGUN.session.to_json()), "new": True, "ended": "", "token": "secret", "more": 1}
    head = Head(Answer(f"starting the console\n{json.dumps(answer)}\n", "", 0))
    with Steps(say=print) as steps:
        assert begin(cast(Host, head), "console", idle_s=60, job=JOB, steps=steps) == replace(BEGUN, token="secret")  # noqa: S106
    assert head.asked[-4:] == ("begin", "console", "60", JOB.to_json())
    assert capsys.readouterr().out == "The head is starting the console\n"
    head = Head(Answer('{"active": false}\n', "", 0))
    assert end(cast(Host, head), "console", steps=steps) is False


def test_a_head_without_this_version_says_what_to_push() -> None:
    """As a shell runs it; this machine is no head."""
    done = subprocess.run(["sh", "-uc", SCRIPT, "session", "begin"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("has no console and no notebook. Push this version: inv push\n")


@pytest.mark.parametrize(("code", "kind"), [(2, UsageError), (1, ClusterError)])
def test_what_the_head_refuses_is_an_error_with_its_words(code: int, kind: type[Exception]) -> None:
    head = Head(Answer("", "error: There is no room.\n", code))
    with pytest.raises(kind, match=r"There is no room\.$"), Steps(say=print) as steps:
        begin(cast(Host, head), "console", idle_s=60, job=JOB, steps=steps)
