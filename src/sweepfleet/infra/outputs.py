"""What a stack tells its operators: one dataclass, for the program that exports it and for all who read it.

Standard library only, so that reading a stack never loads Pulumi.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any


class OutputsError(Exception):
    """Outputs that are not a stack's of this version; the message says which are missing or of another type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """A stack that is up: where its parts are, by name, id and address."""

    stack: str
    region: str
    endpoint_url: str  # of an AWS-compatible service in AWS's place; "" for AWS
    owner: str
    vpc_id: str
    head_id: str  # of the instance
    head_ip: str  # public: for SSH; empty where it changes
    head_private_ip: str  # where workers find the scheduler
    head_identity: str  # its folder in the bucket: role id and instance id, as AWS's ${aws:userid} has it
    ssh_user: str
    ssh_public_key: str  # of the operators: its text
    head_security_group_id: str
    scheduler_port: int
    bucket: str
    worker_group: str  # the autoscaling group's name
    worker_role_id: str  # a worker's folder in the bucket is this, a colon and its instance id
    worker_zones: tuple[str, ...]
    worker_instance_types: tuple[str, ...]
    max_workers: int
    spot_percent: int
    on_demand_base: int
    worker_egress: str
    head_instance_type: str
    data_volume_id: str
    data_volume_gb: int
    image_id: str  # that new workers boot
    architecture: str  # amd64 or arm64
    package_index: str
    budget_usd: int
    worker_disk_gb: int = 30
    head_address: str = "stays"  # or changes: then EC2 alone has the address, while the head is awake
    head_idle_stop: str = "never"
    on_demand_group: str = ""  # the autoscaling group for when spot fails; "" of a stack from before there was one
    worker_peers: str = ""  # who reaches workers' ports beside the head: workers; older versions' stacks: nobody

    @property
    def worker_groups(self) -> tuple[str, ...]:
        """All groups of workers; whatever empties one must empty all."""
        return tuple(filter(None, (self.worker_group, self.on_demand_group)))

    @classmethod
    def from_json(cls, text: str) -> Outputs:
        """Outputs from `pulumi stack output --json`.

        Raises:
            OutputsError: the text is not JSON, or lacks a field, or a field has another type; all of them are named.
                Further outputs are left aside: a later version may have added them.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise OutputsError(f"not JSON: {error}") from None
        if not isinstance(values, dict):
            raise OutputsError("not a JSON object")
        wrong = []
        found: dict[str, Any] = {}
        for one in dataclasses.fields(cls):
            if one.name not in values and one.default is not dataclasses.MISSING:
                continue  # a stack that an older version made does not have it
            value = values.get(one.name)
            fitted = _fitted(value, str(one.type))
            if fitted is None:
                wrong.append(one.name if one.name not in values else f"{one.name} ({json.dumps(value)[:40]})")
            else:
                found[one.name] = fitted
        if wrong:
            raise OutputsError(f"missing or of another type: {', '.join(wrong)}")
        return cls(**found)

    def to_json(self) -> str:
        """The same, as JSON that `from_json` reads."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


NAMES = tuple(one.name for one in dataclasses.fields(Outputs))


def _fitted(value: Any, kind: str) -> Any:
    """The value as the field has it; None when it is of another type."""
    if kind == "str":
        return value if isinstance(value, str) else None
    if kind == "int":
        # Pulumi's numbers are floating point on the wire
        whole = isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
        return int(value) if whole else None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return None
    return tuple(value)
