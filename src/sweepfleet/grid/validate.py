"""Checks a grid file against its models, and turns each mistake into a message.

A mistake is mended on the spot (an almost right key is renamed, a wrong value taken out) and the rest is checked
again: so all mistakes of a file come out at once, and none of them twice.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from sweepfleet.grid.report import MOST_PROBLEMS, Report
from sweepfleet.grid.spec import (
    BlockSpec,
    ExecutionSpec,
    GridFile,
    MetricSpec,
    ParameterSpec,
    PointsSpec,
    ResourcesSpec,
)
from sweepfleet.grid.wording import choices, close, nearest, show
from sweepfleet.grid.yamlfile import Path

_INNER: dict[str, type[BaseModel]] = {
    "metric": MetricSpec,
    "execution": ExecutionSpec,
    "resources": ResourcesSpec,
}


def keys_of(model: type[BaseModel]) -> list[str]:
    """A model's keys as they are written in a file."""
    return [field.alias or name for name, field in model.model_fields.items()]


def model_at(path: tuple[str | int, ...]) -> tuple[type[BaseModel] | None, int | None]:
    """The model of the map at a path, None inside plain values; and the length of the innermost parameter's path."""
    model: type[BaseModel] | None = GridFile
    steps, place, parameter = list(path), 0, None
    while place < len(steps):
        step = steps[place]
        if step == "parameters" or (step == "zip" and model is not ParameterSpec):
            place += 2 if step == "parameters" else 3
            parameter = min(place, len(steps)) if place <= len(steps) else parameter
            model = ParameterSpec if place <= len(steps) else None
            continue
        if step == "points" and model is GridFile:
            place, model = place + 2, PointsSpec if place + 2 <= len(steps) else None
            continue
        if step == "grids" and model is GridFile:
            place, model = place + 2, BlockSpec if place + 2 <= len(steps) else None
            continue
        model = _INNER.get(str(step)) if model in {GridFile, ExecutionSpec} else None
        place += 1
    return model, parameter


_ALLOWED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
}
# Keys of inner maps that people look for further out, and where they belong.
_HOMES = {
    **dict.fromkeys(keys_of(ExecutionSpec), "execution"),
    **dict.fromkeys(keys_of(ResourcesSpec), "execution.resources"),
    **dict.fromkeys(("goal", "target", "over"), "metric"),
}


def validate(data: Any, report: Report) -> tuple[GridFile, set[Path]]:
    """The checked file without its mistakes, and the paths of parameters and entries with mistakes.

    Uses `data` up. Every mistake is in the report.
    """
    broken: set[Path] = set()
    if isinstance(data.get("points"), str | dict):
        data["points"] = [data["points"]]
    while len(report.problems) < MOST_PROBLEMS:  # each round corrects at least one mistake
        try:
            return GridFile.model_validate(data), broken
        except ValidationError as error:
            found = error.errors(include_url=False)[:MOST_PROBLEMS]
            for details in sorted(found, key=lambda details: details["type"] != "extra_forbidden"):
                path = tuple(details["loc"])
                place = _find(data, path[:-1])
                renamed = details["type"] == "missing" and isinstance(place, dict) and path[-1] in place
                if isinstance(place, dict | list) and not renamed:
                    _report(details["type"], details.get("ctx", {}), path, details["input"], data, report)
                    _mend(details["type"], path, data, report, broken)
    return GridFile(), broken


def _report(kind: str, context: dict[str, Any], path: Path, seen: Any, data: Any, report: Report) -> None:
    name = str(path[-1]) if path else ""
    if kind == "extra_forbidden":
        report.add(path, f"`{name}` is not a key here.", _where_to(path, name, data))
        return
    field = _field(path)
    example = f"Write, for example, {field}." if field else "Correct it."
    remedy = context.get("remedy", example)
    if kind == "missing":
        report.add(path[:-1], f"The key `{name}` is missing.", remedy)
    elif kind == "twice":
        report.add(path, context["seen"], remedy)
    else:
        report.add(path, f"{show(seen)} is not allowed; it must be {_allowed(kind, context)}.", remedy)


def _allowed(kind: str, context: dict[str, Any]) -> str:
    if kind in _ALLOWED:
        return _ALLOWED[kind]
    if "allowed" in context:
        return str(context["allowed"])
    if kind == "literal_error":
        return str(context["expected"]).replace("'", "")
    if kind == "greater_than_equal":
        return f"{context['ge']} or more"
    if kind == "less_than_equal":
        return f"{context['le']} or less"
    return "something else"


def _where_to(path: Path, name: str, data: Any) -> str:
    model, parameter = model_at(path[:-1])
    known = keys_of(model) if model is not None else []
    plain = name.replace("-", "_").lower()
    present = _find(data, path[:-1])
    home = _HOMES.get(plain)
    if plain in known and plain not in present:
        return f"Did you mean `{plain}`?"
    if home is not None and home != ".".join(map(str, path[:-1])) and plain not in known and parameter is None:
        return f"Write it under `{home}`: {home.replace('.', ': {')}: {{{plain}: ...}}{'}' * home.count('.')}."
    if model is ParameterSpec and close(name, known) is None:
        return f"The keys here are {choices(known)}; parameters inside {path[-2]} go under `parameters:`."
    return nearest(name, known, what="keys")


def _field(path: Path) -> str | None:
    """The field at a path, with its example."""
    for length in range(len(path), 0, -1):
        model, _ = model_at(path[: length - 1])
        if model is None:
            continue
        for key, field in model.model_fields.items():
            if (field.alias or key) == path[length - 1] and field.examples:
                return f"`{path[length - 1]}: {_flow(field.examples[0])}`"
    return None


def _flow(value: Any) -> str:
    """A small value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return f'"{text}"' if isinstance(value, str) and re.search(r"[{}\[\]*:=<>]", text) and " " in text else text


def _mend(kind: str, path: Path, data: Any, report: Report, broken: set[Path]) -> None:
    """Change `data` as little as possible so that the same mistake does not occur again."""
    parent, name = _find(data, path[:-1]), path[-1] if path else ""
    model, parameter = model_at(path[:-1])
    if kind == "extra_forbidden" and model is not None:
        plain = str(name).replace("-", "_").lower()
        meant = None if plain in _HOMES else close(plain, keys_of(model))
        value = parent.pop(name)
        if meant is not None and meant not in parent:
            parent[meant] = value
            report.renamed[(*path[:-1], meant)] = path
            return
    elif kind == "missing":
        _mend("", path[:-1], data, report, broken)
        return
    _, parameter = model_at(path)
    if parameter is not None:
        path = path[:parameter]
        _find(data, path[:-1])[path[-1]] = {"value": None}
        broken.add(path)
    elif isinstance(parent, list) and isinstance(name, int):
        parent[name] = "True" if path[-2] == "where" else "-" if path[-2] in {"command", "points"} else {}
        broken.add(path)
    elif isinstance(parent, dict):
        parent.pop(name, None)
        parent.pop(str(name).replace("_", "-"), None)
        if name == "method":
            parent["method"] = "random"  # which takes every form, so that no parameter is refused for being in a grid
        broken.add(path)


def _find(data: Any, path: Path) -> Any:
    """The value at a path of plain data; None when it is gone."""
    for part in path:
        if isinstance(data, dict):
            data = data.get(part, data.get(str(part).replace("_", "-")))
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data
