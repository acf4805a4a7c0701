"""Import a target in a process of its own, look at it, and copy it twice: what copies answer shows what it means."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

HOME = Path(__file__).parent.parent
LOOK = """
import importlib, json, os, sys, warnings
from sweepfleet.slot.project_files import Names
from sweepfleet.slot.fork_safety import ImportWatch, renew
from sweepfleet.slot.modules import put_aside

folder, module, expression = sys.argv[1:]
put_aside()
sys.path.insert(0, folder)
watch = ImportWatch(Names(folder=folder, root=folder))
target = importlib.import_module(module)
findings = watch.findings()

def in_a_copy():
    answer, answers = os.pipe()
    warnings.simplefilter("ignore")
    pid = os.fork()
    if pid == 0:
        renew()
        os.write(answers, json.dumps(eval(expression, vars(target))).encode())
        os._exit(0)
    os.close(answers)
    with open(answer) as lines:
        text = lines.read()
    os.waitpid(pid, 0)
    return json.loads(text)

print(json.dumps([findings, [in_a_copy(), in_a_copy()]]))
"""
ANEW = "import json, sys, fit; print(json.dumps(eval(sys.argv[1], vars(fit))))"


class Look(NamedTuple):
    """What was found after an import, and what each of two copies answers."""

    findings: list[str]
    copies: list[Any]


def look(folder: Path, source: str, expression: str = "None", *, threads: int = 1) -> Look:
    """Import `source` in a process of its own, and evaluate `expression` in two copies of it."""
    (folder / "fit.py").write_text(source)
    return look_at(folder, "fit", expression, threads=threads)


def look_at(folder: Path, module: str, expression: str = "None", *, threads: int = 1) -> Look:
    """The same for a module that is there."""
    return Look(*ask(folder, [LOOK, str(folder), module, expression], threads=threads))


def anew(folder: Path, expression: str) -> Any:
    """What a process of its own answers that imports the same target."""
    return ask(folder, [ANEW, expression])


def ask(folder: Path, words: list[str], *, threads: int = 1) -> Any:
    libraries = folder / "site-packages"
    env = {**os.environ, "PYTHONPATH": f"{HOME}:{folder}:{libraries}"}
    env |= {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL")}
    ended = subprocess.run(
        [sys.executable, "-c", *words], cwd=folder, env=env, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(ended.stdout.splitlines()[-1])
