"""A study in the rehearsal cloud: Python scripts on a laptop whose cluster is up and has the module that they use."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.rehearsal.cloud import Cloud
from tests.cloud.rehearsed import DEADLINE_S, Laptop

MODULE = "FACTOR = 2\n\n\ndef scaled(a):\n    return FACTOR * a\n"  # study/scale.py


@contextlib.contextmanager
def study(
    tmp_path_factory: pytest.TempPathFactory, *, more: Callable[[Path], None] = lambda _: None
) -> Iterator[Laptop]:
    """A laptop with a cluster of at most two workers. `more` puts modules beside its scripts."""
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        made = Laptop(cloud, tmp_path_factory.mktemp("laptop"))
        (made.path / "study").mkdir()
        (made.path / "study" / "scale.py").write_text(MODULE)
        more(made.path / "study")
        made.commit("A study")
        made.up(maxWorkers=2)
        made.push()
        yield made


def run_script(laptop: Laptop, text: str, *, exit_code: int = 0) -> Any:
    """The last line of a script's output, as JSON; where it is to fail, what it says."""
    process = start_script(laptop, text, stderr=subprocess.PIPE)
    try:
        output, errors = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == exit_code, f"{process.returncode}\n{output}\n{errors}"
    return json.loads(output.splitlines()[-1]) if exit_code == 0 else errors


def start_script(laptop: Laptop, text: str, *, stderr: int) -> subprocess.Popen[str]:
    """A script that runs meanwhile."""
    (laptop.path / "study" / "script.py").write_text(text)
    ends: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": stderr, "text": True}
    command = [sys.executable, "script.py"]
    return laptop.cloud.laptop.popen(command, cwd=laptop.path / "study", env=laptop.env, **ends)
