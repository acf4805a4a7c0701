"""A checked sweep, as plain frozen data: what grid/ passes to the other rooms."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sweepfleet.grid.plan import Plan


@dataclass(frozen=True, slots=True)
class Target:
    """What computes one point: a Python function, or a command in any language. Exactly one is set."""

    run: str | None = None  # "module:function"
    command: tuple[str, ...] = ()  # words with {parameter} and ${args}-like placeholders
    wandb: bool = False  # the command of one of W&B's sweep files: its script may use `wandb`
    program: str | None = None  # W&B's: the word of the command that names the script
    keys: tuple[tuple[str, ...], ...] = ()  # W&B's: the paths of parameters whose keys have dots in them
    pickle: str | None = None  # a file with the function, relative to the grid's folder; `run` is then only its name

    @property
    def label(self) -> str:
        """The target as text."""
        return self.run if self.run is not None else " ".join(self.command)


@dataclass(frozen=True, slots=True)
class Metric:
    """The number that decides which point is best."""

    name: str
    goal: Literal["minimize", "maximize"] = "minimize"
    over: tuple[str, ...] = ()  # parameters, as a cross-validation's fold, whose values are averaged like replicates

    @property
    def sign(self) -> float:
        """What to multiply a value with, so that lower is better."""
        return 1.0 if self.goal == "minimize" else -1.0

    @classmethod
    def read(cls, found: Any) -> Metric | None:
        """The metric in a JSON file, as `dataclasses.asdict` wrote it; None for anything else."""
        match found:
            case {"name": str(name), "goal": "minimize" | "maximize" as goal, "over": [*over]}:
                return cls(name, goal, tuple(map(str, over)))
            case [str(name), "minimize" | "maximize" as goal]:  # a manifest of an earlier version
                return cls(name, goal)
        return None


# `fork`: one process imports the target, and is copied; `spawn`: each imports it; `auto`: a fork where that is safe.
Start = Literal["auto", "spawn", "fork"]


@dataclass(frozen=True, slots=True)
class Execution:
    """How to run the points: limits, retries and resources. None of it changes what a point is."""

    timeout_s: float | None = None  # for one attempt at one point
    retries: int = 0  # further attempts after the user's code raised, crashed or timed out
    infra_retries: int = 20  # further attempts after the machine or the process was taken away
    max_fails: int | None = None  # stop once this many points have failed in this command
    fail_fast: bool = False  # stop at the first failed point
    max_parallel: int | None = None  # slots used at once, at most
    cpus: int = 1  # cores (and BLAS threads) for one point
    memory_bytes: int | None = None  # a point that grows past this fails
    bundle: int | None = None  # points sent to a slot at once; None: measured
    order: Literal["given", "shuffled"] = "given"
    checkpoint_every_s: float | None = None  # on a cluster, how often a running point's checkpoint is stored
    max_cost_usd: float | None = None  # on a cluster; then it stops
    deadline_s: float | None = None  # on a cluster, from its submission; the number of workers follows it
    log_bytes: int | None = 65536  # kept of what one point prints; None: nothing
    start: Start = "auto"  # how the processes that compute points are started


@dataclass(frozen=True, slots=True)
class Sweep:
    """One grid file, checked and resolved."""

    name: str
    source: Path  # the grid file, absolute
    text: str  # the grid as it will be run, overrides applied: valid YAML that loads to this same sweep
    target: Target
    plan: Plan
    execution: Execution = field(default_factory=Execution)
    metric: Metric | None = None
    files: tuple[str, ...] = ()  # of points, and of its function: as the grid file names them, relative to its folder
    warnings: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()  # conditions of the command line: what it computes of the plan's points

    @property
    def folder(self) -> Path:
        """The grid file's folder: commands run there, and targets may be imported from it."""
        return self.source.parent
