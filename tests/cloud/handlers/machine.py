"""A single machine: launched, stopped for what only a stopped one can change, and terminated."""
# ruff: noqa: ARG002, S105 - a handler takes what the base class says; a token is Pulumi's name of a type

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from tests.cloud.aws import Aws, ignoring, tag_list, tag_map
from tests.cloud.handlers.base import Ec2Handler, Props, lower, only, pascal, picked

STOPPED = frozenset({"instanceType", "userData", "userDataBase64"})  # AWS changes these in a stopped machine only
ATTRIBUTES = {"disableApiTermination": False, "instanceInitiatedShutdownBehavior": "stop", "sourceDestCheck": True}
DISK = ("encrypted", "kmsKeyId", "deviceName")  # of the root disk, those that are fixed at launch


class Instance(Ec2Handler):
    token = "aws:ec2/instance:Instance"
    inputs = frozenset(
        {"ami", "instanceType", "subnetId", "privateIp", "vpcSecurityGroupIds", "keyName", "iamInstanceProfile",
         "userData", "userDataBase64", "userDataReplaceOnChange", "metadataOptions", "rootBlockDevice",
         "availabilityZone", "associatePublicIpAddress", "disableApiTermination", "monitoring",
         "creditSpecification", "volumeTags", "instanceInitiatedShutdownBehavior", "sourceDestCheck"}
    )  # fmt: skip
    replaces = frozenset({"ami", "subnetId", "privateIp", "keyName", "availabilityZone", "associatePublicIpAddress"})
    sets = frozenset({"vpcSecurityGroupIds"})
    exclusive = (("userData", "userDataBase64"),)
    resource_type = "instance"

    def replaced_by(self, old: Props, new: Props, changed: frozenset[str]) -> frozenset[str]:
        replaces = super().replaced_by(old, new, changed)
        if new.get("userDataReplaceOnChange"):
            replaces |= changed & {"userData", "userDataBase64"}
        was, will = old.get("rootBlockDevice", {}), new.get("rootBlockDevice", {})
        if any(was.get(key) != will.get(key) for key in DISK):
            replaces |= {"rootBlockDevice"}
        return replaces

    def create(self, aws: Aws, props: Props) -> str:
        arguments = picked(
            props,
            ami="ImageId",
            instanceType="InstanceType",
            keyName="KeyName",
            disableApiTermination="DisableApiTermination",
            instanceInitiatedShutdownBehavior="InstanceInitiatedShutdownBehavior",
        )
        if props.get("userData") or props.get("userDataBase64"):
            arguments["UserData"] = _user_data(props)
        if props.get("availabilityZone"):
            arguments["Placement"] = {"AvailabilityZone": props["availabilityZone"]}
        if props.get("iamInstanceProfile"):
            arguments["IamInstanceProfile"] = {"Name": props["iamInstanceProfile"]}
        if props.get("metadataOptions"):
            arguments["MetadataOptions"] = pascal(props["metadataOptions"])
        if props.get("creditSpecification"):
            arguments["CreditSpecification"] = pascal(props["creditSpecification"])
        if props.get("monitoring") is not None:
            arguments["Monitoring"] = {"Enabled": props["monitoring"]}
        if props.get("rootBlockDevice"):
            arguments["BlockDeviceMappings"] = [_root_mapping(aws, props)]
        tags = {"instance": props["tagsAll"], "volume": self._disk_tags(aws, props)}
        specifications = [{"ResourceType": kind, "Tags": tag_list(each)} for kind, each in tags.items() if each]
        if specifications:
            arguments["TagSpecifications"] = specifications
        launched = aws.ec2.run_instances(MinCount=1, MaxCount=1, **_network(props), **arguments)
        id_: str = launched["Instances"][0]["InstanceId"]
        return id_

    def finish(self, aws: Aws, id_: str, props: Props) -> None:
        aws.wait("instance_running", InstanceIds=[id_])
        if props.get("sourceDestCheck") is not None:
            aws.ec2.modify_instance_attribute(InstanceId=id_, SourceDestCheck={"Value": props["sourceDestCheck"]})

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        machine = instance(aws, id_)
        if not machine or machine["State"]["Name"] in {"terminated", "shutting-down"}:
            return None
        profile = machine.get("IamInstanceProfile", {}).get("Arn", "")
        return {
            "ami": machine["ImageId"],
            "instanceType": machine["InstanceType"],
            "subnetId": machine.get("SubnetId"),
            "availabilityZone": machine["Placement"]["AvailabilityZone"],
            "vpcSecurityGroupIds": [group["GroupId"] for group in machine.get("SecurityGroups", [])],
            "keyName": machine.get("KeyName"),
            "iamInstanceProfile": profile.rpartition("/")[2] or None,
            "metadataOptions": self._metadata(machine, state),
            "creditSpecification": _credits(aws, id_) if state.get("creditSpecification") else None,
            "privateIp": machine.get("PrivateIpAddress"),
            "privateDns": machine.get("PrivateDnsName"),
            "publicIp": machine.get("PublicIpAddress"),
            "publicDns": machine.get("PublicDnsName"),
            "primaryNetworkInterfaceId": machine["NetworkInterfaces"][0]["NetworkInterfaceId"],
            "instanceState": machine["State"]["Name"],
            "arn": aws.arn("ec2", f"instance/{id_}"),
            "tagsAll": tag_map(machine.get("Tags")),
        }

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        modify = aws.ec2.modify_instance_attribute
        if "vpcSecurityGroupIds" in changed:
            modify(InstanceId=id_, Groups=new["vpcSecurityGroupIds"])
        for key in changed & ATTRIBUTES.keys():
            modify(InstanceId=id_, **pascal({key: {"value": new.get(key, ATTRIBUTES[key])}}))
        if "metadataOptions" in changed:
            aws.ec2.modify_instance_metadata_options(InstanceId=id_, **pascal(new["metadataOptions"]))
        if "iamInstanceProfile" in changed:
            _change_profile(aws, id_, new.get("iamInstanceProfile"))
        if "monitoring" in changed:
            turn = aws.ec2.monitor_instances if new.get("monitoring") else aws.ec2.unmonitor_instances
            turn(InstanceIds=[id_])
        if "rootBlockDevice" in changed:
            _change_root(aws, id_, old.get("rootBlockDevice", {}), new.get("rootBlockDevice", {}))
        if changed & {"volumeTags", "rootBlockDevice"} and self._disk_tags(aws, new):
            aws.ec2.create_tags(Resources=_disks(aws, id_), Tags=tag_list(self._disk_tags(aws, new)))
        if changed & STOPPED:
            aws.ec2.stop_instances(InstanceIds=[id_])
            aws.wait("instance_stopped", InstanceIds=[id_])
            if "instanceType" in changed:
                modify(InstanceId=id_, InstanceType={"Value": new["instanceType"]})
            if changed & {"userData", "userDataBase64"}:
                text = base64.b64encode(_user_data(new)).decode()
                modify(InstanceId=id_, Attribute="userData", Value=text)
            aws.ec2.start_instances(InstanceIds=[id_])
            aws.wait("instance_running", InstanceIds=[id_])
        if "creditSpecification" in changed and new.get("creditSpecification"):  # of the new type; left, it stays
            aws.ec2.modify_instance_credit_specification(
                InstanceCreditSpecifications=[{"InstanceId": id_, **pascal(new["creditSpecification"])}]
            )

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        aws.ec2.terminate_instances(InstanceIds=[id_])
        aws.wait("instance_terminated", InstanceIds=[id_])

    def _disk_tags(self, aws: Aws, props: Props) -> Mapping[str, str]:
        """The provider tags disks with volumeTags, or else those of a declared root disk, defaults included."""
        if props.get("volumeTags"):
            tags: Mapping[str, str] = props["volumeTags"]
            return tags
        disk = props.get("rootBlockDevice")
        return {} if disk is None else {**aws.default_tags, **disk.get("tags", {})}

    def _metadata(self, machine: Any, state: Props) -> dict[str, Any]:
        """Only the options that were asked for: AWS fills in the rest."""
        now = lower(machine.get("MetadataOptions", {}))
        return {key: now.get(key, value) for key, value in state.get("metadataOptions", {}).items()}


def instance(aws: Aws, id_: str) -> Any:
    found: list[Any] = []
    with ignoring("InvalidInstanceID.NotFound"):
        found = aws.ec2.describe_instances(InstanceIds=[id_])["Reservations"]
    return only([each for reservation in found for each in reservation["Instances"]])


def _credits(aws: Aws, id_: str) -> dict[str, Any] | None:
    """Of a burstable machine; AWS has no answer of another."""
    found = aws.ec2.describe_instance_credit_specifications(InstanceIds=[id_])["InstanceCreditSpecifications"]
    return {"cpuCredits": found[0]["CpuCredits"]} if found else None


def _network(props: Props) -> dict[str, Any]:
    """Where it stands; a public address can be asked for only through an interface, which then says all of it."""
    if props.get("associatePublicIpAddress") is None:  # the subnet says it
        return picked(
            props, subnetId="SubnetId", privateIp="PrivateIpAddress", vpcSecurityGroupIds="SecurityGroupIds"
        )
    interface = picked(
        props,
        subnetId="SubnetId",
        privateIp="PrivateIpAddress",
        vpcSecurityGroupIds="Groups",
        associatePublicIpAddress="AssociatePublicIpAddress",
    )
    return {"NetworkInterfaces": [{"DeviceIndex": 0, **interface}]}


def _user_data(props: Props) -> bytes:
    if props.get("userDataBase64"):
        return base64.b64decode(props["userDataBase64"])
    return str(props.get("userData", "")).encode()


def _root_mapping(aws: Aws, props: Props) -> dict[str, Any]:
    """The root disk as asked for, at the image's own device name, and gone with the machine unless it says not."""
    image = aws.ec2.describe_images(ImageIds=[props["ami"]])["Images"][0]
    wanted = {key: value for key, value in props["rootBlockDevice"].items() if key not in {"deviceName", "tags"}}
    ebs = pascal({"deleteOnTermination": True, **wanted})
    if "VolumeSize" not in ebs:  # AWS takes the image's; moto wants it said
        ebs["VolumeSize"] = image["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"]
    return {"DeviceName": props["rootBlockDevice"].get("deviceName", image["RootDeviceName"]), "Ebs": ebs}


def _change_root(aws: Aws, id_: str, old: Props, new: Props) -> None:
    machine = instance(aws, id_)
    device = machine["RootDeviceName"]
    if old.get("deleteOnTermination") != new.get("deleteOnTermination"):
        ebs = {"DeleteOnTermination": new.get("deleteOnTermination", True)}
        aws.ec2.modify_instance_attribute(InstanceId=id_, BlockDeviceMappings=[{"DeviceName": device, "Ebs": ebs}])
    names = {"volumeSize": "Size", "volumeType": "VolumeType", "iops": "Iops", "throughput": "Throughput"}
    wanted = {names[key]: new[key] for key in names if key in new and new[key] != old.get(key)}
    if wanted:
        mappings = machine["BlockDeviceMappings"]
        disk = next(each["Ebs"]["VolumeId"] for each in mappings if each["DeviceName"] == device)
        aws.ec2.modify_volume(VolumeId=disk, **wanted)


def _disks(aws: Aws, id_: str) -> list[str]:
    return [each["Ebs"]["VolumeId"] for each in instance(aws, id_)["BlockDeviceMappings"]]


def _change_profile(aws: Aws, id_: str, name: str | None) -> None:
    mine = [{"Name": "instance-id", "Values": [id_]}]
    current = only(aws.ec2.describe_iam_instance_profile_associations(Filters=mine)["IamInstanceProfileAssociations"])
    if current and name:
        aws.ec2.replace_iam_instance_profile_association(
            AssociationId=current["AssociationId"], IamInstanceProfile={"Name": name}
        )
    elif current:
        aws.ec2.disassociate_iam_instance_profile(AssociationId=current["AssociationId"])
    elif name:
        aws.ec2.associate_iam_instance_profile(InstanceId=id_, IamInstanceProfile={"Name": name})
