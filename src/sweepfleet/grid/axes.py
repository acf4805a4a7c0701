"""The axes of a block: its parameters and zips, named, checked and turned into dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from sweepfleet.grid.identity import encode
from sweepfleet.grid.names import is_parameter
from sweepfleet.grid.parameters import ParameterError, dimension, explicit
from sweepfleet.grid.plan import Dimension, Method, Value
from sweepfleet.grid.report import Report
from sweepfleet.grid.spec import BlockSpec, ParameterSpec
from sweepfleet.grid.wording import show
from sweepfleet.grid.yamlfile import Path

# What a Python target is given by name besides the parameters.
_RESERVED = {
    "seed": "every point already has its own seed; to compute each point with five seeds, write `replicates: 5`",
    "artifact_dir": "that name is the folder for a point's files; give the parameter another name",
    "checkpoint_dir": "that name is the folder for a point's checkpoint; give the parameter another name",
}


@dataclass(frozen=True)
class Axis:
    """A dimension under the name that it has in the file; `dimension` is None where it could not be read."""

    label: str  # the parameter's name, or the zip's
    names: tuple[str, ...]
    path: Path
    dimension: Dimension | None
    zipped: bool = False

    def under(self, condition: str) -> Axis:
        """The same axis, which exists only where a condition is true."""
        made = replace(self.dimension, when=condition) if self.dimension is not None else None
        return replace(self, dimension=made)

    def takes(self, entry: dict[str, Value]) -> bool | None:
        """Whether one of its rows has all values of the entry; None when that is unknown."""
        if self.dimension is None:
            return None
        law = self.dimension.distribution
        given = [(column, loose(entry[name])) for column, name in enumerate(self.names) if name in entry]
        if law is None and len(given) == 1:
            return given[0][1] in self._columns[given[0][0]]
        if law is None:
            return any(all(loose(row[column]) == value for column, value in given) for row in self.dimension.rows)
        value = entry[self.names[0]]
        if law.name != "int_uniform" or law.low is None or law.high is None:
            return None
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and law.low <= value <= law.high and value == value // 1

    def values(self, name: str) -> list[Value]:
        """The written values of one of its names; none for a law."""
        column = self.names.index(name)
        return [row[column] for row in self.dimension.rows] if self.dimension is not None else []

    @cached_property
    def _columns(self) -> list[set[object]]:
        rows = self.dimension.rows if self.dimension is not None else ()
        return [{loose(row[column]) for row in rows} for column in range(len(self.names))]


def loose(value: Value) -> object:
    """A key that is equal for values that a reader takes as equal: 1 and 1.0, but not 1 and true."""
    if isinstance(value, bool) or value is None:
        return ("is", value)
    if isinstance(value, list):
        return ("list", tuple(map(loose, value)))
    if isinstance(value, dict):
        return ("map", frozenset((key, loose(item)) for key, item in value.items()))
    return "nan" if value != value else ("is like", value)  # noqa: PLR0124  (NaN alone differs from itself)


def axes_of(
    spec: BlockSpec, *, prefix: Path, method: Method, callable_target: bool, broken: set[Path], report: Report
) -> list[Axis]:
    """The axes that a block defines itself, parameters first. Mistakes go into the report."""
    axes: list[Axis] = []
    for name, path, parameter in _flat(spec.parameters, (*prefix, "parameters"), "", report):
        made = None
        if check_name(name, path, callable_target=callable_target, report=report) and path not in broken:
            made = _dimension(name, parameter, path=path, method=method, report=report)
        axes.append(Axis(name, (name,), path, made))
    for label, members in spec.zip.items():
        path = (*prefix, "zip", label)
        axes.append(_zip(label, members, path, callable_target=callable_target, broken=broken, report=report))
    _check_twice(axes, report)
    return axes


def check_name(name: str, path: Path, *, callable_target: bool, report: Report) -> bool:
    """Whether a parameter can have this name."""
    first = name.split(".", maxsplit=1)[0]
    if callable_target and first in _RESERVED:
        report.add(path, f"A parameter cannot be called {first}.", f"With `run`, {_RESERVED[first]}.")
    elif not is_parameter(name):
        seen = f"{show(name)} cannot be a parameter's name."
        remedy = "Use letters, digits, _ and - / + @ [ ] ~ : # % $, with dots between the parts of a nested one."
        report.add(path, seen, remedy)
    else:
        return True
    return False


def _flat(
    parameters: dict[str, ParameterSpec], path: Path, prefix: str, report: Report
) -> Iterator[tuple[str, Path, ParameterSpec]]:
    """Every parameter with its dotted name, nested ones in their place."""
    for key, spec in parameters.items():
        here = (*path, key)
        if spec.parameters is None:
            yield prefix + key, here, spec
            continue
        others = sorted(spec.model_fields_set - {"parameters"})
        if others:
            seen = f"`parameters` and `{others[0]}` cannot be used together."
            report.add((*here, others[0]), seen, "Remove one of them.")
        if not spec.parameters:
            report.add(here, "It has no parameters.", "Write some, such as {depth: [2, 4]}.")
        yield from _flat(spec.parameters, (*here, "parameters"), f"{prefix}{key}.", report)


def _dimension(name: str, spec: ParameterSpec, *, path: Path, method: Method, report: Report) -> Dimension | None:
    try:
        return dimension(name, spec, method=method)
    except ParameterError as error:
        report.add(path if error.key is None else (*path, error.key), error.message, error.remedy)
        return None


def _zip(
    label: str,
    members: dict[str, ParameterSpec],
    path: Path,
    *,
    callable_target: bool,
    broken: set[Path],
    report: Report,
) -> Axis:
    columns: dict[str, list[Value]] = {}
    names: list[str] = []
    for name, here, spec in _flat(members, path, "", report):
        names.append(name)
        if not check_name(name, here, callable_target=callable_target, report=report) or here in broken:
            continue
        try:
            columns[name] = explicit(spec)
        except ParameterError as error:
            report.add(here if error.key is None else (*here, error.key), error.message, error.remedy)
    if not members:
        report.add(path, "The zip has no parameters.", "Write, for example, {width: [64, 128], batch: [256, 128]}.")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        lists = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        report.add(path, f"The lists of a zip have different lengths: {lists}.", "Make them equally long.")
    elif len(columns) == len(names) and names:
        rows: dict[str, tuple[Value, ...]] = {}
        for row in zip(*columns.values(), strict=True):
            rows.setdefault(encode(row), row)
        return Axis(label, tuple(names), path, Dimension(tuple(names), rows=tuple(rows.values())), zipped=True)
    return Axis(label, tuple(names), path, None, zipped=True)


def _check_twice(axes: list[Axis], report: Report) -> None:
    seen: dict[str, Axis] = {}
    for axis in axes:
        for name in axis.names:
            if name in seen:
                places = "`parameters` and `zip`" if axis.zipped != seen[name].zipped else "two places"
                if axis.zipped and seen[name].zipped:
                    places = f"the zips {seen[name].label} and {axis.label}"
                report.add(
                    axis.path, f"The parameter {name} is defined twice, in {places}.", "Remove one of the two."
                )
            seen.setdefault(name, axis)
    for axis in axes:
        if axis.zipped and axis.label in seen and not seen[axis.label].zipped:
            report.add(axis.path, f"The zip {axis.label} has the name of a parameter.", "Rename the zip.")


def merged(shared: list[Axis], own: list[Axis], report: Report) -> list[Axis]:
    """The axes of the top level and of a block; the block's win where both define a parameter."""
    mine = {name for axis in own for name in axis.names}
    labels = {axis.label for axis in own if axis.zipped}
    kept: list[Axis] = []
    for axis in shared:
        overlap = [name for name in axis.names if name in mine]
        if len(overlap) == len(axis.names) or (axis.zipped and axis.label in labels):
            continue
        if overlap:
            ours = next(other for other in own if overlap[0] in other.names)
            seen = f"{overlap[0]} is part of the shared zip {axis.label}, and this block sets only that one."
            report.add(ours.path, seen, f"Give the block its own zip {axis.label}.")
            continue
        kept.append(axis)
    return [*kept, *own]
