"""What W&B's sweep files mean: their distributions, their command macros, and their keys that we do not use.

Meanings are those of W&B's `sweeps` package (config/schema.json, grid_search.py) and of its agent's
`create_sweep_command_args`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from grid.report import Report, close
from grid.spec import GridFile
from grid.yamlfile import Path

DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")
# Macros that depend on the point: they stay in the command until it is rendered.
POINT_MACROS = ("args", "args_no_equals", "args_no_hyphens", "args_no_boolean_flags", "args_json")
ENVIRONMENT_VARIABLE = re.compile(r"\$\{envvar:([A-Za-z_][A-Za-z0-9_]*)\}")
_MACRO = re.compile(r"\$\{([^{}]*)\}")
_IGNORED = ("project", "entity", "controller", "kind", "api_version")


@dataclass(frozen=True, slots=True)
class Law:
    """A distribution by W&B's name: the keys that it needs, and those that it takes."""

    name: str
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    positive: bool = False  # min must be above 0


_BOUNDS = ("min", "max")
_NORMAL = ("mu", "sigma")
LAWS = {
    law.name: law
    for law in (
        Law("uniform", _BOUNDS),
        Law("int_uniform", _BOUNDS),
        Law("q_uniform", _BOUNDS, ("q",)),
        Law("log_uniform", _BOUNDS),
        Law("log_uniform_values", _BOUNDS, positive=True),
        Law("q_log_uniform", _BOUNDS, ("q",)),
        Law("q_log_uniform_values", _BOUNDS, ("q",), positive=True),
        Law("inv_log_uniform", _BOUNDS),
        Law("inv_log_uniform_values", _BOUNDS, positive=True),
        Law("normal", (), _NORMAL),
        Law("q_normal", (), (*_NORMAL, "q")),
        Law("log_normal", (), _NORMAL),
        Law("q_log_normal", (), (*_NORMAL, "q")),
        Law("beta", (), ("a", "b")),
        Law("q_beta", (), ("a", "b", "q")),
    )
}


def note_unused(spec: GridFile, report: Report) -> None:
    """Warn of what W&B would do and this project does not; its project and entity pass in silence."""
    if spec.early_terminate is not None:
        report.warn("early_terminate is not supported yet: every point runs to its end.")
    if spec.metric is not None and spec.metric.target is not None:
        report.warn("metric.target is not used: the sweep does not stop when a point reaches it.")


def command_of(spec: GridFile, report: Report) -> tuple[str, ...]:
    """The command with all of W&B's macros resolved that do not depend on the point; empty when there is none."""
    if spec.command is None and spec.program is None:
        return ()
    words: Sequence[str] = DEFAULT_COMMAND if spec.command is None else spec.command
    resolved = {"env": "/usr/bin/env", "interpreter": "python"}
    if spec.program is not None:
        resolved["program"] = spec.program
    command: list[str] = []
    for number, word in enumerate(words):
        macro = _MACRO.fullmatch(word)
        if macro is not None and macro[1] in resolved:
            command.append(resolved[macro[1]])
            continue
        _check_macros(word, ("command", number), report)
        command.append(word)
    return tuple(command)


def _check_macros(word: str, path: Path, report: Report) -> None:
    whole = _MACRO.fullmatch(word)
    known = ("env", "interpreter", "program", *POINT_MACROS)
    for macro in _MACRO.finditer(word):
        name = macro[1]
        if name == "args_json_file":
            remedy = "Use `${args_json}`, or read the parameters from $SWEEPFLEET_PARAMS."
            report.add(path, "`${args_json_file}` is not supported.", remedy)
        elif name == "program" and whole is not None:
            report.add(
                path, "`${program}` is used, but no `program` is given.", "Add, for example, program: train.py."
            )
        elif whole is None and name in known:
            remedy = f"Make `${{{name}}}` a word of its own."
            report.add(path, f"`${{{name}}}` stands inside a longer word.", remedy)
        elif whole is not None and name not in POINT_MACROS and ENVIRONMENT_VARIABLE.fullmatch(word) is None:
            near = close(name, known)
            meant = f"Did you mean `${{{near}}}`?" if near else "For a variable write `${envvar:NAME}`."
            report.add(path, f"`{word}` is no macro.", meant)
