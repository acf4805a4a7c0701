"""All that a runner child needs to compute any point of a sweep."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from sweepfleet.grid.plan import Plan
from sweepfleet.grid.sweep import Target


@dataclass(frozen=True)
class Context:
    """A sweep as the machines see it: the plan, the target, and the limits of each point."""

    plan_json: str
    target: Target
    folder: str  # the grid file's folder: targets start there, modules are looked for there first
    root: str  # the project's root: modules are looked for there next; W&B's files start there
    metric: str  # the name a target's single number is filed under
    artifacts: str | None = None  # each point may write below <artifacts>/<point id>
    artifacts_url: str | None = None  # where a cluster's worker brings that, as s3://bucket/prefix; None: it stays
    checkpoints: str | None = None  # each point may leave <checkpoints>/<point id> for its next attempt
    checkpoints_url: str | None = None  # where a cluster's worker stores that, as s3://bucket/prefix; None: it stays
    checkpoint_every_s: float | None = None
    timeout_s: float | None = None
    memory_bytes: int | None = None
    infra_retries: int = 20
    cpus: int = 1
    log_bytes: int | None = 65536  # kept of what one point prints; None: nothing
    start: str = "auto"  # how children are started: one of sweepfleet.grid.sweep.Start
    function: str | None = None  # the content of the target's pickle in base64, where other machines lack the file

    def to_json(self) -> str:
        """The context as one line of JSON, for the runner child's standard input."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Context:
        """The context that `to_json` wrote."""
        raw: dict[str, Any] = json.loads(text)
        target = raw.pop("target")
        return cls(
            target=Target(
                run=target["run"],
                command=tuple(target["command"]),
                wandb=target["wandb"],
                program=target["program"],
                keys=tuple(map(tuple, target["keys"])),
                pickle=target["pickle"],
            ),
            **raw,
        )

    @property
    def plan(self) -> Plan:
        """The plan, parsed anew at each call."""
        return Plan.from_json(self.plan_json)

    @cached_property
    def digest(self) -> str:
        """A hash of this context, which bundles carry instead of the context itself."""
        return hashlib.blake2b(self.to_json().encode(), digest_size=8).hexdigest()
