"""A command's program: its working folder, and whether it can be started, checked before any point runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweepfleet.grid.errors import UsageError
from sweepfleet.slot import executable
from sweepfleet.slot.context import Context

HERE = "this machine is"


def placed(context: Context) -> tuple[str, tuple[str, ...]]:
    """The folder that a command starts in, and its words.

    W&B's sweep files run from the project's root, and their program is looked for there, then beside the file; in
    the words it is then a whole path. Raises UsageError when it is in neither place.
    """
    target = context.target
    if not target.wandb:
        return context.folder, target.command
    words, program = target.command, target.program
    if program is None or program not in words or "-m" in words[: words.index(program)]:
        return context.root, words  # with -m it is a module
    if Path(context.root, program).exists():
        return context.root, words
    beside = Path(context.folder, program)
    if not beside.exists():
        looked = " and ".join(dict.fromkeys((context.root, context.folder)))
        raise UsageError(
            f"program: there is no {program} in {looked}. Give its path from the project's root, or put it beside "
            "the sweep file."
        )
    return context.root, tuple(str(beside) if word == program else word for word in words)


def check(words: Sequence[str | None], *, cwd: str, env: Mapping[str, str], where: str = HERE) -> None:
    """Raise UsageError when the program of a command cannot be started.

    Args:
        words: the first words of the command; None for one that is another at each point.
        cwd: where it starts.
        env: whose PATH is searched.
        where: who runs it, as `slot.executable.trouble` takes it.
    """
    for number, word in enumerate(words):
        if word is None or (number and (word.startswith("-") or "=" in word)):
            return
        trouble = _trouble(word, cwd=cwd, path=env.get("PATH", os.defpath), where=where)
        if trouble:
            raise UsageError(f"command: {trouble}")
        if Path(word).name != "env":  # which starts what comes next
            return


def _trouble(program: str, *, cwd: str, path: str, where: str) -> str | None:
    """Why it cannot be started, and what to do; None when it can, as far as can be seen."""
    if not program:
        return "its first word is empty. Write the program to start."
    if os.sep not in program:
        folders = os.pathsep.join(os.path.join(cwd, folder) for folder in path.split(os.pathsep))  # noqa: PTH118
        found = shutil.which(program, path=folders)
        if found is not None:
            return _start_trouble(Path(found), where=where)
        if Path(cwd, program).is_file():
            return f"{program!r} is not on the PATH; there is one in {cwd}: write ./{program}"
        return f"there is no program {program!r} on the PATH. Install it, or write its whole path."
    file = Path(cwd, program)
    if not file.exists():
        where = "" if file == Path(program) else f" (that is {file})"
        return f"there is no program {program}{where}. Paths are relative to {cwd}."
    if file.is_dir():
        return f"{program} is a folder, not a program."
    if not os.access(file, os.X_OK):
        return f"{program} is not executable. Make it so: chmod +x {file}"
    return _start_trouble(file, where=where)


def _start_trouble(file: Path, *, where: str) -> str | None:
    """Why a file cannot be started that is there and executable: its format, or what its first line names."""
    try:
        with file.open("rb") as opened:
            head = opened.read(executable.HEAD_BYTES)
    except OSError:  # a program that may be run and not read
        return None
    if not head.startswith(b"#!"):
        return executable.trouble(file, head, where=where)
    line, end, _ = head[:1000].partition(b"\n")
    first = line + end
    words = first.removeprefix(b"#!").split()
    if not words:
        return None
    interpreter = os.fsdecode(words[0])
    if first.endswith(b"\r\n"):
        return f"{file} has Windows line ends, also after {interpreter}. Convert it: sed -i 's/\\r$//' {file}"
    if not Path(interpreter).exists():
        return f"{file} has the interpreter {interpreter} in its first line, which is not there. Change that line."
    return None
