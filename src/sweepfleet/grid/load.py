"""Loads grid files: text becomes a checked sweep, or one error with all mistakes."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sweepfleet.grid.blocks import Builder
from sweepfleet.grid.command import is_known, near_misses, placeholders
from sweepfleet.grid.document import Document, read
from sweepfleet.grid.errors import GridError, Problem, UsageError
from sweepfleet.grid.expressions import Expression, ExpressionError
from sweepfleet.grid.module_names import is_target
from sweepfleet.grid.module_names import remedy as remedy_for
from sweepfleet.grid.plan import Block, Plan, Value
from sweepfleet.grid.points_file import PointsError, read_points
from sweepfleet.grid.report import Report
from sweepfleet.grid.run_names import ALLOWED, is_run_name
from sweepfleet.grid.space import Space
from sweepfleet.grid.spec import GridFile
from sweepfleet.grid.sweep import Execution, Metric, Sweep, Target
from sweepfleet.grid.validate import validate
from sweepfleet.grid.wandb import command_of, note_unused, note_words, paths
from sweepfleet.grid.wording import nearest, show
from sweepfleet.grid.yamlfile import MAX_BYTES, YamlError

_MAX_CAPPED = 100_000  # points of a grid that a run_cap may keep: they are listed one by one


MAX_INDEXES = 2**63 - 1  # an index is a signed 64-bit number in the ledger


def load(path: Path, *, overrides: Sequence[str] = (), where: Sequence[str] = (), name: str | None = None) -> Sweep:
    """The checked sweep of a grid file, with `--set` and `--name` applied.

    `where` chooses what a command computes of its points, and leaves the grid as it is.

    Raises UsageError for a file that cannot be read, and GridError with every problem found in it.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is larger than {MAX_BYTES:,} bytes. Put the rows into a `points` file.")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"{path} cannot be read: {reason}. Name a grid file: --grid grid.yaml") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    return loads(text, source=path, overrides=overrides, where=where, name=name)


def loads(
    text: str,
    *,
    source: Path,
    overrides: Sequence[str] = (),
    where: Sequence[str] = (),
    name: str | None = None,
) -> Sweep:
    """`load` from a text; `source` is the file that it came from. Raises GridError."""
    source = Path(os.path.abspath(source))  # noqa: PTH100  (a link to a grid file keeps its own folder)
    try:
        document = read(text, overrides=overrides)
    except YamlError as error:
        raise GridError(str(source), error.problems) from None
    report = Report(document.root, document.typed)
    for problem in document.problems:
        report.note(problem)
    note_words(document.odd, report)
    spec, broken = validate(document.data, report)
    builder = Builder(spec, points=_points(spec, source, broken, report), broken=broken, report=report)
    sweep = _sweep(spec, builder, document=document, source=source, name=name, report=report)
    _check_chosen(where, builder, report)
    if report.problems:
        raise GridError(str(source), report.problems)
    if document.typed:
        text = document.text(without=builder.moot)
    return replace(sweep, text=text, chosen=tuple(where))


def _check_chosen(conditions: Sequence[str], builder: Builder, report: Report) -> None:
    for condition in conditions:
        try:
            Expression(condition, builder.names)
        except ExpressionError as error:
            report.note(Problem(f"--where {condition}", error.message, error.remedy))


def _sweep(
    spec: GridFile, builder: Builder, *, document: Document, source: Path, name: str | None, report: Report
) -> Sweep:
    """The sweep without its text; valid only when the report is empty."""
    note_unused(spec, report)
    command = command_of(spec, report)
    _check_target(spec, source, builder.broken, report)
    blocks = builder.blocks()
    for number, word in enumerate(command if spec.command is not None else ()):
        for seen, near in near_misses(word, builder.names):
            remedy = f"Did you mean {{{near}}}?"
            report.add(("command", number), f"{{{seen}}} is not a parameter.", remedy)
        for placeholder in placeholders(word, builder.names):
            if not is_known(placeholder, builder.names):
                seen = f"{{{placeholder}}} is not a parameter."
                remedy = nearest(placeholder, builder.names, what="parameters")
                report.add(("command", number), seen, f"{remedy} For the text itself write {{{{{placeholder}}}}}.")
    plan = Plan(
        target=spec.run if spec.run is not None else json.dumps(command, separators=(",", ":")),
        seed=spec.seed,
        replicates=spec.replicates,
        blocks=blocks,
    )
    if not report.problems:
        plan = _capped(plan, spec.run_cap, report)
        if Space(plan).size > MAX_INDEXES:
            seen = f"The grid has {float(Space(plan).size):.2g} points, and the limit is {MAX_INDEXES:.2g}."
            report.add((), seen, "Use method: random or sobol with samples.")
    _check_over(spec, builder.names, plan, report)
    execution = spec.execution
    return Sweep(
        name=_name(spec, source=source, typed=name, wandb=document.wandb, report=report),
        source=source,
        text="",
        target=_target(spec, command, wandb=document.wandb),
        plan=plan,
        execution=Execution(
            timeout_s=execution.timeout,
            retries=execution.retries,
            infra_retries=execution.infra_retries,
            max_fails=execution.max_fails,
            fail_fast=execution.fail_fast,
            max_parallel=execution.max_parallel,
            cpus=execution.resources.cpus,
            memory_bytes=execution.resources.memory,
            bundle=execution.bundle,
            order=execution.order,
            checkpoint_every_s=execution.checkpoint_every,
            max_cost_usd=execution.max_cost,
            deadline_s=execution.deadline,
            log_bytes=execution.log or None,
            start=execution.start,
        ),
        metric=_metric(spec),
        files=(*(points.file for points in spec.points), *([spec.pickle] if spec.pickle else [])),
        warnings=tuple(report.warnings),
    )


def _metric(spec: GridFile) -> Metric | None:
    if spec.metric is None:
        return None
    return Metric(spec.metric.name, spec.metric.goal, tuple(dict.fromkeys(spec.metric.over)))


def _check_over(spec: GridFile, names: Sequence[str], plan: Plan, report: Report) -> None:
    """Report parameters of `metric.over` that do not exist, and warn of zips that it names a part of."""
    over = spec.metric.over if spec.metric is not None else []
    for number, name in enumerate(over):
        if name not in names:
            remedy = nearest(name, names, what="parameters")
            report.add(("metric", "over", number), f"{show(name)} is not a parameter of the grid.", remedy)
    for zipped in (dimension.names for block in plan.blocks for dimension in block.dimensions):
        apart = [name for name in zipped if name not in over]
        if apart and len(apart) < len(zipped):
            report.warn(
                f"metric.over does not name {', '.join(apart)}, which varies together with "
                f"{', '.join(name for name in zipped if name in over)}: the mean is then over one value each. "
                "Name all parameters of the zip."
            )


def _target(spec: GridFile, command: tuple[str, ...], *, wandb: bool) -> Target:
    keys = tuple(path for path in paths(spec.parameters) if any("." in key for key in path)) if wandb else ()
    return Target(run=spec.run, command=command, wandb=wandb, program=spec.program, keys=keys, pickle=spec.pickle)


def _check_target(spec: GridFile, source: Path, broken: set[tuple[str | int, ...]], report: Report) -> None:
    given = [key for key in ("run", "command", "program") if getattr(spec, key) is not None]
    if "run" in given and len(given) > 1:
        report.add((given[1],), f"`run` and `{given[1]}` cannot be used together.", "Remove one of them.")
    if not given and not broken & {("run",), ("command",), ("program",)}:
        remedy = "Write run: module:function, or command: [a, list, of, words]."
        report.add((), "The file does not say what to run.", remedy)
    if spec.pickle is not None:
        if not spec.run:
            report.add(("pickle",), "`run` has to say what the function is called.", "Write run: module:function.")
        return
    if spec.run is not None and not is_target(spec.run, source.parent):
        report.add(("run",), f"{show(spec.run)} is not module:function.", remedy_for(spec.run, source.parent))


def _points(
    spec: GridFile, source: Path, broken: set[tuple[str | int, ...]], report: Report
) -> list[dict[str, Value]]:
    rows: list[dict[str, Value]] = []
    for number, points in enumerate(spec.points):
        path: tuple[str | int, ...] = ("points", number)
        if path in broken:
            continue
        if points.file == "-" or "\0" in points.file:
            report.add(path, f"{show(points.file)} is not a path.", "Write, for example, points: extra.csv.")
            continue
        try:
            rows.extend(read_points(source.parent / points.file, points.types, warn=report.warn))
        except PointsError as error:
            report.add(path, error.message, error.remedy)
    return rows


def _name(spec: GridFile, *, source: Path, typed: str | None, wandb: bool, report: Report) -> str:
    name = typed if typed is not None else spec.name
    if name is None:
        return _plain(_stem(source)) or "sweep"
    if typed is None and not is_run_name(name):
        spaced = "-".join(name.split())
        plain = (_plain(name) or _plain(_stem(source)) or "sweep") if wandb else spaced
        if plain != name and is_run_name(plain):
            report.warn(f"The name {name!r} is changed to {plain!r}, since it is also a folder's name.")
            return plain
    if not is_run_name(name):
        seen = f"{show(name)} cannot be a name: it becomes a folder, runs/<name>."
        remedy = f"Use {ALLOWED}."
        if typed is None:
            report.add(("name",), seen, remedy)
        else:
            report.note(Problem(f"--name {typed}", seen, remedy))
    return name


def _stem(source: Path) -> str:
    return source.parent.name if source.name in {"grid.yaml", "grid.yml"} else source.stem


def _plain(text: str) -> str:
    """The text as a folder's name; empty when no character of it can be used."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()  # a for ä
    return re.sub(r"[^A-Za-z0-9._-]+", "-", letters).strip("-").lstrip("._-")[:100]


def _capped(plan: Plan, cap: int | None, report: Report) -> Plan:
    """The plan's first `cap` points, W&B's run_cap; replicates do not count."""
    if cap is None:
        return plan
    space = Space(Plan(plan.target, plan.seed, 1, plan.blocks))
    if space.size <= cap:
        return plan
    if cap > _MAX_CAPPED:
        seen = f"run_cap can be at most {_MAX_CAPPED:,} where the grid has more points."
        report.add(("run_cap",), seen, "Use method: random with samples.")
        return plan
    rows: list[dict[str, Value]] = []
    for point in space.points(0, space.size):
        rows.append(point.params)
        if len(rows) == cap:
            break
    report.warn(f"run_cap keeps the first {len(rows):,} points.")
    return Plan(plan.target, plan.seed, plan.replicates, (Block(method="list", rows=tuple(rows)),))
