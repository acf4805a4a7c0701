"""What commands that take a while show: a line that changes on a terminal, a line a step elsewhere."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from sweepfleet.fleet.steps import StepLines, Steps
from sweepfleet.machine.environment.build import Builder, BuildError
from tests.support import eventually


def test_without_a_terminal_each_step_is_a_line() -> None:
    """What a step is at is no line of its own: it may change a hundred times a second."""
    out = io.StringIO()
    with Steps(console=Console(file=out, width=40)) as steps:
        steps.step("Sending 0123456789 [with changes], 12.0 MB, which is a long line")
        steps.update("Sending, 3.0 of 12.0 MB")
        steps.say("Done.")
    said = out.getvalue().splitlines()
    assert said == ["Sending 0123456789 [with changes], 12.0 MB, which is a long line", "Done."]


def test_a_step_that_lasts_is_told_again_with_what_it_is_at() -> None:
    out = io.StringIO()
    with Steps(console=Console(file=out, width=80), every_s=0.01) as steps:
        steps.step("Building")
        steps.update("Building: numpy")
        eventually(lambda: out.getvalue().count("Building: numpy (") > 1, "the second sign of life")


def test_a_step_is_told_again_every_so_often_and_not_beside_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that is played: nothing before the first step, and no line that was just printed."""
    out, now_s = io.StringIO(), 0.0
    monkeypatch.setattr("sweepfleet.fleet.steps.time", SimpleNamespace(monotonic=lambda: now_s))
    steps = Steps(console=Console(file=out, width=80), every_s=10.0)
    waits: list[float] = []

    class Ended:
        def wait(self, left_s: float) -> bool:
            nonlocal now_s
            waits.append(left_s)
            if len(waits) == 2:
                now_s += 7
                steps.step("Building")
                now_s += left_s - 7
            else:
                now_s += left_s
            return len(waits) > 4

        def is_set(self) -> bool:
            return len(waits) > 4

    monkeypatch.setattr(steps, "_ended", Ended())
    steps._beat()
    assert waits == [10, 10, 7, 10, 10]
    assert out.getvalue().splitlines() == ["Building", "Building (10 s)", "Building (20 s)"]


def test_a_terminal_has_one_line_that_changes_and_goes() -> None:
    out = io.StringIO()
    with Steps(console=Console(file=out, width=80, force_terminal=True)) as steps:
        steps.step("Packing [all]")
        eventually(lambda: "Packing [all]" in out.getvalue(), "the step")
        steps.update("Packing 3 files")
        eventually(lambda: "Packing 3 files" in out.getvalue(), "its update")
        steps.say("Packed.")
    assert out.getvalue().endswith("\x1b[1A\x1b[2K"), "the last that is written goes up to the line and erases it"


def test_a_machines_lines_are_steps_and_indented_ones_what_a_step_is_at() -> None:
    """However they are cut on their way."""
    said: list[str] = []

    class Heard(Steps):
        def step(self, text: str) -> None:
            said.append(text)

        def update(self, text: str) -> None:
            said.append(f"({text})")

    lines = StepLines(Heard(console=Console(file=io.StringIO())), named=lambda line: f"The head is {line}")
    for part in (
        "  ready\n",
        "building the env",
        "ironment\n  Down",
        "loading numpy\n\nstoring it\n",
        "not yet whole",
    ):
        lines.write(part)
    assert said == [
        "The head is ready",
        "The head is building the environment",
        "(The head is building the environment: Downloading numpy)",
        "The head is storing it",
    ]


def builder(folder: Path, script: str) -> tuple[Builder, list[str]]:
    """One whose uv does as a script says, and what it says itself."""
    program = folder / "uv"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    said: list[str] = []
    return Builder(uv=program, cache=folder, work=folder, index="", say=said.append), said


def test_uvs_own_lines_are_passed_on_while_it_runs(tmp_path: Path) -> None:
    """Without the list of all packages, and without what it prints as its result."""
    found, said = builder(tmp_path, 'echo result; echo "Downloading numpy (15.6MiB)" >&2; echo " + numpy==2.0" >&2')
    found._uv("pip", "install")
    assert said == ["  Downloading numpy (15.6MiB)"]


def test_a_build_that_fails_has_uvs_last_lines(tmp_path: Path) -> None:
    failing, _ = builder(tmp_path, 'for i in $(seq 20); do echo "line $i" >&2; done; exit 3')
    with pytest.raises(BuildError, match=r"uv pip install said:\nline 9\n(.*\n)*line 20$"):
        failing._uv("pip", "install")


def test_a_head_that_nobody_listens_to_finishes_its_work(tmp_path: Path) -> None:
    """The laptop that pushed is switched off: its pipe is broken."""
    reader, writer = os.pipe()
    os.close(reader)
    done = tmp_path / "done"
    code = "from sweepfleet.machine.head.publish import _say\n_say('a')\n_say('b')\n"
    code += f"from pathlib import Path\nPath({str(done)!r}).touch()\n"
    subprocess.run([sys.executable, "-c", code], stdout=writer, check=True, cwd=Path(__file__).parents[2])
    assert done.exists()
