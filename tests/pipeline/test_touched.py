"""Before an update is applied, whoever has active runs is told what it does to them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.runs import jobs as runs
from sweepfleet.fleet.stack.folder import StackFolder
from sweepfleet.fleet.stack.gone import DownError, GoneError
from sweepfleet.fleet.stack.pulumi_cli import PulumiCli
from sweepfleet.fleet.stack.pulumi_state import BUCKET, DATA_VOLUME, GROUP, HEAD
from sweepfleet.fleet.stack.stack import Stack
from sweepfleet.fleet.workers import group as workers
from sweepfleet.pipeline.plan import parse
from sweepfleet.pipeline.touched import effects, say_what_is_touched
from tests.fleet.test_runs_far import OUTPUTS
from tests.plans import preview, step

SMALL, LARGE = {"maxSize": 2}, {"maxSize": 10}
ACTIVE = {"it-0a1b2c3": 5, "spare-0a1b2c3": 0}  # workers by group
RESTART = step("update", HEAD, old={"instanceType": "a"}, new={"instanceType": "b"}, changed=["instanceType"])
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "a new head": (step("replace", HEAD, old={}, new={}), "The head is replaced."),
    "another type of the head": (RESTART, "The head is restarted."),
    "other cores of the head": (
        step("update", HEAD, old={}, new={}, changed=["cpuOptions"]),
        "The head is restarted.",
    ),
    "another way to the head's disk": (
        step("update", HEAD, old={}, new={}, changed=["ebsOptimized"]),
        "The head is restarted.",
    ),
    "fewer workers": (
        step("update", GROUP, old=LARGE, new=SMALL, changed=["maxSize"]),
        "At most 2 workers may run: 3 of 5 stop.",
    ),
    "another group": (step("replace", GROUP, old=LARGE, new=LARGE), "5 workers stop."),
    "no data volume": (step("delete", DATA_VOLUME, old={}), "The data volume is deleted"),
    "no bucket": (step("delete", BUCKET, old={}), "The bucket is deleted"),
}
HARMLESS = (
    step("update", HEAD, name="other", old={"tags": {}}, new={"tags": {"a": "b"}}, changed=["tags"]),
    step("update", GROUP, name="other", old=SMALL, new=LARGE, changed=["maxSize"]),
    step(
        "update",
        GROUP,
        name="any",
        old=LARGE,
        new={"maxSize": "04da6b54-80e4-46f7-96ec-b56ff0331ba9"},
        changed=["maxSize"],
    ),
    step("replace", GROUP, name="spare", old=LARGE, new=LARGE),
    step("update", GROUP, name="spare", old=LARGE, new=SMALL, changed=["maxSize"]),
    step("update", "aws:ec2/launchTemplate:LaunchTemplate", old={}, new={}, changed=["userData"]),
)


@pytest.mark.parametrize("about", CASES)
def test_what_stops_or_restarts_something_is_said(about: str) -> None:
    change, said = CASES[about]
    found = list(effects(parse(preview(*HARMLESS, change)), active=ACTIVE))
    assert len(found) == 1
    assert said in found[0]


def test_as_many_workers_as_are_active_may_go_on() -> None:
    fewer = CASES["fewer workers"][0]
    assert list(effects(parse(preview(fewer)), active={"it-0a1b2c3": 2})) == []


def test_what_workers_born_later_take_up_is_not() -> None:
    assert list(effects(parse(preview(*HARMLESS)), active=ACTIVE)) == []


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What is said of a plan with these runs; None: no plan may be made."""

    def of(plan: str | None, names: list[str] | ClusterError) -> list[str]:
        @contextlib.contextmanager
        def head(_: Fleet) -> Iterator[None]:
            if isinstance(names, ClusterError):
                raise names
            yield None

        monkeypatch.setattr(Fleet, "head", head)
        monkeypatch.setattr(Fleet, "awake_head", head)
        monkeypatch.setattr(runs, "names", lambda *_, **__: names)
        monkeypatch.setattr(workers, "members", lambda *_: 5)
        planned = (lambda: pytest.fail("a plan is made")) if plan is None else lambda: (plan, True)
        monkeypatch.setattr(PulumiCli, "plan", lambda *_, **__: planned())
        lines: list[str] = []
        say_what_is_touched(Stack(tmp_path, OUTPUTS.stack, PulumiCli(tmp_path), print), say=lines.append)
        return lines

    StackFolder(tmp_path, OUTPUTS.stack).keep(OUTPUTS)
    return of


def test_active_runs_are_named_with_what_becomes_of_them(said: Callable[..., list[str]]) -> None:
    assert said(preview(RESTART), ["rates", "more"]) == [
        "Active: rates, more.",
        "  The head is restarted. Runs wait for it, and resume by themselves; points in flight may run again.",
    ]
    harmless = "  This update stops no worker and does not restart the head."
    assert said(preview(*HARMLESS), ["rates"]) == ["Active: rates.", harmless]


def test_without_active_runs_nothing_is_said_and_nothing_is_previewed(said: Callable[..., list[str]]) -> None:
    assert said(None, []) == []


def test_a_head_that_does_not_answer_leaves_it_unknown(said: Callable[..., list[str]]) -> None:
    lost = ClusterError("The head does not answer.")
    assert said(preview(RESTART), lost)[0] == "Whether runs are active is unknown: The head does not answer."
    assert said(preview(*HARMLESS), lost) == []


def test_a_head_that_is_gone_has_no_runs(said: Callable[..., list[str]]) -> None:
    """The update says itself what becomes of it."""
    assert said(preview(RESTART), GoneError("AWS has no such head any more.")) == []


def test_a_stack_that_was_taken_down_elsewhere_is_made_again_and_that_is_said(
    said: Callable[..., list[str]],
) -> None:
    assert said("no plan at all", DownError("gone")) == [
        f"The stack {OUTPUTS.stack} was taken down elsewhere. It is made again."
    ]


def test_a_plan_that_cannot_be_made_is_left_to_the_update(said: Callable[..., list[str]]) -> None:
    assert said("error: no such zone", ["rates"]) == []


def test_a_stack_that_is_not_up_or_of_another_version_is_left_to_the_update(tmp_path: Path) -> None:
    lines: list[str] = []
    (tmp_path / ".sweepfleet" / "old").mkdir(parents=True)
    (tmp_path / ".sweepfleet" / "old" / "outputs.json").write_text("{}")
    say_what_is_touched(Stack(tmp_path, "other", PulumiCli(tmp_path), print), say=lines.append)
    say_what_is_touched(Stack(tmp_path, "old", PulumiCli(tmp_path), print), say=lines.append)
    assert lines == []
