"""Many machines alike: launch templates, and the autoscaling groups that use them."""
# ruff: noqa: ARG002, S105 - a handler takes what the base class says; a token is Pulumi's name of a type

from __future__ import annotations

import re
import time
from typing import Any, ClassVar

from tests.cloud.aws import Aws, CloudError, ignoring, tag_list, tag_map
from tests.cloud.handlers.base import Ec2Handler, Handler, Props, only, pascal, picked

# Terraform has these as text, because text can also be empty: neither true nor false.
TEXT_SWITCHES = frozenset({"encrypted", "deleteOnTermination", "associatePublicIpAddress", "ebsOptimized"})
POLL_S = 0.2
PATIENCE_S = 120.0


class LaunchTemplate(Ec2Handler):
    token = "aws:ec2/launchTemplate:LaunchTemplate"
    data = frozenset(
        {"imageId", "instanceType", "keyName", "userData", "iamInstanceProfile", "metadataOptions",
         "blockDeviceMappings", "networkInterfaces", "vpcSecurityGroupIds", "tagSpecifications", "monitoring",
         "instanceInitiatedShutdownBehavior", "ebsOptimized"}
    )  # fmt: skip
    inputs = data | {"name", "namePrefix", "description", "updateDefaultVersion", "defaultVersion"}
    replaces = frozenset({"name", "namePrefix"})
    sets = frozenset({"vpcSecurityGroupIds"})
    named, prefixed = "name", "namePrefix"
    exclusive = (("name", "namePrefix"), ("updateDefaultVersion", "defaultVersion"))
    resource_type = "launch-template"

    def create(self, aws: Aws, props: Props) -> str:
        made = aws.ec2.create_launch_template(
            LaunchTemplateName=self.name_of(props),
            LaunchTemplateData=self._data(props),
            **picked(props, description="VersionDescription"),
            **self.specification(props),
        )
        id_: str = made["LaunchTemplate"]["LaunchTemplateId"]
        return id_

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        template = self._template(aws, id_)
        return template and {
            "name": template["LaunchTemplateName"],
            "latestVersion": template["LatestVersionNumber"],
            "defaultVersion": template["DefaultVersionNumber"],
            "arn": aws.arn("ec2", f"launch-template/{id_}"),
            "tagsAll": tag_map(template.get("Tags")),
        }

    def unsettled(self, new: Props, changed: frozenset[str]) -> frozenset[str]:
        if not changed & (self.data | {"description"}):
            return frozenset()
        return frozenset({"latestVersion", *({"defaultVersion"} if new.get("updateDefaultVersion") else ())})

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        latest = self._template(aws, id_)["LatestVersionNumber"]
        if changed & (self.data | {"description"}):
            made = aws.ec2.create_launch_template_version(
                LaunchTemplateId=id_,
                LaunchTemplateData=self._data(new),
                **picked(new, description="VersionDescription"),
            )
            latest = made["LaunchTemplateVersion"]["VersionNumber"]
        default = latest if new.get("updateDefaultVersion") else new.get("defaultVersion")
        if default and default != old.get("defaultVersion"):
            aws.ec2.modify_launch_template(LaunchTemplateId=id_, DefaultVersion=str(default))

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        aws.ec2.delete_launch_template(LaunchTemplateId=id_)

    def _data(self, props: Props) -> dict[str, Any]:
        data = pascal(_switched({key: props[key] for key in self.data if props.get(key) is not None}))
        if "VpcSecurityGroupIds" in data:
            data["SecurityGroupIds"] = data.pop("VpcSecurityGroupIds")
        for interface in data.get("NetworkInterfaces", []):
            if "SecurityGroups" in interface:
                interface["Groups"] = interface.pop("SecurityGroups")
        for given, specification in zip(
            props.get("tagSpecifications", []), data.get("TagSpecifications", []), strict=True
        ):
            specification["Tags"] = tag_list(given.get("tags"))
        return dict(data)

    def _template(self, aws: Aws, id_: str) -> Any:
        found: list[Any] = []
        with ignoring("InvalidLaunchTemplateId.NotFound"):
            found = aws.ec2.describe_launch_templates(LaunchTemplateIds=[id_])["LaunchTemplates"]
        return only(found)


class Group(Handler):
    token = "aws:autoscaling/group:Group"
    # The provider's default tags do not reach a group: its tags say themselves whether machines get them.
    plain: ClassVar[dict[str, str]] = {
        "minSize": "MinSize", "maxSize": "MaxSize", "desiredCapacity": "DesiredCapacity",
        "capacityRebalance": "CapacityRebalance", "defaultCooldown": "DefaultCooldown",
        "defaultInstanceWarmup": "DefaultInstanceWarmup", "healthCheckType": "HealthCheckType",
        "healthCheckGracePeriod": "HealthCheckGracePeriod", "maxInstanceLifetime": "MaxInstanceLifetime",
        "protectFromScaleIn": "NewInstancesProtectedFromScaleIn", "serviceLinkedRoleArn": "ServiceLinkedRoleARN",
        "terminationPolicies": "TerminationPolicies",
    }  # fmt: skip
    inputs = frozenset(plain) | {
        "name", "namePrefix", "vpcZoneIdentifiers", "mixedInstancesPolicy", "tags", "suspendedProcesses",
        "enabledMetrics", "metricsGranularity", "waitForCapacityTimeout", "forceDelete",
        "ignoreFailedScalingActivities",
    }  # fmt: skip
    replaces = frozenset({"name", "namePrefix"})
    sets = frozenset({"vpcZoneIdentifiers", "tags", "suspendedProcesses", "enabledMetrics"})
    named, prefixed = "name", "namePrefix"
    exclusive = (("name", "namePrefix"),)

    def create(self, aws: Aws, props: Props) -> str:
        name = self.name_of(props)
        tags = {"Tags": self._tags(name, props.get("tags", []))} if props.get("tags") else {}
        aws.client("autoscaling").create_auto_scaling_group(
            AutoScalingGroupName=name, **self._arguments(props, frozenset(props)), **tags
        )
        return name

    def finish(self, aws: Aws, id_: str, props: Props) -> None:
        self._suspend(aws, id_, set(), set(props.get("suspendedProcesses", [])))
        self._measure(aws, id_, [], props)
        self._await_capacity(aws, id_, props)

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        group = self._group(aws, id_)
        if not group:
            return None
        subnets = [each for each in group.get("VPCZoneIdentifier", "").split(",") if each]
        return {
            "name": id_,
            "arn": group["AutoScalingGroupARN"],
            "minSize": group["MinSize"],
            "maxSize": group["MaxSize"],
            "desiredCapacity": group["DesiredCapacity"],
            "capacityRebalance": group.get("CapacityRebalance", False),
            "defaultCooldown": group["DefaultCooldown"],
            "healthCheckType": group["HealthCheckType"],
            "vpcZoneIdentifiers": subnets,
            "availabilityZones": group["AvailabilityZones"],
            "suspendedProcesses": [each["ProcessName"] for each in group.get("SuspendedProcesses", [])],
            "tags": [
                {"key": each["Key"], "value": each["Value"], "propagateAtLaunch": each["PropagateAtLaunch"]}
                for each in group.get("Tags", [])
                if not each["Key"].startswith("aws:")
            ],
        }

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        scaling = aws.client("autoscaling")
        if arguments := self._arguments(new, changed):
            scaling.update_auto_scaling_group(AutoScalingGroupName=id_, **arguments)
        if "tags" in changed:
            kept = {tag["key"] for tag in new.get("tags", [])}
            gone = [tag for tag in old.get("tags", []) if tag["key"] not in kept]
            if gone:
                scaling.delete_tags(Tags=self._tags(id_, gone))
            if kept:
                scaling.create_or_update_tags(Tags=self._tags(id_, new["tags"]))
        if "suspendedProcesses" in changed:
            was, will = set(old.get("suspendedProcesses", [])), set(new.get("suspendedProcesses", []))
            self._suspend(aws, id_, was, will)
        if changed & {"enabledMetrics", "metricsGranularity"}:
            self._measure(aws, id_, old.get("enabledMetrics", []), new)
        if changed & {"minSize", "maxSize", "desiredCapacity"}:
            self._await_capacity(aws, id_, new)

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        scaling = aws.client("autoscaling")
        force = state.get("forceDelete", False)
        if not force:
            scaling.update_auto_scaling_group(AutoScalingGroupName=id_, MinSize=0, MaxSize=0, DesiredCapacity=0)
            _until(lambda: not self._group(aws, id_)["Instances"], f"{id_} has no machines", PATIENCE_S)
        scaling.delete_auto_scaling_group(AutoScalingGroupName=id_, ForceDelete=force)
        _until(lambda: not self._group(aws, id_), f"{id_} is gone", PATIENCE_S)

    def _arguments(self, props: Props, keys: frozenset[str]) -> dict[str, Any]:
        """AWS's arguments for those of the inputs."""
        arguments = {self.plain[key]: props[key] for key in sorted(keys & self.plain.keys()) if key in props}
        if "vpcZoneIdentifiers" in keys and props.get("vpcZoneIdentifiers"):
            arguments["VPCZoneIdentifier"] = ",".join(props["vpcZoneIdentifiers"])
        if "mixedInstancesPolicy" in keys and props.get("mixedInstancesPolicy"):
            arguments["MixedInstancesPolicy"] = pascal(props["mixedInstancesPolicy"])
        return arguments

    def _tags(self, name: str, tags: list[Any]) -> list[dict[str, Any]]:
        return [{"ResourceId": name, "ResourceType": "auto-scaling-group", **pascal(tag)} for tag in tags]

    def _suspend(self, aws: Aws, id_: str, was: set[str], will: set[str]) -> None:
        scaling = aws.client("autoscaling")
        if will - was:
            scaling.suspend_processes(AutoScalingGroupName=id_, ScalingProcesses=sorted(will - was))
        if was - will:
            scaling.resume_processes(AutoScalingGroupName=id_, ScalingProcesses=sorted(was - will))

    def _measure(self, aws: Aws, id_: str, was: list[str], props: Props) -> None:
        metrics = props.get("enabledMetrics", [])
        gone = sorted(set(was) - set(metrics))
        if gone:
            aws.client("autoscaling").disable_metrics_collection(AutoScalingGroupName=id_, Metrics=gone)
        if metrics:
            granularity = props.get("metricsGranularity", "1Minute")
            aws.client("autoscaling").enable_metrics_collection(
                AutoScalingGroupName=id_, Metrics=metrics, Granularity=granularity
            )

    def _await_capacity(self, aws: Aws, id_: str, props: Props) -> None:
        patience_s = _seconds(props.get("waitForCapacityTimeout", "10m"))
        wanted = props.get("desiredCapacity", props["minSize"])
        if not patience_s or "Launch" in props.get("suspendedProcesses", []):
            return

        def there() -> bool:
            states = [each["LifecycleState"] for each in self._group(aws, id_)["Instances"]]
            return bool(states.count("InService") >= wanted)

        _until(there, f"{id_} has {wanted} machines in service", patience_s)

    def _group(self, aws: Aws, id_: str) -> Any:
        found = aws.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[id_])
        return only(found["AutoScalingGroups"])


def _switched(value: Any, key: str = "") -> Any:
    if isinstance(value, list):
        return [_switched(each) for each in value]
    if isinstance(value, dict):
        return {name: _switched(each, name) for name, each in value.items()}
    return {"true": True, "false": False}[value] if key in TEXT_SWITCHES and isinstance(value, str) else value


def _seconds(duration: str) -> float:
    """Go's durations as Terraform takes them: 10m, 1h30m, 0."""
    units = {"h": 3600, "m": 60, "s": 1, "": 1}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"(\d+)([hms]?)", duration))


def _until(done: Any, what: str, patience_s: float) -> None:
    end = time.monotonic() + patience_s
    while not done():
        if time.monotonic() > end:
            raise CloudError(f"waited {patience_s:.0f} s and it is still not so that {what}")
        time.sleep(POLL_S)
