"""Turns a checked grid file into the blocks of a plan: shared and own parts joined, entries and conditions checked.

`build` is the way in. Mistakes go into the report, and nothing stops at the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sweepfleet.grid.axes import Axis, axes_of, check_name, merged
from sweepfleet.grid.entries import Row, meeting, nearest_value, opened, prefixes_of
from sweepfleet.grid.expressions import Expression, ExpressionError
from sweepfleet.grid.plan import Block, Dimension, Method
from sweepfleet.grid.report import Report
from sweepfleet.grid.rules import Rules, matches, same
from sweepfleet.grid.sampled import MOST_REPEATING, may_repeat
from sweepfleet.grid.spec import BlockSpec, GridFile
from sweepfleet.grid.wording import nearest, show
from sweepfleet.grid.yamlfile import Path

_DEFAULT_SAMPLES: dict[Method, int] = {"random": 100, "sobol": 128}  # Sobol points like powers of two
_MAX_SOBOL = 21_201  # dimensions that scipy's direction numbers reach


@dataclass
class _Part:
    """A block being built: what the file has for it, and what was made of it."""

    spec: BlockSpec
    prefix: Path
    method: Method
    axes: list[Axis]
    extend: list[Row] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)  # its own `include` points

    @property
    def names(self) -> set[str]:
        return {name for axis in self.axes for name in axis.names}

    def axis(self, name: str) -> Axis:
        return next(axis for axis in self.axes if name in axis.names)


class Builder:
    """Makes the blocks of one grid file. `points` are the rows of its points files."""

    def __init__(self, spec: GridFile, *, points: Sequence[Row], broken: set[Path], report: Report) -> None:
        self.spec = spec
        self.report = report
        self.broken = broken
        self.moot: list[Path] = []  # `exclude` entries that an override left nothing to exclude
        self._callable = spec.run is not None
        self._parts = list(self._make_parts())
        self._prefixes = prefixes_of(name for part in self._parts for name in part.names)
        self._points = [opened(row, self._prefixes) for row in points]
        self._included: list[Row] = []
        self._include()
        self._paths = self._collect_names()
        self.names = tuple(self._paths)  # every parameter of every point

    def blocks(self) -> tuple[Block, ...]:
        """The blocks, in order. Mistakes go into the report; with any, the blocks must not be used."""
        self._check_nesting()
        where = self._where(self.spec.where, ())
        self._check_excludes()
        made: list[Block] = []
        for part in self._parts:
            own = self._where(part.spec.where, part.prefix) if part.spec is not self.spec else []
            conditions = [*where, *own]
            axes = self._conditional(part)
            excludes = [entry for entry, _ in self._excludes(part) if entry.keys() <= part.names]
            dimensions = tuple(axis.dimension for axis in axes if axis.dimension is not None)
            samples = self._samples(part)
            self._check_repeating(part, dimensions, samples)
            block = Block(
                method=part.method,
                dimensions=dimensions,
                samples=samples,
                where=tuple(condition.text for condition in conditions),
                exclude=tuple(excludes),
                extend=tuple(part.extend),
            )
            if self._is_something(part):
                made.append(block)
            self._check_cycle(block, part)
            made.extend(_listed(meeting(part.rows, conditions)))
        excludes = [entry for entry, _ in self._entries(self.spec.exclude, ("exclude",))]
        points = [row for row in self._points if not any(matches(entry, row) for entry in excludes if entry)]
        made.extend(_listed(meeting([*points, *self._included], where)))
        self._check_unused_when()
        return tuple(made)

    # What there is

    def _make_parts(self) -> Iterator[_Part]:
        spec, report = self.spec, self.report
        if not spec.grids:
            explicit = not (spec.parameters or spec.zip) and bool(spec.points or spec.include)
            method: Method = "list" if explicit else spec.method or "grid"
            if spec.method == "list" and not (explicit or spec.parameters or spec.zip):
                report.add(
                    ("method",),
                    "With method: list, points come only from `points` and `include`, and there are none.",
                    "Add them, or use method: grid.",
                )
            yield _Part(spec, (), method, self._axes(spec, (), method))
            return
        for number, block in enumerate(spec.grids):
            prefix: Path = ("grids", number)
            method = block.method or spec.method or "grid"
            own = self._axes(block, prefix, method)
            yield _Part(block, prefix, method, merged(self._axes(spec, (), method), own, report))

    def _axes(self, spec: BlockSpec, prefix: Path, method: Method) -> list[Axis]:
        return axes_of(
            spec,
            prefix=prefix,
            method=method,
            callable_target=self._callable,
            broken=self.broken,
            report=self.report,
        )

    def _is_something(self, part: _Part) -> bool:
        if part.axes:
            if part.method == "list":
                self.report.add(
                    (*part.prefix, "method"),
                    "With method: list, parameters are not used.",
                    "Write them as points, or use method: grid.",
                )
            return True
        if part.spec is not self.spec and not part.rows and part.prefix not in self.broken:
            self.report.add(part.prefix, "The block has no parameters.", "Give it some, or remove it.")
        return part.spec is self.spec and not (self.spec.points or self.spec.include)

    def _samples(self, part: _Part) -> int:
        samples = part.spec.samples or self.spec.samples
        if part.method not in _DEFAULT_SAMPLES:
            if samples is not None and part.axes:
                self.report.warn(f"samples is ignored: method {part.method} does not use it.")
            return 0
        if part.method == "sobol" and len(part.axes) > _MAX_SOBOL:
            self.report.add(
                (*part.prefix, "method"), f"Sobol points have at most {_MAX_SOBOL} dimensions.", "Use method: random."
            )
        if samples is None and self.spec.run_cap is None:
            samples = _DEFAULT_SAMPLES[part.method]
            key = "run_cap" if self.spec.program else "samples"
            self.report.warn(
                f"{key} is not set, so {samples} points are drawn. For another number, write {key}: 500, or type "
                f"--set {key}=500."
            )
        caps = [number for number in (samples, self.spec.run_cap) if number is not None]
        return min(caps)

    def _check_repeating(self, part: _Part, dimensions: Sequence[Dimension], samples: int) -> None:
        """Refuse more draws than can be checked for repeats."""
        if samples <= MOST_REPEATING or self.report.problems or not may_repeat(part.method, dimensions):
            return
        path: Path = ("samples",) if self.spec.samples is not None else ("run_cap",)
        if part.spec.samples is not None:
            path = (*part.prefix, "samples")
        remedy = f"Write samples: {MOST_REPEATING} or fewer"
        if all(dimension.distribution is None for dimension in dimensions):
            remedy += ", or use method: grid, which has every combination"
        self.report.add(
            path,
            f"{samples:,} samples are too many: where a draw may repeat an earlier one, at most "
            f"{MOST_REPEATING:,} can be drawn.",
            f"{remedy}.",
        )

    # Entries: exclude, include, points

    def _entries(self, entries: Sequence[Row], path: Path) -> list[tuple[Row, Path]]:
        """The entries that could be read, each with its path."""
        found = [(opened(entry, self._prefixes), (*path, number)) for number, entry in enumerate(entries)]
        return [(entry, here) for entry, here in found if here not in self.broken and here not in self.moot]

    def _excludes(self, part: _Part) -> list[tuple[Row, Path]]:
        shared = self._entries(self.spec.exclude, ("exclude",))
        if part.spec is self.spec:
            return shared
        return [*shared, *self._entries(part.spec.exclude, (*part.prefix, "exclude"))]

    def _check_excludes(self) -> None:
        for entry, path in self._entries(self.spec.exclude, ("exclude",)):
            self._check_exclude(entry, path, self._parts, self._points)
        for part in self._parts:
            if part.spec is not self.spec:
                for entry, path in self._entries(part.spec.exclude, (*part.prefix, "exclude")):
                    self._check_exclude(entry, path, [part], [])

    def _check_exclude(self, entry: Row, path: Path, parts: Sequence[_Part], rows: Sequence[Row]) -> None:
        if not entry:
            self.report.add(path, "The entry is empty.", "Write, for example, {model: lasso, alpha: 100.0}.")
        for name, value in entry.items():
            axes = [part.axis(name) for part in parts if name in part.names]
            held = [row[name] for row in rows if name in row]
            if not axes and not held:
                names = [*self.names, *(other for row in rows for other in row)]
                remedy = nearest(name, list(dict.fromkeys(names)), what="parameters")
                self.report.add((*path, name), f"{show(name)} is not a parameter.", remedy)
                continue
            occurs = any(axis.takes({name: value}) is not False for axis in axes)
            if occurs or any(same(value, one) for one in held):
                continue
            if any(self.report.is_typed(axis.path) for axis in axes):
                self.moot.append(path)  # no mistake: the command line narrowed the parameter
            else:
                known = [*held, *(one for axis in axes for one in axis.values(name))]
                self.report.add(
                    (*path, name), f"{name} never has the value {show(value)}.", nearest_value(value, known)
                )

    def _include(self) -> None:
        """Sort `include` entries into those that add keys to points and those that are points."""
        for part in self._parts:
            if part.spec is not self.spec:
                for entry, path in self._entries(part.spec.include, (*part.prefix, "include")):
                    self._include_one(entry, path, [part], part.rows)
        for entry, path in self._entries(self.spec.include, ("include",)):
            self._include_one(entry, path, self._parts, self._included)

    def _include_one(self, entry: Row, path: Path, parts: Sequence[_Part], rows: list[Row]) -> None:
        if not entry:
            self.report.add(path, "The entry is empty.", "Write, for example, {model: ols}.")
        for name in entry:
            check_name(name, (*path, name), callable_target=self._callable, report=self.report)
        extended = [part for part in parts if part.axes and self._extends(entry, part)]
        for part in extended:
            part.extend.append(entry)
        if not extended and entry:
            rows.append(entry)

    def _extends(self, entry: Row, part: _Part) -> bool:
        """GitHub's rule: it has keys to add, and its other values are some combination's that is not excluded."""
        known = {name: value for name, value in entry.items() if name in part.names}
        if all(any(name in other.names for other in self._parts) for name in entry):
            return False
        touched = [axis for axis in part.axes if any(name in known for name in axis.names)]
        if not all(axis.takes(known) for axis in touched):
            return False
        return not any(exclude and matches(exclude, known) for exclude, _ in self._excludes(part))

    # Names and conditions

    def _collect_names(self) -> dict[str, Path]:
        """Every parameter of any point, with the path where it is first defined."""
        paths: dict[str, Path] = {}
        for part in self._parts:
            for axis in part.axes:
                for name in axis.names:
                    paths.setdefault(name, axis.path)
            for entry in (*part.extend, *part.rows):
                paths |= {name: (*part.prefix, "include") for name in entry if name not in paths}
        for row, path in [
            *((row, ("points",)) for row in self._points),
            *((row, ("include",)) for row in self._included),
        ]:
            for name in row:
                if name not in paths:
                    paths[name] = path
                    if path == ("points",):
                        check_name(name, path, callable_target=self._callable, report=self.report)
        return paths

    def _check_nesting(self) -> None:
        for name, path in self._paths.items():
            parts = name.split(".")
            for length in range(1, len(parts)):
                outer = ".".join(parts[:length])
                if outer in self._paths:
                    seen = f"{outer} is both a value and the group of {name}."
                    self.report.add(path, seen, "Rename one of the two.")

    def _where(self, texts: Sequence[str], prefix: Path) -> list[Expression]:
        found: list[Expression] = []
        for number, text in enumerate(texts):
            path = (*prefix, "where", number)
            try:
                if path not in self.broken:
                    found.append(Expression(text, self.names))
            except ExpressionError as error:
                self.report.add(path, error.message, error.remedy)
        return found

    def _conditional(self, part: _Part) -> list[Axis]:
        """The part's axes, each under its condition."""
        axes = part.axes
        whens: dict[str, tuple[str, Path]] = {key: (text, ("when", key)) for key, text in self.spec.when.items()}
        if part.spec is not self.spec:
            whens |= {key: (text, (*part.prefix, "when", key)) for key, text in part.spec.when.items()}
        for key, (text, path) in whens.items():
            try:
                Expression(text, self.names)
            except ExpressionError as error:
                self.report.add(path, error.message, error.remedy)
                continue
            axes = [axis.under(text) if _meant(key, axis) else axis for axis in axes]
            if path[:-2] and not any(_meant(key, axis) for axis in axes):
                self._no_such_axis(key, path, axes)
        return axes

    def _check_unused_when(self) -> None:
        every = [axis for part in self._parts for axis in part.axes]
        for key in self.spec.when:
            if not any(_meant(key, axis) for axis in every):
                self._no_such_axis(key, ("when", key), every)

    def _no_such_axis(self, key: str, path: Path, axes: Sequence[Axis]) -> None:
        for axis in axes:
            if axis.zipped and key in axis.names:
                seen = f"{key} is part of the zip {axis.label}, whose parameters exist together or not at all."
                self.report.add(path, seen, f"Write the condition for `{axis.label}`.")
                return
        if path not in self.broken:
            labels = list(dict.fromkeys(axis.label for axis in axes))
            self.report.add(path, f"{show(key)} is not a parameter.", nearest(key, labels, what="parameters"))

    def _check_cycle(self, block: Block, part: _Part) -> None:
        if not self.report.problems:
            try:
                Rules(block, self.names)
            except ExpressionError as error:
                self.report.add((*part.prefix, "when"), error.message, error.remedy)


def _meant(key: str, axis: Axis) -> bool:
    """Whether a key of `when` names an axis: by its own name, or by a group that its nested parameter is in."""
    return key == axis.label or axis.label.startswith(f"{key}.")


def _listed(rows: list[Row]) -> list[Block]:
    return [Block(method="list", rows=tuple(rows))] if rows else []
