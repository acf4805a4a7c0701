"""What carries a stack's tag in the account, by kind; reads only.

EC2, autoscaling and IAM are asked themselves, which tell ages and what belongs to what; everything else with the tag
comes from the Resource Groups Tagging API. Each function here is to be called within `fleet.reach.cloud.asking_aws`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from sweepfleet.fleet.money.rest_prices import ADDRESS_USD_PER_HOUR, HOURS, NAT_USD_PER_HOUR, USD_PER_GB_MONTH
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.fleet.stack.kinds import ASKED, ASKED_SERVICES, KINDS, OWNED, Kind
from sweepfleet.grid.wording import counted
from sweepfleet.infra.layout import STACK_TAG
from sweepfleet.infra.settings import PROJECT

GROUP_TAG = "aws:autoscaling:groupName"  # AWS puts it on what a group starts
GONE = frozenset({"terminated", "shutting-down", "deleting", "deleted", "deregistered"})


@dataclass(frozen=True, slots=True)
class Item:
    """One resource with the stack's tag."""

    kind: str
    id: str  # as Pulumi's state has it
    remedy: str  # the command that removes it
    created: datetime | None = None  # None: AWS does not say
    usd_month: float | None = None  # None: not known here
    why: str = ""  # it is there; "" for what the stack knows nothing of
    # What may explain it:
    instance: str = field(default="", repr=False)  # that it is attached to
    group: str = field(default="", repr=False)  # that has started it
    instance_type: str = field(default="", repr=False)
    going: bool = field(default=False, repr=False)  # an instance that is terminated

    @property
    def leaked(self) -> bool:
        """Whether nothing that the stack knows explains it."""
        return not self.why

    def age(self, now: datetime) -> str:
        """How old it is, for a person."""
        if self.created is None:
            return "of unknown age"
        hours = int((now - self.created).total_seconds() // 3600)
        return f"{hours // 24:,} days old" if hours >= 48 else f"{counted(hours, 'hour')} old"

    def to_dict(self, now: datetime) -> dict[str, Any]:
        """It as JSON has it."""
        return {
            "kind": self.kind,
            "id": self.id,
            "created": None if self.created is None else self.created.isoformat(),
            "age_s": None if self.created is None else round((now - self.created).total_seconds()),
            "usd_month": self.usd_month,
            "leaked": self.leaked,
            "why": self.why,
            "remedy": self.remedy if self.leaked else "",
        }


def _pages(client: Any, call: str, **given: Any) -> Iterator[dict[str, Any]]:
    """All pages of an answer, also of what comes in one."""
    if client.can_paginate(call):
        yield from client.get_paginator(call).paginate(**given)
    else:
        yield getattr(client, call)(**given)


def _tagged(stack: str) -> list[dict[str, Any]]:
    return [{"Name": f"tag:{STACK_TAG}", "Values": [stack]}]


def instances(cloud: Cloud, ec2: Any, stack: str) -> Iterator[Item]:
    """The machines; those too that are going."""
    for page in _pages(ec2, "describe_instances", Filters=_tagged(stack)):
        for one in (each for reservation in page["Reservations"] for each in reservation["Instances"]):
            yield Item(
                "instance",
                one["InstanceId"],
                _command(cloud, "ec2 terminate-instances --instance-ids {id}", one["InstanceId"]),
                _time(one["LaunchTime"]),
                group=_tags(one).get(GROUP_TAG, ""),
                instance_type=one["InstanceType"],
                going=one["State"]["Name"] in GONE,
            )


def of_ec2(cloud: Cloud, ec2: Any, stack: str) -> Iterator[Item]:
    """Everything else of EC2's."""
    for kind in KINDS:
        filters = {"Filter" if kind.call == "nat_gateways" else "Filters": _tagged(stack)}
        for page in _pages(ec2, f"describe_{kind.call}", **filters, **OWNED.get(kind.call, {})):
            for one in page[kind.answer]:
                if str(one.get(kind.state, "")).lower() not in GONE:
                    yield _item(cloud, kind, one)


def _item(cloud: Cloud, kind: Kind, one: Mapping[str, Any]) -> Item:
    attached = [*one.get("Attachments", ()), one.get("Attachment") or {}]
    instances = [str(each["InstanceId"]) for each in attached if each.get("InstanceId")]
    more = {"way": "egress" if one.get("IsEgress") else "ingress", "within": str(one.get("GroupId", ""))}
    return Item(
        kind.name,
        str(one[kind.id]),
        _command(cloud, f"ec2 {kind.remedy}", str(one[kind.id]), **more),
        _time(one.get(kind.created)),
        _usd_month(kind, one),
        instance=instances[0] if instances else "",
        group=_tags(one).get(GROUP_TAG, ""),
    )


def _usd_month(kind: Kind, one: Mapping[str, Any]) -> float | None:
    """What one costs at rest; None when it costs nothing, or nobody knows."""
    if kind.name == "volume":
        price = USD_PER_GB_MONTH.get(str(one.get("VolumeType")))
        return None if price is None else float(one["Size"]) * price
    hourly = {"address": ADDRESS_USD_PER_HOUR, "NAT gateway": NAT_USD_PER_HOUR}.get(kind.name)
    return None if hourly is None else hourly * HOURS


def groups(cloud: Cloud, stack: str) -> Iterator[Item]:
    """The autoscaling groups."""
    pages = _pages(cloud.client("autoscaling"), "describe_auto_scaling_groups", Filters=_tagged(stack))
    for one in (each for page in pages for each in page["AutoScalingGroups"]):
        if not one.get("Status"):  # which a group has while it is deleted
            name = one["AutoScalingGroupName"]
            words = "autoscaling delete-auto-scaling-group --force-delete --auto-scaling-group-name {id}"
            yield Item("group", name, _command(cloud, words, name), _time(one["CreatedTime"]))


def identity(cloud: Cloud, stack: str) -> Iterator[Item]:
    """Roles and instance profiles: their lists tell no tags, so those with our names are looked at one by one."""
    client = cloud.client("iam")
    for kind, call, answer, word in (
        ("role", "role", "Roles", "RoleName"),
        ("instance profile", "instance_profile", "InstanceProfiles", "InstanceProfileName"),
    ):
        pages = _pages(client, f"list_{call}s")
        names = [one[word] for page in pages for one in page[answer] if one[word].startswith(f"{PROJECT}-{stack}-")]
        for name in names:
            try:
                one = getattr(client, f"get_{call}")(**{word: name})[word.removesuffix("Name")]
            except client.exceptions.NoSuchEntityException:  # gone meanwhile
                continue
            if _tags(one).get(STACK_TAG) == stack:
                words = f"iam delete-{call.replace('_', '-')} --{call.replace('_', '-')}-name {{id}}"
                yield Item(kind, name, _command(cloud, words, name), _time(one["CreateDate"]))


def others(cloud: Cloud, stack: str) -> Iterator[Item]:
    """Everything else that the tagging API knows: of this region, and buckets."""
    filters = [{"Key": STACK_TAG, "Values": [stack]}]
    pages = _pages(cloud.client("resourcegroupstaggingapi"), "get_resources", TagFilters=filters)
    for arn in (one["ResourceARN"] for page in pages for one in page["ResourceTagMappingList"]):
        _, _, service, _, _, name = arn.split(":", 5)
        if service in ASKED_SERVICES or (service, name.partition("/")[0]) in ASKED:
            continue
        if service != "s3":
            yield Item(f"{service} resource", arn, f"look at it in AWS's console: {arn}")
        elif _bucket_is_there(cloud, name):
            yield Item("bucket", name, _command(cloud, "s3 rb --force s3://{id}", name))


def _bucket_is_there(cloud: Cloud, name: str) -> bool:
    try:
        cloud.client("s3").head_bucket(Bucket=name)
    except ClientError as error:
        return error.response["Error"]["Code"] not in {"404", "NoSuchBucket"}
    return True


def _command(cloud: Cloud, words: str, name: str, **more: str) -> str:
    """The command for it, in this region; names are whatever somebody gave them."""
    return f"aws --region {cloud.region} {words.format(id=shlex.quote(name), **more)}"


def _tags(one: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in one.get("Tags") or one.get("TagSet") or ()}


def _time(value: Any) -> datetime | None:
    """A time as boto3 has it, or as the text that images have."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
