"""Questions at the terminal: only yes is yes, and where nobody can be asked nothing is done."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from invoke.exceptions import Exit

from sweepfleet.grid.errors import UsageError
from sweepfleet.tasks import asking

ASK = """
from sweepfleet.tasks.asking import agreed, can_ask
print(can_ask() and agreed("Sure?"))
"""


@pytest.mark.parametrize(("typed", "outcome"), [(b"y\n", "True"), (b"\n", "False"), (b"\x04", "False")])
def test_only_yes_at_a_terminal_is_yes(typed: bytes, outcome: str, tmp_path: Path) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ASK], stdin=child, stdout=subprocess.PIPE, stderr=child, cwd=tmp_path
    )
    os.close(child)
    assert os.read(parent, 100).startswith(b"Sure? [y/N] ")
    os.write(parent, typed)
    assert process.communicate(timeout=60)[0].decode().strip() == outcome
    os.close(parent)
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("typed", "agreed"),
    [("y\n", True), ("YES\n", True), (" yes \n", True), ("", False), ("n\n", False), ("yess\n", False)],
)
def test_a_question_is_asked_unless_it_is_answered_already(
    monkeypatch: pytest.MonkeyPatch, typed: str, *, agreed: bool
) -> None:
    words = {"unasked": "To continue: --yes", "refused": "Nothing was changed."}
    with pytest.raises(UsageError, match="--yes"):
        asking.confirm("Continue?", yes=False, **words)
    asking.confirm("Continue?", yes=True, **words)
    monkeypatch.setattr(asking, "can_ask", lambda: True)
    monkeypatch.setattr("sys.stdin.readline", lambda: typed)
    if agreed:
        asking.confirm("Continue?", yes=False, **words)
        return
    with pytest.raises(Exit, match=r"Nothing was changed\.") as refused:
        asking.confirm("Continue?", yes=False, **words)
    assert refused.value.code == 2
