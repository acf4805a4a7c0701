"""Who may connect: security groups, their rules, and key pairs."""
# ruff: noqa: ARG002, S105 - a handler takes what the base class says; a token is Pulumi's name of a type

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.cloud.aws import ACCOUNT, Aws, ignoring, tag_map
from tests.cloud.handlers.base import Ec2Handler, Props, only, picked
from tests.cloud.schema import Problem


class SecurityGroup(Ec2Handler):
    token = "aws:ec2/securityGroup:SecurityGroup"
    # Rules inside the group would fight with rule resources: the stand-in knows only the latter.
    inputs = frozenset({"name", "namePrefix", "description", "vpcId", "revokeRulesOnDelete"})
    replaces = frozenset({"name", "namePrefix", "description", "vpcId"})
    named, prefixed = "name", "namePrefix"
    exclusive = (("name", "namePrefix"),)
    resource_type = "security-group"

    def create(self, aws: Aws, props: Props) -> str:
        made = aws.ec2.create_security_group(
            GroupName=self.name_of(props),
            Description=props.get("description", "Managed by Pulumi"),
            **picked(props, vpcId="VpcId"),
            **self.specification(props),
        )
        id_: str = made["GroupId"]
        return id_

    def finish(self, aws: Aws, id_: str, props: Props) -> None:
        # AWS lets a new group out to everywhere; the provider takes that rule away, so that only declared ones hold.
        rules = self._group(aws, id_)["IpPermissionsEgress"]
        if rules:
            aws.ec2.revoke_security_group_egress(GroupId=id_, IpPermissions=rules)

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        group = self._group(aws, id_)
        return group and {
            "name": group["GroupName"],
            "description": group["Description"],
            "vpcId": group.get("VpcId"),
            "arn": aws.arn("ec2", f"security-group/{id_}"),
            "ownerId": ACCOUNT,
            "tagsAll": tag_map(group.get("Tags")),
        }

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        if state.get("revokeRulesOnDelete"):
            group = self._group(aws, id_)
            if group["IpPermissions"]:
                aws.ec2.revoke_security_group_ingress(GroupId=id_, IpPermissions=group["IpPermissions"])
            if group["IpPermissionsEgress"]:
                aws.ec2.revoke_security_group_egress(GroupId=id_, IpPermissions=group["IpPermissionsEgress"])
        aws.ec2.delete_security_group(GroupId=id_)

    def _group(self, aws: Aws, id_: str) -> Any:
        found: list[Any] = []
        with ignoring("InvalidGroup.NotFound", "InvalidGroupId.NotFound"):
            found = aws.ec2.describe_security_groups(GroupIds=[id_])["SecurityGroups"]
        return only(found)


PEERS = ("cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId")


class _Rule(Ec2Handler):
    inputs = frozenset({"securityGroupId", "ipProtocol", "fromPort", "toPort", "description", *PEERS})
    replaces = frozenset({"securityGroupId"})
    resource_type = "security-group-rule"
    direction: str

    def problems(self, props: Props) -> Iterator[Problem]:
        given = [key for key in PEERS if props.get(key) is not None]
        if len(given) != 1:
            yield "cidrIpv4", f"exactly one of {', '.join(PEERS)} must be given, not {given or 'none'}"

    def replaced_by(self, old: Props, new: Props, changed: frozenset[str]) -> frozenset[str]:
        """AWS changes a rule's peer, but not the kind of peer."""
        kinds = frozenset(key for key in changed & set(PEERS) if (key in old) != (key in new))
        return super().replaced_by(old, new, changed) | kinds

    def create(self, aws: Aws, props: Props) -> str:
        about = picked(props, description="Description")
        peer = {
            "cidrIpv4": ("IpRanges", "CidrIp"),
            "cidrIpv6": ("Ipv6Ranges", "CidrIpv6"),
            "prefixListId": ("PrefixListIds", "PrefixListId"),
            "referencedSecurityGroupId": ("UserIdGroupPairs", "GroupId"),
        }
        permission = picked(props, ipProtocol="IpProtocol", fromPort="FromPort", toPort="ToPort")
        for key, (ranges, field) in peer.items():
            if props.get(key) is not None:
                permission[ranges] = [{field: props[key], **about}]
        made = getattr(aws.ec2, f"authorize_security_group_{self.direction}")(
            GroupId=props["securityGroupId"], IpPermissions=[permission], **self.specification(props)
        )
        id_: str = made["SecurityGroupRules"][0]["SecurityGroupRuleId"]
        return id_

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        found: list[Any] = []
        with ignoring("InvalidSecurityGroupRuleId.NotFound", "InvalidGroup.NotFound"):
            found = aws.ec2.describe_security_group_rules(SecurityGroupRuleIds=[id_])["SecurityGroupRules"]
        rule = only(found)
        if not rule:
            return None
        group = rule.get("ReferencedGroupInfo", {}).get("GroupId")
        forgotten = group or rule.get("PrefixListId")  # moto keeps a description for networks alone
        about = state.get("description") if forgotten else None
        everything = rule["IpProtocol"] == "-1"  # AWS then says ports -1, which the provider leaves out
        return {
            "securityGroupId": rule["GroupId"],
            "ipProtocol": rule["IpProtocol"],
            "fromPort": None if everything else rule.get("FromPort"),
            "toPort": None if everything else rule.get("ToPort"),
            "cidrIpv4": rule.get("CidrIpv4"),
            "cidrIpv6": rule.get("CidrIpv6"),
            "prefixListId": rule.get("PrefixListId"),
            "referencedSecurityGroupId": group,
            "description": rule.get("Description") or about,
            "securityGroupRuleId": id_,
            "arn": aws.arn("ec2", f"security-group-rule/{id_}"),
            "tagsAll": tag_map(rule.get("Tags")),
        }

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        rule = picked(
            new,
            ipProtocol="IpProtocol",
            fromPort="FromPort",
            toPort="ToPort",
            cidrIpv4="CidrIpv4",
            cidrIpv6="CidrIpv6",
            prefixListId="PrefixListId",
            referencedSecurityGroupId="ReferencedGroupId",
            description="Description",
        )
        aws.ec2.modify_security_group_rules(
            GroupId=new["securityGroupId"],
            SecurityGroupRules=[{"SecurityGroupRuleId": id_, "SecurityGroupRule": rule}],
        )

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        revoke = getattr(aws.ec2, f"revoke_security_group_{self.direction}")
        revoke(GroupId=state["securityGroupId"], SecurityGroupRuleIds=[id_])


class SecurityGroupIngressRule(_Rule):
    token = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    direction = "ingress"


class SecurityGroupEgressRule(_Rule):
    token = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    direction = "egress"


class KeyPair(Ec2Handler):
    token = "aws:ec2/keyPair:KeyPair"
    inputs = frozenset({"keyName", "keyNamePrefix", "publicKey"})
    replaces = inputs
    named, prefixed = "keyName", "keyNamePrefix"
    exclusive = (("keyName", "keyNamePrefix"),)
    resource_type = "key-pair"

    def create(self, aws: Aws, props: Props) -> str:
        made = aws.ec2.import_key_pair(
            KeyName=self.name_of(props), PublicKeyMaterial=props["publicKey"].encode(), **self.specification(props)
        )
        name: str = made["KeyName"]
        return name

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        pair = self._pair(aws, id_)
        return pair and {
            "keyName": id_,
            "keyPairId": pair["KeyPairId"],
            "fingerprint": pair["KeyFingerprint"],
            "keyType": pair.get("KeyType"),
            "arn": aws.arn("ec2", f"key-pair/{id_}"),
            "tagsAll": tag_map(pair.get("Tags")),
        }

    def retag(self, aws: Aws, id_: str, gone: list[str], tags: Any) -> None:
        super().retag(aws, self._pair(aws, id_)["KeyPairId"], gone, tags)

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        aws.ec2.delete_key_pair(KeyName=id_)

    def _pair(self, aws: Aws, id_: str) -> Any:
        found: list[Any] = []
        with ignoring("InvalidKeyPair.NotFound"):
            found = aws.ec2.describe_key_pairs(KeyNames=[id_])["KeyPairs"]
        return only(found)
