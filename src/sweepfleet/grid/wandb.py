"""W&B's sweep files: their distributions, their command macros, and the keys that are ignored.

Meanings are those of W&B's `sweeps` package (config/schema.json, grid_search.py) and of its agent's
`create_sweep_command_args`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sweepfleet.grid.plan import Value
from sweepfleet.grid.report import Report
from sweepfleet.grid.scalars import CORE
from sweepfleet.grid.spec import GridFile, ParameterSpec
from sweepfleet.grid.wording import close, show
from sweepfleet.grid.yamlfile import Path

DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")
# Macros that depend on the point: they stay in the command until it is rendered.
POINT_MACROS = (
    "args",
    "args_no_equals",
    "args_no_hyphens",
    "args_no_boolean_flags",
    "args_json",
    "args_append_hydra",
    "args_override_hydra",
    "args_json_file",
)
ENVIRONMENT_VARIABLE = re.compile(r"\$\{envvar:([A-Za-z_][A-Za-z0-9_]*)\}")
_MOST_WORDS = 8  # in one note
_MACRO = re.compile(r"\$\{([^{}]*)\}")
# Keys that only W&B's files have, and macros that only its commands have.
_MARKS = ("program", "project", "entity", "early_terminate", "run_cap", "controller", "kind", "apiVersion")
_MARKING_MACROS = ("${env}", "${interpreter}", "${program}")


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


def is_sweep_file(data: Mapping[str, Value]) -> bool:
    """Whether this is a W&B file: it has a key, a method or a macro of W&B's, and no `run`."""
    if data.get("run") is not None:
        return False
    words = data.get("command")
    macros = isinstance(words, list) and any(word in words for word in _MARKING_MACROS)
    return macros or data.get("method") == "bayes" or any(data.get(mark) is not None for mark in _MARKS)


def numbers_in_laws(data: Mapping[str, Value], odd: dict[Path, tuple[str, Value]]) -> None:
    """Turn `min: 1e-5`, which PyYAML reads as text, into a number: a bound can be nothing else.

    Side effect: changes `data`, and takes the word out of `odd`.
    """
    keys = {key for law in LAWS.values() for key in (*law.needs, *law.takes)}
    for path, spec in _specs(data.get("parameters"), ("parameters",)):
        for key in keys & spec.keys():
            word = spec[key]
            if isinstance(word, str) and CORE.tag(word) in {"int", "float"}:
                spec[key] = CORE.value(word)
                odd.pop((*path, key), None)


def paths(parameters: Mapping[str, ParameterSpec]) -> Iterator[tuple[str, ...]]:
    """The keys that lead to every parameter. At W&B a dot in a key nests nothing."""
    for key, spec in parameters.items():
        if spec.parameters is None:
            yield (key,)
        else:
            yield from ((key, *inner) for inner in paths(spec.parameters))


def _specs(parameters: Value, path: Path) -> Iterator[tuple[Path, dict[str, Value]]]:
    for name, spec in parameters.items() if isinstance(parameters, dict) else ():
        if isinstance(spec, dict):
            yield (*path, name), spec
            yield from _specs(spec.get("parameters"), (*path, name, "parameters"))


def note_words(odd: Mapping[Path, tuple[str, Value]], report: Report) -> None:
    """Warn of words that have another value than in other grid files."""
    words = dict(odd.values())
    if words:
        read = ", ".join(f"`{word}` is {_as_read(word, value)}" for word, value in list(words.items())[:_MOST_WORDS])
        more = f", and {len(words) - _MOST_WORDS} more" if len(words) > _MOST_WORDS else ""
        report.warn(f"Read as W&B reads its files (YAML 1.1): {read}{more}.")


def _as_read(word: str, value: Value) -> str:
    if not isinstance(value, str):
        return show(value).strip("`")
    number = CORE.value(word)
    if not isinstance(number, float):
        return "text"
    mantissa, _, exponent = word.lower().partition("e")
    plain = f"{mantissa}{'' if '.' in mantissa else '.0'}e{exponent if exponent[:1] in '+-' else f'+{exponent}'}"
    return f"text (a number is {plain})" if exponent else "text"


def note_unused(spec: GridFile, report: Report) -> None:
    """Warn of what W&B would do and sweepfleet does not; project and entity are ignored silently."""
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
        if name == "program" and whole is not None:
            report.add(
                path, "`${program}` is used, but no `program` is given.", "Add, for example, program: train.py."
            )
        elif whole is None and name in known:
            remedy = f"Make `${{{name}}}` a word of its own."
            report.add(path, f"`${{{name}}}` is part of a longer word.", remedy)
        elif whole is not None and name not in POINT_MACROS and ENVIRONMENT_VARIABLE.fullmatch(word) is None:
            near = close(name, known)
            meant = f"Did you mean `${{{near}}}`?" if near else "For a variable write `${envvar:NAME}`."
            report.add(path, f"`{word}` is not a macro.", meant)
