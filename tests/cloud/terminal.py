"""A command on a terminal of its own, with somebody who answers its questions."""

from __future__ import annotations

import os
import pty
import select
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

DEADLINE_S = 600


def typed(
    command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], answers: Sequence[tuple[str, str]]
) -> tuple[int, str]:
    """Run it; as soon as the terminal shows the next question, type its answer and Enter, a carriage return.

    Returns:
        the exit code, and all that the terminal showed.

    Raises:
        AssertionError: it ended before all was asked, or takes longer than ten minutes.
    """
    child, terminal = pty.fork()
    if child == 0:
        try:
            os.chdir(cwd)
            os.execvpe(command[0], [str(word) for word in command], dict(env))
        finally:
            os._exit(127)
    shown, waiting, seen = "", list(answers), 0
    deadline = time.monotonic() + DEADLINE_S
    try:
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                said = os.read(terminal, 65536)
            except OSError:  # Linux: the other end is closed
                said = b""
            if not said:
                break
            shown += said.decode(errors="replace")
            if waiting and waiting[0][0] in shown[seen:]:
                seen = len(shown)
                os.write(terminal, f"{waiting.pop(0)[1]}\r".encode())
        else:
            raise AssertionError(f"{command} did not end:\n{shown}")
    finally:
        os.close(terminal)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert not waiting, f"never asked: {waiting}\n{shown}"
    return code, shown
