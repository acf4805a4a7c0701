"""The one door to Debian's `aws` command: S3 and the group's size, with this machine's role."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any

from sweepfleet.machine.facts import PATIENCE_TAG, Facts
from sweepfleet.machine.launches import LAUNCH, Activity
from sweepfleet.machine.switch import SWITCH, date_of, switch_time, time_of

DEADLINE_S = 900  # an environment is some hundred megabytes
ACTIVITIES = 20  # the last ones of a group that are looked at
SECONDS = len("2026-11-27T00:00:00")  # of a time as AWS writes it, whatever comes after
WHOLE = 100  # percent
# For the role's credentials: `aws` asks the metadata service once and for one second, and a busy machine is slower.
PATIENCE = {"AWS_METADATA_SERVICE_TIMEOUT": "5", "AWS_METADATA_SERVICE_NUM_ATTEMPTS": "5"}


class AwsError(Exception):
    """AWS refused or did not answer; the message is what `aws` said."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object in the bucket."""

    key: str
    mark: str  # changes with its content
    changed: datetime
    size: int  # in bytes


@dataclass(frozen=True, slots=True)
class Group:
    """The workers' autoscaling groups, taken together."""

    size: int  # that they are to have
    most: int
    members: tuple[str, ...]  # their instances' ids
    spare: int = 0  # of `size`, on-demand ones in the place of spot instances
    spare_members: tuple[str, ...] = ()  # of `members`, those
    patience_s: float | None = None  # until on-demand takes the place of spot; None: never
    tags: Mapping[str, str] = field(default_factory=dict)  # of both


@dataclass(frozen=True, slots=True)
class Machine:
    """An instance."""

    id: str
    instance_type: str
    zone: str
    spot: bool
    launched: str  # as EC2 writes times: later ones are greater


@dataclass(frozen=True, slots=True)
class Aws:
    """Calls of `aws` that this project needs; each raises AwsError."""

    facts: Facts

    def get(self, key: str, file: Path) -> None:
        """Download an object; the file appears whole."""
        self._s3("cp", self._url(key), str(file))

    def put(self, file: Path, key: str) -> None:
        """Upload a file."""
        self._s3("cp", str(file), self._url(key))

    def get_all(self, prefix: str, names: Iterable[str], folder: Path, *, most_bytes: int) -> None:
        """Download small objects of these names under a prefix, all with one call.

        Raises:
            AwsError: some could not be had, or were larger than that; the others are there.
        """
        only = [word for name in names for word in ("--include", name)]
        words = ["s3", "cp", self._url(prefix), str(folder), "--recursive", "--exclude", "*", *only]
        self._run(*words, "--only-show-errors", within=["prlimit", f"--fsize={most_bytes}"])

    def put_all(self, folder: Path, prefix: str) -> None:
        """Upload a folder's files, all with one call."""
        self._s3("cp", str(folder), self._url(prefix), "--recursive")

    def sync(self, folder: Path, prefix: str) -> None:
        """Upload a folder's files; what is there already and the same is left."""
        self._s3("sync", str(folder), self._url(prefix), "--exclude", ".*")

    def exists(self, key: str) -> bool:
        """Whether an object is there; only for a role that may list."""
        return bool(self.list(key))

    def files(self, prefix: str) -> list[Stored]:
        """The objects under a prefix, which ends with a slash, without those in folders there."""
        return self._listed(prefix, "--delimiter", "/")

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is none."""
        self._s3("rm", self._url(key))

    def _listed(self, prefix: str, *words: str) -> list[Stored]:
        words = ("s3api", "list-objects-v2", "--bucket", self.facts.bucket, "--prefix", prefix, *words)
        found = self._json(*words, "--query", "Contents[].[Key,ETag,LastModified,Size]")
        return [Stored(key, mark, datetime.fromisoformat(changed), size) for key, mark, changed, size in found or ()]

    def list(self, prefix: str) -> list[Stored]:  # after the others: its name is a type's in what follows
        """The objects under a prefix."""
        return self._listed(prefix)

    def secret(self, name: str) -> str | None:
        """The text of an SSM parameter, decrypted; None where there is none."""
        try:
            words = ["ssm", "get-parameter", "--name", name, "--with-decryption"]
            return str(self._json(*words, "--query", "Parameter.Value"))
        except AwsError as error:
            if "ParameterNotFound" in str(error):
                return None
            raise

    def group(self) -> Group:
        """The groups of workers as they are now. An on-demand group that is gone has no workers."""
        words = ["autoscaling", "describe-auto-scaling-groups", "--auto-scaling-group-names", *self.facts.groups]
        members = "Instances[?LifecycleState=='InService' || starts_with(LifecycleState, 'Pending')].InstanceId"
        on_demand = "MixedInstancesPolicy.InstancesDistribution.OnDemandPercentageAboveBaseCapacity"
        parts = f"AutoScalingGroupName,DesiredCapacity,MaxSize,{members},{on_demand},Tags[].[Key,Value]"
        found = {one[0]: one[1:] for one in self._json(*words, "--query", f"AutoScalingGroups[].[{parts}]") or ()}
        name, *others = self.facts.groups
        if name not in found:
            raise AwsError(f"AWS has no group {name}")
        size, most, there, percent, _ = found[name]
        spares = [found[other] for other in others if other in found]
        tags = dict(tag for one in found.values() for tag in one[4] or ())
        patience = tags.get(PATIENCE_TAG, "")
        spot = percent is not None and int(percent) < WHOLE
        return Group(
            size=int(size) + sum(int(one[0]) for one in spares),
            most=int(most),
            members=(*(there or ()), *(member for one in spares for member in one[2] or ())),
            spare=sum(int(one[0]) for one in spares),
            spare_members=tuple(member for one in spares for member in one[2] or ()),
            patience_s=float(patience) if spot and patience.isdecimal() else None,
            tags=tags,
        )

    def launches(self, *, spare: bool = False) -> Sequence[Activity]:
        """The last activities of the group, or of the on-demand one: those that started a machine, or failed to."""
        words = ["describe-scaling-activities", "--auto-scaling-group-name", self.facts.groups[int(spare)]]
        query = "Activities[].[StatusCode,StatusMessage,Description,StartTime]"
        found = self._json("autoscaling", *words, "--max-items", str(ACTIVITIES), "--query", query)
        launches = [one for one in found or () if (one[2] or "").startswith(LAUNCH)]
        return [Activity(code, message or said, at[:SECONDS]) for code, message, said, at in launches]

    def machines(self, ids: Collection[str]) -> tuple[Machine, ...]:
        """These instances, as EC2 describes them."""
        if not ids:
            return ()
        parts = "InstanceId,InstanceType,Placement.AvailabilityZone,InstanceLifecycle,LaunchTime"
        words = ["ec2", "describe-instances", "--instance-ids", *ids]
        found = self._json(*words, "--query", f"Reservations[].Instances[].[{parts}]")
        return tuple(Machine(one, kind, zone, market == "spot", at) for one, kind, zone, market, at in found or ())

    def spot_prices(self, types: Collection[str]) -> dict[str, dict[str, float]]:
        """The spot prices of these types now, in US dollars an hour, by type and zone."""
        if not types:
            return {}
        words = [
            "ec2",
            "describe-spot-price-history",
            "--product-descriptions",
            "Linux/UNIX",
            "--instance-types",
            *types,
        ]
        now = self.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        query = "SpotPriceHistory[].[InstanceType,AvailabilityZone,SpotPrice]"
        found: dict[str, dict[str, float]] = {}
        for name, zone, price in self._json(*words, "--start-time", now, "--query", query) or ():
            here = found.setdefault(name, {})
            here[zone] = max(float(price), here.get(zone, 0.0))
        return found

    def end_worker(self, instance_id: str) -> None:
        """End one machine of the group, which has one less from then on."""
        words = ["terminate-instance-in-auto-scaling-group", "--instance-id", instance_id]
        self._run("autoscaling", *words, "--should-decrement-desired-capacity")

    def detach(self, instance_id: str, *, decrement: bool, spare: bool = False) -> None:
        """Take a machine out of the group, or of the on-demand one.

        The group starts another one in its place, or has one less from then on.
        """
        name = self.facts.groups[int(spare)]
        words = ["detach-instances", "--auto-scaling-group-name", name, "--instance-ids", instance_id]
        should = "--should-decrement-desired-capacity"
        self._run("autoscaling", *words, should if decrement else should.replace("should", "no-should", 1))

    def set_group_size(self, size: int, *, spare: bool = False) -> None:
        """Have so many workers in the group, or in the on-demand one."""
        words = ["--auto-scaling-group-name", self.facts.groups[int(spare)], "--desired-capacity", str(size)]
        self._run("autoscaling", "set-desired-capacity", *words)

    def set_switch(self) -> None:
        """Have AWS itself empty all groups in a while, or later than it was told to before; see `switch`."""
        url = self.facts.endpoint_url or f"https://autoscaling.{self.facts.region}.amazonaws.com"
        try:
            at = switch_time(date_of(url))
        except (OSError, HTTPException, ValueError) as error:
            raise AwsError(
                f"{url} does not answer with its time, so the dead-man's switch cannot be set: {error}"
            ) from None
        for name in self.facts.groups:
            words = ["put-scheduled-update-group-action", "--auto-scaling-group-name", name]
            self._run(
                *("autoscaling", *words, "--scheduled-action-name", SWITCH),
                *("--start-time", at.strftime("%Y-%m-%dT%H:%M:%SZ"), "--min-size", "0", "--desired-capacity", "0"),
            )

    def now(self) -> datetime:
        """The time by S3's own clock, which says when an object was stored."""
        url = self.facts.endpoint_url or f"https://s3.{self.facts.region}.amazonaws.com"
        try:
            return time_of(date_of(url))
        except (OSError, HTTPException, ValueError) as error:
            raise AwsError(f"{url} does not answer with its time: {error}") from None

    def _url(self, key: str) -> str:
        return f"s3://{self.facts.bucket}/{key}"

    def _s3(self, *words: str) -> None:
        self._run("s3", *words, "--only-show-errors")

    def _json(self, *words: str) -> Any:
        return json.loads(self._run(*words, "--output", "json") or "null")

    def _run(self, *words: str, within: Sequence[str] = ()) -> str:
        endpoint = ["--endpoint-url", self.facts.endpoint_url] if self.facts.endpoint_url else []
        try:
            done = subprocess.run(
                [*within, "aws", *endpoint, *words],
                env=os.environ | PATIENCE,
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise AwsError(f"aws {' '.join(words[:2])} did not end in {DEADLINE_S} s") from None
        if done.returncode:
            raise AwsError(f"aws {' '.join(words[:2])}: {done.stderr.strip() or done.returncode}")
        return done.stdout
