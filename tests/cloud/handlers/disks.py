"""Disks, and their attachment to machines."""
# ruff: noqa: ARG002, S105 - a handler takes what the base class says; a token is Pulumi's name of a type

from __future__ import annotations

import zlib
from typing import Any

from tests.cloud.aws import WAIT, Aws, ignoring, tag_map
from tests.cloud.handlers.base import Ec2Handler, Handler, Props, only, picked


class Volume(Ec2Handler):
    token = "aws:ebs/volume:Volume"
    inputs = frozenset(
        {
            "availabilityZone",
            "size",
            "type",
            "encrypted",
            "kmsKeyId",
            "iops",
            "throughput",
            "finalSnapshot",
            "snapshotId",
        }
    )
    replaces = frozenset({"availabilityZone", "encrypted", "kmsKeyId", "snapshotId"})
    resource_type = "volume"

    def create(self, aws: Aws, props: Props) -> str:
        arguments = picked(
            props,
            availabilityZone="AvailabilityZone",
            size="Size",
            type="VolumeType",
            encrypted="Encrypted",
            kmsKeyId="KmsKeyId",
            iops="Iops",
            throughput="Throughput",
            snapshotId="SnapshotId",
        )
        id_: str = aws.ec2.create_volume(**arguments, **self.specification(props))["VolumeId"]
        return id_

    def finish(self, aws: Aws, id_: str, props: Props) -> None:
        aws.wait("volume_available", VolumeIds=[id_])

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        disk = volume(aws, id_)
        return disk and {
            "availabilityZone": disk["AvailabilityZone"],
            "size": disk["Size"],
            "type": disk["VolumeType"],
            "encrypted": disk["Encrypted"],
            "kmsKeyId": disk.get("KmsKeyId"),
            "iops": disk.get("Iops") or state.get("iops"),
            "throughput": disk.get("Throughput") or state.get("throughput"),
            "finalSnapshot": state.get("finalSnapshot", False),
            "arn": aws.arn("ec2", f"volume/{id_}"),
            "tagsAll": tag_map(disk.get("Tags")),
        }

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        names = {"size": "Size", "type": "VolumeType", "iops": "Iops", "throughput": "Throughput"}
        arguments = {names[key]: new[key] for key in changed & names.keys() if key in new}
        if arguments:
            aws.ec2.modify_volume(VolumeId=id_, **arguments)

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        if state.get("finalSnapshot"):
            snapshot = aws.ec2.create_snapshot(VolumeId=id_, Description=f"final snapshot of {id_}")["SnapshotId"]
            aws.wait("snapshot_completed", SnapshotIds=[snapshot])
        aws.ec2.delete_volume(VolumeId=id_)


class VolumeAttachment(Handler):
    token = "aws:ec2/volumeAttachment:VolumeAttachment"
    inputs = frozenset(
        {"deviceName", "instanceId", "volumeId", "stopInstanceBeforeDetaching", "forceDetach", "skipDestroy"}
    )
    replaces = frozenset({"deviceName", "instanceId", "volumeId"})
    looks_first = False  # it stops the machine whatever has become of it

    def create(self, aws: Aws, props: Props) -> str:
        where = picked(props, deviceName="Device", instanceId="InstanceId", volumeId="VolumeId")
        aws.ec2.attach_volume(**where)
        return f"vai-{zlib.crc32('-'.join(map(str, where.values())).encode())}"

    def finish(self, aws: Aws, id_: str, props: Props) -> None:
        aws.wait("volume_in_use", VolumeIds=[props["volumeId"]])

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        disk = volume(aws, state["volumeId"])
        attachments = disk["Attachments"] if disk else []
        attachment = only([each for each in attachments if each["InstanceId"] == state["instanceId"]])
        return attachment and {
            "deviceName": attachment["Device"],
            "instanceId": attachment["InstanceId"],
            "volumeId": attachment["VolumeId"],
        }

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        if state.get("skipDestroy"):
            return
        if state.get("stopInstanceBeforeDetaching"):
            aws.ec2.stop_instances(InstanceIds=[state["instanceId"]])
            aws.wait("instance_stopped", InstanceIds=[state["instanceId"]])
        with ignoring("InvalidAttachment.NotFound"):
            aws.ec2.detach_volume(
                Device=state["deviceName"],
                InstanceId=state["instanceId"],
                VolumeId=state["volumeId"],
                Force=state.get("forceDetach", False),
            )
        with ignoring("InvalidVolume.NotFound"):
            aws.ec2.get_waiter("volume_available").wait(VolumeIds=[state["volumeId"]], WaiterConfig=WAIT)


def volume(aws: Aws, id_: str) -> Any:
    found: list[Any] = []
    with ignoring("InvalidVolume.NotFound"):
        found = aws.ec2.describe_volumes(VolumeIds=[id_])["Volumes"]
    return only(found)
