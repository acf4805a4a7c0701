"""A small stack made by hand through the API, with the boot text and policies of the real one."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sweepfleet.infra.boot_text import UV_VERSION, Machine, boot_text
from sweepfleet.infra.layout import AddressPlan
from sweepfleet.infra.policies import EC2_MAY_ASSUME, head_policy, worker_policy
from tests.cloud.rehearsal.base import architecture
from tests.cloud.rehearsal.cloud import REGION, Cloud
from tests.cloud.rehearsal.handle import MachineHandle
from tests.cloud.rehearsal.inside import Done
from tests.cloud.rehearsal.network import LAPTOP
from tests.cloud.rehearsal.wheels import ensure_wheels

ZONE = f"{REGION}a"
IMAGE = f"/aws/service/debian/release/12/latest/{architecture()}"
IMDS_V2 = {"HttpTokens": "required", "HttpEndpoint": "enabled"}


@dataclass
class Stack:
    """Network, bucket, roles and key pair, made when first asked for; heads and workers on demand."""

    cloud: Cloud
    name: str
    plan: AddressPlan = field(default_factory=lambda: AddressPlan("10.42.0.0/16"))

    @cached_property
    def ec2(self) -> Any:
        return self.cloud.client("ec2")

    @cached_property
    def s3(self) -> Any:
        return self.cloud.client("s3")

    @cached_property
    def autoscaling(self) -> Any:
        return self.cloud.client("autoscaling")

    @cached_property
    def image(self) -> str:
        """Debian's image, as the program finds it."""
        return str(self.cloud.client("ssm").get_parameter(Name=IMAGE)["Parameter"]["Value"])

    @cached_property
    def vpc(self) -> str:
        return str(self.ec2.create_vpc(CidrBlock=self.plan.vpc_cidr)["Vpc"]["VpcId"])

    @cached_property
    def head_subnet(self) -> str:
        return self._subnet(self.plan.head_cidr)

    @cached_property
    def worker_subnet(self) -> str:
        return self._subnet(self.plan.workers_cidr(ZONE))

    def _subnet(self, cidr: str) -> str:
        made = self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=cidr, AvailabilityZone=ZONE)
        return str(made["Subnet"]["SubnetId"])

    @cached_property
    def open_group(self) -> str:
        """A security group that lets the laptop and the stack's own machines in."""
        made = self.ec2.create_security_group(GroupName=self.name, Description=self.name, VpcId=self.vpc)["GroupId"]
        everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": f"{LAPTOP}/32"}, {"CidrIp": self.plan.vpc_cidr}]}
        self.ec2.authorize_security_group_ingress(GroupId=made, IpPermissions=[everything])
        return str(made)

    @cached_property
    def bucket(self) -> str:
        bucket = f"{self.name}-bucket"
        self.s3.create_bucket(Bucket=bucket)
        return bucket

    @cached_property
    def key_file(self) -> Path:
        """The operator's private key, whose public half is the key pair `self.name`."""
        file = Path(self.cloud.laptop.env["HOME"], self.name)
        self.cloud.laptop.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file])
        self.ec2.import_key_pair(KeyName=self.name, PublicKeyMaterial=file.with_suffix(".pub").read_bytes())
        return file

    @cached_property
    def head_role_id(self) -> str:
        arn = f"arn:aws:s3:::{self.bucket}"
        group = f"arn:aws:autoscaling:{REGION}:*:autoScalingGroup:*:autoScalingGroupName/{self.name}"
        return self._role("head", head_policy(bucket_arn=arn, group_arns=[group], stack=self.name))

    @cached_property
    def worker_role_id(self) -> str:
        return self._role("worker", worker_policy(bucket_arn=f"arn:aws:s3:::{self.bucket}"))

    def _role(self, kind: str, policy: str) -> str:
        name, iam = f"{self.name}-{kind}", self.cloud.client("iam")
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=EC2_MAY_ASSUME)["Role"]
        iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=policy)
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        return str(role["RoleId"])

    def volume(self, size_gb: int = 1) -> str:
        """A new data volume."""
        return str(self.ec2.create_volume(AvailabilityZone=ZONE, Size=size_gb)["VolumeId"])

    def head(self, volume: str) -> MachineHandle:
        """A head with the real boot text; the volume is attached after its start, as AWS does it."""
        text = boot_text(self._told(self.head_role_id, volume))
        head = self.run(text, PrivateIpAddress=self.plan.head_ip, IamInstanceProfile={"Name": f"{self.name}-head"})
        head.wait_running()
        self.ec2.attach_volume(VolumeId=volume, InstanceId=head.instance_id, Device="/dev/xvdf")
        return head

    def _told(self, role_id: str, volume: str = "") -> Machine:
        return Machine(
            stack=self.name,
            region=REGION,
            bucket=self.bucket,
            role_id=role_id,
            head_private_ip=self.plan.head_ip,
            architecture=architecture(),
            package_index=self.cloud.package_index(ensure_wheels(f"uv=={UV_VERSION}")),
            endpoint_url=self.cloud.endpoint_url,
            data_volume_id=volume,
        )

    def run(self, user_data: str, **more: Any) -> MachineHandle:
        """An instance in the head's subnet."""
        _ = self.key_file
        options = {
            "ImageId": self.image,
            "InstanceType": "t3.medium",
            "SubnetId": self.head_subnet,
            "SecurityGroupIds": [self.open_group],
            "KeyName": self.name,
            "MetadataOptions": IMDS_V2,
            **more,
        }
        made = self.ec2.run_instances(MinCount=1, MaxCount=1, UserData=user_data, **options)
        return self.cloud.machine(made["Instances"][0]["InstanceId"])

    def group(self, size: int, *, user_data: str | None = None, most: int = 4, **distribution: Any) -> str:
        """A group of workers; with the real boot text unless another is given. Its name is the stack's."""
        _ = self.key_file
        text = boot_text(self._told(self.worker_role_id)) if user_data is None else user_data
        data = {
            "ImageId": self.image,
            "InstanceType": "c7i.xlarge",
            "KeyName": self.name,
            "UserData": base64.b64encode(text.encode()).decode(),
            "MetadataOptions": IMDS_V2,
            "InstanceInitiatedShutdownBehavior": "terminate",
            "NetworkInterfaces": [{"DeviceIndex": 0, "Groups": [self.open_group], "AssociatePublicIpAddress": False}],
            "BlockDeviceMappings": [
                {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 30, "DeleteOnTermination": True}}
            ],
        }
        if user_data is None:
            data["IamInstanceProfile"] = {"Name": f"{self.name}-worker"}
        template = self.ec2.create_launch_template(LaunchTemplateName=self.name, LaunchTemplateData=data)[
            "LaunchTemplate"
        ]
        specification = {"LaunchTemplateId": template["LaunchTemplateId"], "Version": "1"}
        overrides = [{"InstanceType": "c7a.xlarge"}, {"InstanceType": "c7i.xlarge"}]
        policy = {"LaunchTemplateSpecification": specification, "Overrides": overrides}
        self.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=self.name,
            MinSize=0,
            MaxSize=most,
            DesiredCapacity=size,
            VPCZoneIdentifier=self.worker_subnet,
            CapacityRebalance=True,
            MixedInstancesPolicy={"LaunchTemplate": policy, "InstancesDistribution": distribution},
        )
        return self.name

    def members(self) -> list[MachineHandle]:
        """The group's machines, by its own account."""
        [group] = self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])[
            "AutoScalingGroups"
        ]
        return [self.cloud.machine(each["InstanceId"]) for each in group["Instances"]]

    def address(self, machine: MachineHandle) -> str:
        """A public address of its own for a machine."""
        made = self.ec2.allocate_address(Domain="vpc")
        self.ec2.associate_address(AllocationId=made["AllocationId"], InstanceId=machine.instance_id)
        return str(made["PublicIp"])

    def ssh(self, address: str, command: str, *, known_hosts: Path | None = None) -> Done:
        """Run a command there as the operator does; a host key is checked when there is a file to check it with."""
        check = ["StrictHostKeyChecking=yes", f"UserKnownHostsFile={known_hosts}"]
        trust = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]
        options = [word for option in (check if known_hosts else trust) for word in ("-o", option)]
        options += ["-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5", "-o", "BatchMode=yes", "-i", str(self.key_file)]
        return self.cloud.laptop.run(["ssh", *options, f"admin@{address}", command], check=False)

    def close(self) -> None:
        """Terminate everything, and wait until the machines are gone."""
        for group in self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])[
            "AutoScalingGroups"
        ]:
            self.autoscaling.delete_auto_scaling_group(
                AutoScalingGroupName=group["AutoScalingGroupName"], ForceDelete=True
            )
        found = self.ec2.describe_instances(Filters=[{"Name": "vpc-id", "Values": [self.vpc]}])["Reservations"]
        alive = [
            one["InstanceId"] for each in found for one in each["Instances"] if one["State"]["Name"] != "terminated"
        ]
        if alive:
            self.ec2.terminate_instances(InstanceIds=alive)
