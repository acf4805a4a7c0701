"""What Pulumi's state of a stack holds, as values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Types of resources, as Pulumi names them.
HEAD = "aws:ec2/instance:Instance"
GROUP = "aws:autoscaling/group:Group"
DATA_VOLUME = "aws:ebs/volume:Volume"
BUCKET = "aws:s3/bucket:Bucket"
ROLE = "aws:iam/role:Role"


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource in a stack's state."""

    urn: str
    type: str
    id: str
    protected: bool
    arn: str = ""  # where AWS gives it one
    region: str = ""  # of a provider: where it makes things

    @property
    def name(self) -> str:
        """Its name and type, for a person."""
        return f"{self.urn.rpartition('::')[2]} ({self.type})"


@dataclass(frozen=True, slots=True)
class State:
    """What a stack's state holds."""

    resources: tuple[Resource, ...]
    creating: tuple[str, ...]  # what Pulumi was making when it was killed: it may exist, and its id is not known
    in_flight: frozenset[str] = frozenset()  # types of what is being made, changed, replaced or deleted, or was then

    @classmethod
    def of(cls, exported: Mapping[str, Any]) -> State:
        """Out of what `pulumi stack export` prints."""
        said = exported["deployment"] or {}
        resources, pending = said.get("resources") or (), said.get("pending_operations") or ()
        return cls(
            tuple(_resource(one) for one in resources),
            tuple(_resource(one["resource"]).name for one in pending if one["type"] == "creating"),
            frozenset(one["resource"]["type"] for one in pending)
            | {one["type"] for one in resources if one.get("pendingReplacement") or one.get("delete")},
        )


def _resource(one: Mapping[str, Any]) -> Resource:
    return Resource(
        one["urn"],
        one["type"],
        one.get("id", ""),
        bool(one.get("protect")),
        arn=str((one.get("outputs") or {}).get("arn", "")),
        region=str((one.get("inputs") or {}).get("region", "")),
    )
