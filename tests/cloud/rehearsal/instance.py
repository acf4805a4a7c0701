"""What moto knows about an instance, as its metadata service tells it. In moto's process."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

from moto.backends import get_backend
from moto.iam.models import InstanceProfile, Role

from tests.cloud.aws import ACCOUNT
from tests.cloud.rehearsal.imds import Tree

CREDENTIALS_S, RENEW_S = 6 * 3600, 3600  # as EC2 does: new ones well before the old ones end
ROOT_DEVICES = ("/dev/sda1", "/dev/xvda")
BLOCK_DEVICES = {"ami": "xvda", "root": "/dev/xvda"}


class Facts:
    """One instance's metadata tree, and the notices that a test puts into it."""

    def __init__(self, instance: Any) -> None:
        self.instance = instance
        self.notice: dict[str, str] | None = None  # spot/instance-action
        self.rebalance_at = ""
        self._credentials: Any = None

    @property
    def profile(self) -> InstanceProfile | None:
        """The instance profile that it has."""
        backend = self.instance.ec2_backend
        association = backend.iam_instance_profile_associations.get(self.instance.id)
        return association.iam_instance_profile if association else None

    @property
    def user_data(self) -> bytes:
        """What it was told at launch."""
        return base64.b64decode(str(self.instance.user_data or ""))

    def tree(self) -> Tree:
        """Everything below `/latest`."""
        data = self.user_data
        return {"meta-data": self._metadata(), "user-data": data or None, "dynamic": self._dynamic()}

    def _metadata(self) -> Tree:
        one = self.instance
        eni = one.nics[0]
        subnet = one.ec2_backend.get_subnet(one.subnet_id)
        vpc = one.ec2_backend.get_vpc(one.vpc_id)
        zone, name, groups = (
            one.availability_zone,
            one.private_dns_name,
            "\n".join(each.name for each in security_groups(one)),
        )
        public: Tree = {"public-ipv4": one.public_ip, "public-hostname": one.public_dns_name} if one.public_ip else {}
        key = self._public_key()
        interface: Tree = {
            "device-number": "0",
            "interface-id": eni.id,
            "local-hostname": name,
            "local-ipv4s": one.private_ip,
            "mac": mac(one),
            "owner-id": ACCOUNT,
            "security-groups": groups,
            "security-group-ids": "\n".join(each.id for each in security_groups(one)),
            "subnet-id": subnet.id,
            "subnet-ipv4-cidr-block": subnet.cidr_block,
            "vpc-id": vpc.id,
            "vpc-ipv4-cidr-block": vpc.cidr_block,
            "vpc-ipv4-cidr-blocks": vpc.cidr_block,
            **({"public-ipv4s": one.public_ip, "public-hostname": one.public_dns_name} if one.public_ip else {}),
        }
        tree: Tree = {
            "ami-id": one.image_id,
            "ami-launch-index": str(one.ami_launch_index),
            "ami-manifest-path": "(unknown)",
            "block-device-mapping": dict(BLOCK_DEVICES),
            "events": {"recommendations": {"rebalance": self._rebalance()}},
            "hostname": name,
            "iam": self._iam(),
            "instance-action": "none",
            "instance-id": one.id,
            "instance-life-cycle": one.lifecycle or "on-demand",
            "instance-type": one.instance_type,
            "local-hostname": name,
            "local-ipv4": one.private_ip,
            "mac": mac(one),
            "network": {"interfaces": {"macs": {mac(one): interface}}},
            "placement": {"availability-zone": zone, "region": one.region_name},
            **public,
            "public-keys": {f"0={one.key_name}": {"openssh-key": key}} if key else None,
            "reservation-id": self._reservation(),
            "security-groups": groups,
            "services": {"domain": "amazonaws.com", "partition": "aws"},
            "spot": self._spot(),
        }
        if one.metadata_options.instance_metadata_tags == "enabled":
            tree["tags"] = {"instance": {tag["key"]: tag["value"] for tag in one.get_tags()}}
        return tree

    def _public_key(self) -> str | None:
        pair = self.instance.ec2_backend.key_pairs.get(self.instance.key_name or "")
        return pair.public_key if pair else None

    def _iam(self) -> Tree | None:
        profile = self.profile
        if profile is None or not profile.roles:
            return None
        info = {
            "Code": "Success",
            "LastUpdated": _now(),
            "InstanceProfileArn": profile.arn,
            "InstanceProfileId": profile.id,
        }
        role = profile.roles[0]
        return {"info": json.dumps(info), "security-credentials": {role.name: self._role_credentials(role)}}

    def _role_credentials(self, role: Role) -> str:
        """Credentials of the role with the instance's id as the session's name: together its `aws:userid`."""
        now = datetime.now(UTC).replace(tzinfo=None)
        if self._credentials is None or (self._credentials.expiration - now).total_seconds() < RENEW_S:
            sts = get_backend("sts")[ACCOUNT]["aws"]
            self._credentials = sts.assume_role(
                region_name=self.instance.region_name,
                role_session_name=self.instance.id,
                role_arn=role.arn,
                policy="",
                duration=CREDENTIALS_S,
                external_id="",
            )
        return json.dumps(
            {
                "Code": "Success",
                "LastUpdated": _now(),
                "Type": "AWS-HMAC",
                "AccessKeyId": self._credentials.access_key_id,
                "SecretAccessKey": self._credentials.secret_access_key,
                "Token": self._credentials.session_token,
                "Expiration": self._credentials.expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )

    def _rebalance(self) -> str | None:
        return json.dumps({"noticeTime": self.rebalance_at}) if self.rebalance_at else None

    def _spot(self) -> Tree | None:
        if self.notice is None:
            return None
        times: Tree = {"termination-time": self.notice["time"]} if self.notice["action"] == "terminate" else {}
        return {"instance-action": json.dumps(self.notice), **times}

    def _dynamic(self) -> Tree:
        one = self.instance
        document = {
            "accountId": ACCOUNT,
            "architecture": one.architecture,
            "availabilityZone": one.availability_zone,
            "imageId": one.image_id,
            "instanceId": one.id,
            "instanceType": one.instance_type,
            "pendingTime": one.launch_time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "privateIp": one.private_ip,
            "region": one.region_name,
            "version": "2017-09-30",
        }
        return {"instance-identity": {"document": json.dumps(document, indent=2)}}

    def _reservation(self) -> str | None:
        reservations = self.instance.ec2_backend.reservations.values()
        return next((each.id for each in reservations if self.instance in each.instances), None)


def security_groups(instance: Any) -> list[Any]:
    """Its groups; when they are changed, moto leaves its interface with those that it had at first."""
    return list(instance.security_groups or instance.nics[0].group_set)


def mac(instance: Any) -> str:
    """Its interface's address, made one that Linux takes: locally administered, for one receiver."""
    first, *rest = instance.nics[0].mac_address.split(":")
    return ":".join([f"{int(first, 16) & 0xFC | 0x02:02x}", *rest])


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
