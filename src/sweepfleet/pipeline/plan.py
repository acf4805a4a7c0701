"""What `pulumi preview --json` says, as values. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.infra.settings import PROJECT

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"  # Pulumi's word for a value that is known only when it is made
QUIET = frozenset({"same", "read", "read-discard", "refresh"})  # steps that change nothing
REPLACING = frozenset({"replace", "create-replacement", "delete-replaced", "discard-replaced"})
STACK = "pulumi:pulumi:Stack"


@dataclass(frozen=True, slots=True)
class State:
    """A resource as it is, or as it is to be."""

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    protect: bool


@dataclass(frozen=True, slots=True)
class Step:
    """What is to happen to one resource."""

    op: str
    urn: str
    old: State | None
    new: State | None
    changed: tuple[str, ...] = ()  # properties

    @property
    def type(self) -> str:
        """E.g. `aws:ec2/instance:Instance`; without the types of its parents."""
        return self.urn.split("::")[2].rpartition("$")[2]

    @property
    def name(self) -> str:
        """As the program named it."""
        return self.urn.split("::", 3)[3]

    @property
    def grouping(self) -> bool:
        """Whether it only holds others together: the stack itself, and this program's components."""
        return self.type == STACK or self.type.startswith(f"{PROJECT}:")

    @property
    def changes(self) -> bool:
        """Whether anything is done to it."""
        return self.op not in QUIET

    @property
    def goes(self) -> bool:
        """Whether what is there now is deleted, for good or for another in its place."""
        return self.op in {"delete", *REPLACING}


@dataclass(frozen=True, slots=True)
class Plan:
    """What an update would do."""

    steps: tuple[Step, ...]
    errors: tuple[str, ...] = ()  # why the preview came to no end
    warnings: tuple[str, ...] = ()

    @property
    def changes(self) -> list[Step]:
        """The steps that do something to what is real, by type and name.

        One for each resource: of a replacement's three, the one that says so.
        """
        found: dict[str, Step] = {}
        for step in self.steps:
            if step.changes and not step.grouping and (step.urn not in found or step.op == "replace"):
                found[step.urn] = step
        return sorted(found.values(), key=lambda step: (step.type.rpartition(":")[2], step.name))


def parse(text: str) -> Plan:
    """A plan from what Pulumi printed.

    Raises:
        ClusterError: that is no plan; with what it is.
    """
    try:
        said = json.loads(text)
        steps = _steps(said.get("steps") or ())
    except (ValueError, KeyError, TypeError, AttributeError):
        seen = text.strip()[:500] or "nothing"
        raise ClusterError(f"`pulumi preview --json` printed no plan, but: {seen}") from None
    diagnostics = [(one.get("severity"), one.get("message", "")) for one in said.get("diagnostics") or ()]
    return Plan(
        steps=steps,
        errors=tuple(dict.fromkeys(_said(message) for severity, message in diagnostics if severity == "error")),
        warnings=tuple(dict.fromkeys(_said(message) for severity, message in diagnostics if severity == "warning")),
    )


def _said(message: str) -> str:
    return message.strip().removeprefix("error: ").removeprefix("warning: ").strip()


def _steps(said: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    changed: dict[str, dict[str, None]] = {}  # a replacement's steps do not all say what it is for
    for one in said:
        if one["urn"].count("::") < 3:
            raise ValueError(one["urn"])
        reasons = [*(one.get("replaceReasons") or ()), *(one.get("diffReasons") or ())]
        changed.setdefault(one["urn"], {}).update(dict.fromkeys(reasons))
    return tuple(
        Step(
            op=one["op"],
            urn=one["urn"],
            old=_state(one.get("oldState")),
            new=_state(one.get("newState")),
            changed=tuple(sorted(changed[one["urn"]])),
        )
        for one in said
    )


def _state(said: Mapping[str, Any] | None) -> State | None:
    if said is None:
        return None
    return State(said.get("inputs") or {}, said.get("outputs") or {}, bool(said.get("protect")))
