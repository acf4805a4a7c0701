"""Plans as `pulumi preview --json` prints them, made by hand for tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
ROOT = "sweepfleet:infra:Storage$"  # a parent's type stands before a child's


def state(inputs: Mapping[str, Any], *, protect: bool = True) -> dict[str, Any]:
    return {"inputs": dict(inputs), "outputs": dict(inputs), "protect": protect}


def step(
    op: str,
    kind: str,
    *,
    name: str = "it",
    old: Mapping[str, Any] | None = None,
    new: Mapping[str, Any] | None = None,
    was: bool = True,
    protect: bool = True,
    changed: Iterable[str] = (),
) -> dict[str, Any]:
    """One step; `was` and `protect` say whether the resource is protected now and then."""
    said: dict[str, Any] = {"op": op, "urn": f"urn:pulumi:dev::sweepfleet::{ROOT}{kind}::{name}"}
    if old is not None:
        said["oldState"] = state(old, protect=was)
    if new is not None:
        said["newState"] = state(new, protect=protect)
    if changed:
        said["diffReasons"] = list(changed)
    return said


def preview(*steps: Mapping[str, Any], errors: Iterable[str] = (), warnings: Iterable[str] = ()) -> str:
    """What Pulumi prints."""
    diagnostics = [{"severity": "error", "message": f"error: {one}\n"} for one in errors]
    diagnostics += [{"severity": "warning", "message": f"warning: {one}\n"} for one in warnings]
    return json.dumps({"steps": list(steps), "diagnostics": diagnostics, "changeSummary": {}})
