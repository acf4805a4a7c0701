"""A sweep that is larger than meant, on a cluster: asked about on the laptop, before anything is submitted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from invoke.config import Config
from invoke.context import Context

from sweepfleet.fleet.runs import on_stack
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.load import loads
from sweepfleet.tasks import pushing, sweeps_on_stack

HUGE = "name: huge\nrun: fit:fit\nparameters: {a: {min: 1, max: 100000}, b: {min: 1, max: 100000}}\n"


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that reach the cluster."""
    names: list[str] = []
    stack = SimpleNamespace(outputs=SimpleNamespace(stack="dev"))
    monkeypatch.setattr(sweeps_on_stack, "open_fleet", lambda _, **__: stack)
    monkeypatch.setattr(on_stack, "check_place", lambda *_: None)
    monkeypatch.setattr(on_stack, "target_line", lambda *_: "Target: the stack dev")
    monkeypatch.setattr(pushing, "release_for", lambda *_, **__: None)
    monkeypatch.setattr(on_stack, "hand_over", lambda _, checked, **__: names.append(checked.name))
    return names


def submit(folder: Path, *, yes: bool) -> None:
    checked = loads(HUGE, source=folder / "grid.yaml")
    flags: dict[str, Any] = {"stack": "dev", "workers": "", "redo": "", "json": False, "detach": True}
    context = Context(Config(overrides={"runs": str(folder / "runs")}))
    sweeps_on_stack.sweep_on_stack(context, checked, root=folder, **flags, yes=yes)


def test_nothing_is_submitted_where_nobody_can_be_asked(tmp_path: Path, submitted: list[str]) -> None:
    with pytest.raises(UsageError, match=r"10,000,000,000 points are left to run. To run them, add --yes."):
        submit(tmp_path, yes=False)
    assert submitted == []


def test_yes_submits_it(tmp_path: Path, submitted: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    submit(tmp_path, yes=True)
    assert submitted == ["huge"]
    assert "Submitted. Watch: inv attach --name huge · Cancel: inv cancel --name huge" in capsys.readouterr().out
