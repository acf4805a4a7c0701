"""The user's code: found, checked before anything runs, and called for one point."""

from __future__ import annotations

import base64
import contextlib
import importlib
import inspect
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.plan import nest
from sweepfleet.grid.space import Point, Space
from sweepfleet.slot import own_packages, piped
from sweepfleet.slot.checkpoints import checkpoint_folder
from sweepfleet.slot.context import Context
from sweepfleet.slot.handed import SCRATCH, Placed, environment, placed_point, why_not_started
from sweepfleet.slot.modules import put_first
from sweepfleet.slot.printed import EXAMPLE, ROWS, NoResultError, read
from sweepfleet.slot.program import HERE, check, placed
from sweepfleet.slot.records import MAX_PAYLOAD_BYTES
from sweepfleet.slot.tables import MAX_ROWS_BYTES
from sweepfleet.slot.wandb_script import Handover, handed

Compute = Callable[[Point], Any]
GIVEN = ("seed", "artifact_dir", "checkpoint_dir", "project_dir")  # passed to a function that names them
_TAKES = "takes_checkpoint"  # an attribute of what `find` returns
TAIL_BYTES = 4096
OUT_BYTES = 2 * MAX_PAYLOAD_BYTES  # of standard output, in which the result is looked for
ROWS_BYTES = 2 * MAX_ROWS_BYTES  # of standard output, in which a point's rows are


class CommandFailedError(Exception):
    """A command did not exit with 0, or printed no result."""


def find(context: Context, space: Space) -> Compute:
    """The callable that computes one point.

    Raises UsageError when the target cannot be imported, is not callable, or does not take the grid's
    parameters. Side effect: puts the grid's folder and the project's root on `sys.path`.
    """
    own_packages.add(context.root)
    if context.target.run is None:
        return _command(context, space.names)
    folders = [context.folder, context.root]
    if context.target.pickle is None:
        function = _import(context.target.run, folders)
    else:
        from sweepfleet.slot import by_value  # which a function of a module does without

        put_first(folders)
        path = Path(context.folder, context.target.pickle)
        data = base64.b64decode(context.function) if context.function is not None else by_value.read(path)
        function = by_value.loads(data, run=context.target.run, path=path)
    wants = _check(context.target.run, function, names=space.names)
    return _call(function, wants, dotted=any("." in name for name in space.names), context=context)


def _import(run: str, folders: Sequence[str]) -> Callable[..., Any]:
    module_name, _, attribute = run.partition(":")
    _refuse_taken(run, module_name, folders)
    put_first(folders)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name == missing or module_name.startswith(f"{missing}."):
            looked = " and ".join(dict.fromkeys(folders))
            raise UsageError(
                f"run: {run}: there is no module {missing!r} in {looked}. "
                "Write it as you would import it from there, such as `fit:main` for fit.py beside the grid file."
            ) from error
        raise UsageError(
            f"run: {run}: importing {module_name} needs {missing!r}, which is not installed here. "
            f"Add it to the project, for example: `uv add {missing.partition('.')[0]}`."
        ) from error
    except BaseException as error:
        last = f"{type(error).__name__}: {error}"
        raise UsageError(
            f"run: {run}: importing {module_name} failed with {last}. "
            f'Try it by hand: python -c "import {module_name}"'
        ) from error
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise UsageError(
                f"run: {run}: {module_name} has no {attribute!r}. It has: {_callables(found) or 'no functions'}."
            ) from None
    if not callable(found):
        raise UsageError(f"run: {run}: is a {type(found).__name__}, not a function. Name a function.")
    return found  # type: ignore[no-any-return]


def _refuse_taken(run: str, module_name: str, folders: Sequence[str]) -> None:
    """Raise UsageError for a user's `random.py`: importing it would find the one that is loaded already."""
    loaded = getattr(sys.modules.get(module_name), "__file__", None)
    if loaded is None:
        return
    for folder in folders:
        meant = Path(folder, *module_name.split(".")).with_suffix(".py")
        if meant.exists() and not meant.samefile(loaded):
            raise UsageError(f"run: {run}: {meant} has the same name as another module, {loaded}. Rename your file.")


def _callables(module: Any) -> str:
    found = getattr(module, "__dict__", {})
    return ", ".join(sorted(n for n, v in found.items() if callable(v) and not n.startswith("_"))[:20])


def _check(run: str, function: Callable[..., Any], *, names: Sequence[str]) -> tuple[str, ...]:
    """The names of `GIVEN` that the function takes. Raises UsageError when it does not take the grid's parameters."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some C functions do not tell
        return ()
    keywords = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    given = dict.fromkeys(name.partition(".")[0] for name in names)
    unknown = [] if takes_any else [name for name in given if name not in keywords]
    required = [name for name, parameter in keywords.items() if parameter.default is parameter.empty]
    required += [n for n, p in signature.parameters.items() if p.kind is p.POSITIONAL_ONLY and p.default is p.empty]
    missing = [name for name in required if name not in given and name not in GIVEN]
    problems = []
    if unknown:
        how = (
            "" if all(name.isidentifier() for name in unknown) else " (names with signs: take them with **parameters)"
        )
        problems.append(f"it does not take {', '.join(unknown)}, which the grid has{how}")
    if missing:
        problems.append(f"it needs {', '.join(missing)}, which the grid does not have")
    if problems:
        raise UsageError(
            f"run: {run}{signature}: {'; '.join(problems)}. The grid and the function must have the same parameters."
        )
    return tuple(name for name in GIVEN if name in keywords and name not in given)


def _call(function: Callable[..., Any], wants: Sequence[str], *, dotted: bool, context: Context) -> Compute:
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
        function = _to_its_end(function)
    seed, artifact_dir, checkpoint_dir, project = (name in wants for name in GIVEN)
    if not (wants or dotted):
        return lambda point: function(**point.params)
    root = Path(context.root)

    def compute(point: Point) -> Any:
        keywords = nest(point.params) if dotted else dict(point.params)
        if seed:
            keywords["seed"] = point.seed
        if project:
            keywords["project_dir"] = root
        if not (artifact_dir or checkpoint_dir):
            return function(**keywords)
        with contextlib.ExitStack() as stack:
            if artifact_dir:
                keywords["artifact_dir"] = stack.enter_context(artifact_folder(context.artifacts, point.id))
            if checkpoint_dir:
                keywords["checkpoint_dir"] = stack.enter_context(checkpoint_folder(context.checkpoints, point.id))
            return function(**keywords)

    setattr(compute, _TAKES, checkpoint_dir)
    return compute


def takes_checkpoint(context: Context, compute: Compute) -> bool:
    """Whether what `find` has found is given a checkpoint's folder: a function that names it, and every command."""
    return context.target.run is None or getattr(compute, _TAKES, False)


def _to_its_end(function: Callable[..., Any]) -> Callable[..., Any]:
    """An `async def` as a function that runs it in an event loop of its own."""
    import asyncio

    def run(**keywords: Any) -> Any:
        return asyncio.run(function(**keywords))

    return run


@contextlib.contextmanager
def artifact_folder(artifacts: str | None, point_id: str) -> Iterator[Path]:
    """Context with a point's artifact folder; it stays if the point wrote into it, unless the run keeps none."""
    if artifacts is None:
        with tempfile.TemporaryDirectory(
            prefix=f"artifacts-{point_id}-", dir=os.environ.get(SCRATCH), ignore_cleanup_errors=True
        ) as name:
            yield Path(name)
        return
    folder = Path(artifacts, point_id)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):  # it stays when something has been written
            folder.rmdir()


def _command(context: Context, names: Sequence[str]) -> Compute:
    from sweepfleet.grid.command import (  # which brings the YAML reader: a function's child starts faster without
        fixed,
        render,
    )

    cwd, command = placed(context)
    where = HERE if context.artifacts_url is None else "the workers are"
    check([fixed(word, env=os.environ, names=names) for word in command[:2]], cwd=cwd, env=os.environ, where=where)

    def compute(point: Point) -> Any:
        with (
            artifact_folder(context.artifacts, point.id) as artifacts,
            checkpoint_folder(context.checkpoints, point.id) as checkpoint,
            handed(context.target, point, cwd=cwd, artifacts=artifacts) as script,
        ):
            given = placed_point(point, context, artifacts=artifacts, checkpoint=checkpoint)
            with environment(given, context.target.keys) as env:
                return run(given, env | dict(script.env), script)

    def run(point: Placed, env: dict[str, str], script: Handover) -> Any:
        words = render(command, point, env=env, names=names, keys=context.target.keys)
        env.setdefault("PYTHONUNBUFFERED", "1")  # a script that is ended by its timeout has said what it had to say
        to = None if context.log_bytes is None else sys.stderr.buffer
        try:
            ended = piped.run(
                words,
                cwd=cwd,
                env=env,
                out_bytes=ROWS_BYTES + 1,
                err_bytes=TAIL_BYTES,
                to=to,
                watch=ROWS.encode(),
            )
        except (OSError, ValueError) as error:
            raise CommandFailedError(why_not_started(error, words[0], point)) from None
        stderr = ended.stderr.decode(errors="replace")
        if ended.code != 0:
            how = f"exited with {ended.code}" if ended.code > 0 else f"was killed by signal {-ended.code}"
            raise CommandFailedError(f"{words[0]} {how}\n{stderr}".rstrip())
        return script.result(lambda: result_of(ended, stderr=stderr))

    return compute


def result_of(ended: piped.Ended, *, stderr: str = "") -> Any:
    """The result that a command printed: metrics, a number, or (metrics, rows).

    Raises CommandFailedError, with the last lines of both streams.
    """
    stdout = ended.stdout.decode(errors="replace")
    if ended.watched:
        raise CommandFailedError(
            f"printed more than {ROWS_BYTES:,} bytes after {ROWS}, the limit for a point's rows. "
            "Write them into $SWEEPFLEET_ARTIFACT_DIR."
        )
    try:
        return read(stdout, cut=len(ended.stdout) > ROWS_BYTES, end=OUT_BYTES)
    except NoResultError as error:
        seen = "\n".join(stdout[-TAIL_BYTES:].splitlines()[-5:])
        raise CommandFailedError(
            f"printed no result: {error}.\nPrint one JSON object on a line of its own, such as {EXAMPLE}; for one "
            f"metric, a number as the last line.\nstdout ended with: {seen or '(nothing)'}\n{stderr}".rstrip()
        ) from None
