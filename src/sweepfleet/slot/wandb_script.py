"""Scripts of W&B sweep files: `wandb` gives them the point, and what they log is the result.

What W&B's own agent does: `WANDB_SWEEP_PARAM_PATH` names a file of `wandb_version: 1` and `name: {value: ...}`, from
which `wandb.init()` fills `wandb.config`. Without an account: `WANDB_MODE=offline`, unless the user set it. What the
script logged is read from the run's log (`slot.wandb_log`) when the script has ended, so it does not matter which
interpreter ran it, and a script without `wandb` is none the wiser.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sweepfleet.grid.plan import Value, nest
from sweepfleet.grid.space import Point
from sweepfleet.grid.sweep import Target
from sweepfleet.slot import values, wandb_log
from sweepfleet.slot.handed import SCRATCH

_LATE_S = 10  # for the end of a log, once the script has ended: its writer is another process
_MTIME_S = 5  # how much older than the script a folder may look


class WandbRunError(Exception):
    """A W&B run that was begun and has no result."""


class Handover:
    """The environment of a point's script, and its result."""

    def __init__(
        self, env: Mapping[str, str], *, folder: Path | None = None, elsewhere: tuple[Path, ...] = ()
    ) -> None:
        """`folder` is for wandb's files; a script may name one of `elsewhere` instead (`wandb.init(dir=".")`)."""
        self.env = env
        self._folder = folder
        self._elsewhere = elsewhere
        self._begin_s = time.time()

    def result(self, printed: Callable[[], Any]) -> Any:
        """The metrics that the script logged and printed; only the printed ones when it logged nothing.

        Raises WandbRunError when a run has no end, ended as failed or cannot be read; and whatever `printed` raises,
        when nothing was logged.
        """
        metrics: dict[str, Any] = {}
        for path in sorted(self._logs(), key=lambda path: path.stat().st_mtime_ns):  # of several, the last run counts
            metrics |= _ended(path).metrics()
        if not metrics:
            return printed()
        with contextlib.suppress(Exception):  # nothing printed is a result beside it
            value = printed()
            if isinstance(value, dict):
                return values.metrics(value) | metrics
            if isinstance(value, tuple):  # rows too
                return (values.metrics(value[0]) if isinstance(value[0], dict) else {}) | metrics, value[1]
        return metrics

    def _logs(self) -> Iterator[Path]:
        """The logs of this point's runs: all in its own folder; other folders also have those of other points."""
        if self._folder is not None:
            yield from _logs_in(self._folder)
        sweep_id = self.env.get("WANDB_SWEEP_ID")
        for folder in self._elsewhere if sweep_id else ():
            for path in _logs_in(folder, since_s=self._begin_s - _MTIME_S):
                with contextlib.suppress(wandb_log.LogError, OSError):
                    if wandb_log.read(path).sweep_id == sweep_id:
                        yield path


@contextlib.contextmanager
def handed(target: Target, point: Point, *, cwd: str, artifacts: Path) -> Iterator[Handover]:
    """Context that passes a point to the script of a W&B sweep file; does nothing for other targets.

    wandb's files go to a folder that is removed at the end, or to `<WANDB_DIR>/<point id>-<attempt>` where
    the user set that.
    """
    if not target.wandb:
        yield Handover({})
        return
    env = os.environ
    with tempfile.TemporaryDirectory(prefix="wandb-", dir=env.get(SCRATCH), ignore_cleanup_errors=True) as temporary:
        place = Path(temporary)
        config = place / "config.yaml"
        config.write_text(_config_file(nest(point.params, target.keys)), encoding="ascii")
        attempt = f"{point.id}-{os.urandom(4).hex()}"
        folder = place
        if env.get("WANDB_DIR"):
            folder = Path(cwd, env["WANDB_DIR"], attempt)
            folder.mkdir(parents=True, exist_ok=True)
        more = {"WANDB_DIR": str(folder), "WANDB_SWEEP_PARAM_PATH": str(config)}
        mode = env.get("WANDB_MODE") or "offline"
        if mode in {"offline", "dryrun"}:
            # It tells which logs are this attempt's. Online, W&B would not know such a sweep.
            more |= {"WANDB_MODE": mode, "WANDB_SWEEP_ID": attempt}
            more |= {"WANDB_ERROR_REPORTING": env.get("WANDB_ERROR_REPORTING", "false")}
        elsewhere = tuple(dict.fromkeys(Path(other) for other in (cwd, artifacts)))
        yield Handover(more, folder=folder, elsewhere=elsewhere)


def _config_file(config: Mapping[str, Value]) -> str:
    lines = [f"{_yaml(name)}: {{{_yaml('value')}: {_yaml(value)}}}\n" for name, value in config.items()]
    return "wandb_version: 1\n\n" + "".join(lines)


def _yaml(value: Value) -> str:
    """A value in YAML 1.1's flow style, and in ASCII: wandb opens the file in the locale's encoding."""
    match value:
        case str():
            letters = (c if " " <= c <= "~" and c not in '"\\' else f"\\U{ord(c):08x}" for c in value)
            return f'"{"".join(letters)}"'
        case float() if value != value:  # noqa: PLR0124  (NaN alone differs from itself)
            return ".nan"
        case float() if value in {float("inf"), float("-inf")}:
            return ".inf" if value > 0 else "-.inf"
        case float():
            mantissa, _, exponent = repr(value).partition("e")  # 1e-05 would be a text
            return f"{mantissa}{'' if '.' in mantissa else '.0'}e{exponent}" if exponent else mantissa
        case list():
            return f"[{', '.join(map(_yaml, value))}]"
        case dict():
            return "{" + ", ".join(f"{_yaml(key)}: {_yaml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


def _logs_in(folder: Path, *, since_s: float = 0.0) -> Iterator[Path]:
    """The logs of the runs below a folder that changed since then."""
    for name in ("wandb", ".wandb"):
        with contextlib.suppress(OSError), os.scandir(folder / name) as runs:
            for run in runs:
                named = run.name.startswith(("run-", "offline-run-"))
                if named and not run.is_symlink() and run.stat().st_mtime >= since_s:
                    yield from Path(run.path).glob("run-*.wandb")


def _ended(path: Path) -> wandb_log.RunLog:
    """A log's content, once the run has ended. Raises WandbRunError."""
    last = time.monotonic() + _LATE_S
    while True:
        try:
            log = wandb_log.read(path)
        except (wandb_log.LogError, OSError) as error:
            raise WandbRunError(f"the log of its W&B run cannot be read: {error}") from None
        if log.exit_code is not None:
            break
        if time.monotonic() > last:
            raise WandbRunError(
                "its W&B run was not finished, so some of what it logged may be missing. Let the script end by "
                "itself (not with os._exit), or call wandb.finish() before"
            )
        time.sleep(0.1)
    if log.exit_code:
        raise WandbRunError(f"it finished its W&B run as failed, with exit code {log.exit_code}")
    return log
