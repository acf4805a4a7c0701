"""The stack's settings: read once, checked as a whole, frozen. Standard library only, for every reader.

`Pulumi.yaml` declares the same keys to Pulumi, with the same types, defaults and descriptions; a test holds
the two together.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweepfleet.infra.checks import check, stack_name, unknown_key
from sweepfleet.infra.problems import Problem, SettingsError

PROJECT = "sweepfleet"


def _key(name: str, help_text: str, default: Any = dataclasses.MISSING) -> Any:
    """A setting: its key in Pulumi's configuration, what it means, and its default."""
    return field(default=default, metadata={"key": name, "help": help_text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a stack is made of. `read` makes one and checks it."""

    ssh_cidrs: tuple[str, ...] = _key(
        "sshCidrs", "IPv4 networks that may reach the head by SSH, e.g. your own address as 203.0.113.7/32."
    )
    ssh_public_key: str = _key(
        "sshPublicKey",
        "Your SSH public key: its text, or the path of its .pub file.",
        "~/.ssh/id_ed25519.pub",
    )
    owner: str = _key("owner", "Who is responsible for the cluster; a tag on everything in it.", "unset")
    vpc_cidr: str = _key(
        "vpcCidr",
        "The cluster's own network: private, from /16 to /25, apart from the networks in sshCidrs.",
        "10.42.0.0/16",
    )
    zones: tuple[str, ...] = _key(
        "zones", "Availability zones, e.g. [us-east-1a, us-east-1b]; empty: the region's first three.", ()
    )
    head_instance_type: str = _key(
        "headInstanceType", "The head's instance type; of the workers' architecture.", "t3.medium"
    )
    head_cpu_credits: str = _key(
        "headCpuCredits",
        "A burstable head (t3, t4g) without CPU credits: standard (is slow) or unlimited (costs more).",
        "standard",
    )
    head_idle_stop: str = _key(
        "headIdleStop",
        "The head stops itself when nothing has needed it for so long, e.g. 30m, 2h, 1d; never: it stays up.",
        "2h",
    )
    head_address: str = _key(
        "headAddress",
        "The head's public address: changes (only while it is up; free at rest) or stays (3.65 USD a month).",
        "changes",
    )
    data_volume_gb: int = _key(
        "dataVolumeGb", "The head's data volume for runs, in GB; it can grow, but not shrink.", 50
    )
    worker_instance_types: tuple[str, ...] = _key(
        "workerInstanceTypes",
        "Instance types for workers, all of one architecture; more types find spot capacity sooner.",
        ("c7i.xlarge", "c7a.xlarge", "c6i.xlarge", "c6a.xlarge", "m7i.xlarge", "m6i.xlarge"),
    )
    max_workers: int = _key("maxWorkers", "The largest number of workers at a time.", 10)
    spot_percent: int = _key(
        "spotPercent", "Share of the workers beyond onDemandBase that are spot instances, 0 to 100.", 100
    )
    on_demand_base: int = _key("onDemandBase", "This many workers are on-demand, before any spot instance.", 0)
    spot_patience: str = _key(
        "spotPatience",
        "How long spot may start too few workers before on-demand ones take their place, e.g. 10m; or never.",
        "10m",
    )
    worker_disk_gb: int = _key("workerDiskGb", "A worker's disk, in GB: system, code and environment.", 30)
    worker_egress: str = _key(
        "workerEgress",
        "What workers can reach outside: none (S3 only), public (their own public address) or nat (a NAT gateway).",
        "none",
    )
    ami_id: str = _key(
        "amiId", "A machine image of your own, made from Debian 12; empty: Debian's current official image.", ""
    )
    budget_usd: int = _key("budgetUsd", "The most that one sweep may cost, in US dollars.", 100)
    package_index: str = _key(
        "packageIndex",
        "Python package index that the head installs from; without a password.",
        "https://pypi.org/simple",
    )
    permissions_boundary: str = _key(
        "permissionsBoundary",
        "ARN of machines' permissions boundary; empty: the account's sweepfleet-machines; none: no boundary.",
        "",
    )
    endpoint_url: str = _key(
        "endpointUrl", "Endpoint of an AWS-compatible service to use in AWS's place; empty: AWS.", ""
    )


@dataclass(frozen=True, slots=True)
class Key:
    """One setting as Pulumi knows it."""

    name: str  # camelCase, without the project
    attribute: str  # of Settings
    kind: str  # string, integer or array (of strings)
    help: str
    default: Any  # dataclasses.MISSING where there is none

    @property
    def required(self) -> bool:
        """Whether the user must set it."""
        return self.default is dataclasses.MISSING


def _kind(annotation: str) -> str:
    return {"str": "string", "int": "integer"}.get(annotation, "array")


EXAMPLES = {
    "sshCidrs": ("203.0.113.7/32",),
    "zones": ("us-east-1a", "us-east-1b"),
}  # where there is no telling default
KEYS: dict[str, Key] = {
    one.metadata["key"]: Key(one.metadata["key"], one.name, _kind(str(one.type)), one.metadata["help"], one.default)
    for one in dataclasses.fields(Settings)
}


def read(
    values: Mapping[str, str], *, stack: str, region: str, read_file: Callable[[Path], str] = Path.read_text
) -> Settings:
    """Settings from Pulumi's configuration, checked.

    Args:
        values: the project's keys, without the project's name, as `pulumi.Config.get` returns them: an integer
            as digits, an array as JSON. A missing key takes its default.
        stack: its name, which becomes part of the names of what it is made of.
        region: where the stack stands; zones must lie in it.
        read_file: reads the public key's file, when a path is given.

    Raises:
        SettingsError: with all problems: unknown and missing keys, wrong types, and whatever `checks.check` finds.
    """
    problems = [*stack_name(stack), *(unknown_key(name, KEYS) for name in values if name not in KEYS)]
    found: dict[str, Any] = {}
    for key in KEYS.values():
        if key.name in values:
            value = _typed(key, values[key.name])
        elif key.required:
            value = Problem(key.name, f"is not set. {key.help}", EXAMPLES[key.name])
        else:
            value = key.default
        if isinstance(value, Problem):
            problems.append(value)
        else:
            found[key.attribute] = value
    if "ssh_public_key" in found:
        text = _key_text(found.pop("ssh_public_key"), read_file)
        if isinstance(text, Problem):
            problems.append(text)
        else:
            found["ssh_public_key"] = text
    problems += check(found, region=region)
    if problems:
        raise SettingsError(problems)
    return Settings(**found)


def _key_text(given: str, read_file: Callable[[Path], str]) -> str | Problem:
    """The public key's text: as given, or out of the file whose path was given."""
    if " " in given.strip() or "\n" in given or not given:
        return given.strip()
    try:
        return read_file(Path(given).expanduser()).strip()
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        said = getattr(error, "strerror", None) or "is not a text file"
        return Problem(
            "sshPublicKey",
            f"{given} cannot be read ({said}). Make a key pair with `ssh-keygen -t ed25519`, or name yours.",
            "~/.ssh/id_ed25519.pub",
        )


def _typed(key: Key, text: str) -> Any | Problem:
    """A value of the key's kind, or what is wrong with it."""
    if key.kind == "string":
        return text.strip()
    if key.kind == "integer":
        try:
            return int(text)
        except ValueError:
            return Problem(key.name, f"`{text}` is not a whole number.", str(key.default))
    try:
        items = json.loads(text)
    except ValueError:
        items = None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        return Problem(key.name, f"`{text}` is not a list of texts.", EXAMPLES.get(key.name) or key.default)
    return tuple(item.strip() for item in items)
