"""A command's words for one point: placeholders and W&B's macros filled in. Pure."""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.plan import Value, nest
from sweepfleet.grid.wandb import ENVIRONMENT_VARIABLE, POINT_MACROS

# {{{name}}} is the value in braces, {{name}} is the text {name}, {name} the value; ${name} is the shell's.
_NAME = r"[^\W\d][\w\-/]*(?:\.\w[\w\-/]*)*"
PARAMS_FILE = "SWEEPFLEET_PARAMS_FILE"  # the variable that names a file of the parameters as JSON
_PLAIN = re.compile(_NAME)
_ANY = re.compile(r"(?<![${])\{([^{}\s]+)\}(?!\})")
_POINT_WORDS = ("id", "seed", "replicate", "artifact_dir", "checkpoint_dir", "project_dir")


class PointLike(Protocol):
    """The attributes of a point that a command uses."""

    @property
    def params(self) -> Mapping[str, Value]:
        """The parameters under flat, dotted names."""

    @property
    def id(self) -> str:
        """The point's id."""

    @property
    def seed(self) -> int:
        """The point's seed."""

    @property
    def replicate(self) -> int:
        """Which replicate this is, from 0."""

    @property
    def artifact_dir(self) -> str:
        """The folder for the point's own files."""

    @property
    def checkpoint_dir(self) -> str:
        """The folder for what its next attempt continues from."""

    @property
    def project_dir(self) -> str:
        """The project's root."""


def render(
    command: Sequence[str],
    point: PointLike,
    *,
    env: Mapping[str, str],
    names: Sequence[str] = (),
    keys: Iterable[tuple[str, ...]] = (),
) -> list[str]:
    """The words to start for a point; `env` gives ${envvar:NAME}, `names` are the parameters of all points.

    `keys` are as in `grid.plan.nest`.

    A parameter that the point does not have is an empty text within a longer word; a word that is nothing but
    its placeholder is left out. Raises UsageError for a variable that is not set.
    """
    words: list[str] = []
    token = _token(tuple(names))
    for word in command:
        if word.startswith("${") and word[2:-1] in POINT_MACROS:
            words.extend(_arguments(word[2:-1], point.params, keys, env))
            continue
        alone = token.fullmatch(word)
        if alone is None or alone[4] is None or _lookup(alone[4], point) is not None:
            words.append(token.sub(lambda found: _fill(found, point, env), word))
    return words


def fixed(word: str, *, env: Mapping[str, str], names: Sequence[str] = ()) -> str | None:
    """A word that is the same for every point, or None. Raises UsageError for a variable that is not set."""
    if (word.startswith("${") and word[2:-1] in POINT_MACROS) or any(placeholders(word, names)):
        return None
    return _token(tuple(names)).sub(lambda found: _variable(found[1], env) if found[1] else f"{{{found[3]}}}", word)


def placeholders(word: str, names: Sequence[str] = ()) -> Iterator[str]:
    """The names in braces in a word; those with further signs, such as {+trainer.lr}, where they are in `names`."""
    return (found[2] or found[4] for found in _token(tuple(names)).finditer(word) if found[2] or found[4])


def near_misses(word: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Text in braces that is not a placeholder but looks like a parameter's name with signs; and that name."""
    signed = _signed(names)
    for found in _ANY.finditer(word) if signed else ():
        if found[1] not in signed and not _PLAIN.fullmatch(found[1]):
            yield from ((found[1], near) for near in difflib.get_close_matches(found[1], signed, n=1, cutoff=0.8))


@functools.lru_cache(maxsize=16)
def _token(names: tuple[str, ...]) -> re.Pattern[str]:
    """Placeholders and variables. A brace around other signs is a program's own, but for the names that there are."""
    name = "|".join([*map(re.escape, sorted(_signed(names), key=len, reverse=True)), _NAME])
    return re.compile(
        rf"{ENVIRONMENT_VARIABLE.pattern}"
        rf"|(?<!\$)(?:\{{\{{\{{({name})\}}\}}\}}|\{{\{{({name})\}}\}}|\{{({name})\}})"
    )


def _signed(names: Iterable[str]) -> list[str]:
    """The names with signs that a brace does not make a placeholder of by itself; what they are nested in, too."""
    parts = (name.split(".") for name in names)
    every = dict.fromkeys(".".join(part[:length]) for part in parts for length in range(1, len(part) + 1))
    return [name for name in every if not _PLAIN.fullmatch(name)]


def is_known(name: str, names: Sequence[str]) -> bool:
    """Whether a placeholder is known: a parameter, a group of nested ones, or a variable of every point."""
    return name in names or name in _POINT_WORDS or any(other.startswith(f"{name}.") for other in names)


def _variable(name: str, env: Mapping[str, str]) -> str:
    if name not in env:
        raise UsageError(
            f"The command uses ${{envvar:{name}}}, and the environment variable {name} is not set. "
            f"Set it: export {name}=..."
        )
    return env[name]


def _fill(found: re.Match[str], point: PointLike, env: Mapping[str, str]) -> str:
    variable, in_braces, literal, name = found.groups()
    if variable is not None:
        return _variable(variable, env)
    if literal is not None:
        return f"{{{literal}}}"
    text = _lookup(in_braces or name, point) or ""
    return f"{{{text}}}" if in_braces else text


def _lookup(name: str, point: PointLike) -> str | None:
    """The text for a placeholder; None when the point has no such parameter."""
    if name in point.params:
        return _text(point.params[name])
    prefix = f"{name}."
    inner = {key.removeprefix(prefix): value for key, value in point.params.items() if key.startswith(prefix)}
    if inner:
        return _text(nest(inner))
    return str(getattr(point, name)) if name in _POINT_WORDS else None


def _text(value: Value) -> str:
    """A value in a placeholder: words as they are, floats in full, all else as JSON (true, null, [1, 2])."""
    if isinstance(value, str):
        return value
    return repr(value) if isinstance(value, float) else json.dumps(value)


def _arguments(
    macro: str, params: Mapping[str, Value], keys: Iterable[tuple[str, ...]], env: Mapping[str, str]
) -> list[str]:
    """W&B's macros, with values as its agent writes them: Python's str, so True, None and ['a', 'b']."""
    match macro:
        case "args":
            return [f"--{name}={value}" for name, value in params.items()]
        case "args_no_hyphens":
            return [f"{name}={value}" for name, value in params.items()]
        case "args_no_equals":
            return [word for name, value in params.items() for word in (f"--{name}", str(value))]
        case "args_no_boolean_flags":
            return [
                f"--{name}" if value is True else f"--{name}={value}"
                for name, value in params.items()
                if value is not False
            ]
        case "args_json_file":
            return [_variable(PARAMS_FILE, env)]
        case "args_append_hydra":
            return [f"+{name}={value}" for name, value in params.items()]
        case "args_override_hydra":
            return [f"++{name}={value}" for name, value in params.items()]
    return [json.dumps(nest(params, keys))]
