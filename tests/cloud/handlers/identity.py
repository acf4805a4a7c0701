"""Roles, their policies, and the instance profiles that hand them to machines."""
# ruff: noqa: ARG002, S105 - a handler takes what the base class says; a token is Pulumi's name of a type

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from tests.cloud.aws import Aws, ignoring, tag_list, tag_map
from tests.cloud.handlers.base import Handler, Props, picked

GONE = "NoSuchEntity"


def _retag(aws: Aws, kind: str, gone: list[str], tags: Mapping[str, str], **which: str) -> None:
    """Take tags off something, and put others on; `kind` as IAM's calls name it, `which` as they are told it."""
    if gone:
        getattr(aws.iam, f"untag_{kind}")(**which, TagKeys=gone)
    if tags:
        getattr(aws.iam, f"tag_{kind}")(**which, Tags=tag_list(tags))


class Role(Handler):
    token = "aws:iam/role:Role"
    inputs = frozenset(
        {
            "name",
            "namePrefix",
            "assumeRolePolicy",
            "description",
            "path",
            "permissionsBoundary",
            "forceDetachPolicies",
            "maxSessionDuration",
        }
    )
    replaces = frozenset({"name", "namePrefix", "path"})
    documents = frozenset({"assumeRolePolicy"})
    named, prefixed = "name", "namePrefix"
    exclusive = (("name", "namePrefix"),)
    tagged = True

    def create(self, aws: Aws, props: Props) -> str:
        made = aws.iam.create_role(
            RoleName=self.name_of(props),
            AssumeRolePolicyDocument=props["assumeRolePolicy"],
            Tags=tag_list(props["tagsAll"]),
            **picked(
                props,
                description="Description",
                path="Path",
                permissionsBoundary="PermissionsBoundary",
                maxSessionDuration="MaxSessionDuration",
            ),
        )
        name: str = made["Role"]["RoleName"]
        return name

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        role = None
        with ignoring(GONE):
            role = aws.iam.get_role(RoleName=id_)["Role"]
        return role and {
            "name": id_,
            "arn": role["Arn"],
            "path": role["Path"],
            "uniqueId": role["RoleId"],
            "createDate": role["CreateDate"].isoformat(),
            "assumeRolePolicy": json.dumps(role["AssumeRolePolicyDocument"]),
            "description": role.get("Description") or None,
            "maxSessionDuration": role.get("MaxSessionDuration"),
            "permissionsBoundary": role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
            "tagsAll": tag_map(role.get("Tags")),
        }

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        if "assumeRolePolicy" in changed:
            aws.iam.update_assume_role_policy(RoleName=id_, PolicyDocument=new["assumeRolePolicy"])
        if {"description", "maxSessionDuration"} & changed:
            lasting = picked(new, maxSessionDuration="MaxSessionDuration")
            aws.iam.update_role(RoleName=id_, Description=new.get("description", ""), **lasting)
        if "permissionsBoundary" in changed and new.get("permissionsBoundary"):
            aws.iam.put_role_permissions_boundary(RoleName=id_, PermissionsBoundary=new["permissionsBoundary"])
        elif "permissionsBoundary" in changed:
            aws.iam.delete_role_permissions_boundary(RoleName=id_)

    def retag(self, aws: Aws, id_: str, gone: list[str], tags: Mapping[str, str]) -> None:
        _retag(aws, "role", gone, tags, RoleName=id_)

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        for profile in aws.iam.list_instance_profiles_for_role(RoleName=id_)["InstanceProfiles"]:
            aws.iam.remove_role_from_instance_profile(
                InstanceProfileName=profile["InstanceProfileName"], RoleName=id_
            )
        if state.get("forceDetachPolicies"):
            for policy in aws.iam.list_attached_role_policies(RoleName=id_)["AttachedPolicies"]:
                aws.iam.detach_role_policy(RoleName=id_, PolicyArn=policy["PolicyArn"])
            for name in aws.iam.list_role_policies(RoleName=id_)["PolicyNames"]:
                aws.iam.delete_role_policy(RoleName=id_, PolicyName=name)
        aws.iam.delete_role(RoleName=id_)


class RolePolicy(Handler):
    token = "aws:iam/rolePolicy:RolePolicy"
    inputs = frozenset({"role", "name", "namePrefix", "policy"})
    replaces = frozenset({"role", "name", "namePrefix"})
    documents = frozenset({"policy"})
    named, prefixed = "name", "namePrefix"
    exclusive = (("name", "namePrefix"),)

    def create(self, aws: Aws, props: Props) -> str:
        name = self.name_of(props)
        aws.iam.put_role_policy(RoleName=props["role"], PolicyName=name, PolicyDocument=props["policy"])
        return f"{props['role']}:{name}"

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        role, name = id_.split(":")
        found = None
        with ignoring(GONE):
            found = aws.iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        if found is None:
            return None
        return {"role": role, "name": name, "policy": found if isinstance(found, str) else json.dumps(found)}

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        role, name = id_.split(":")
        aws.iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=new["policy"])

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        role, name = id_.split(":")
        aws.iam.delete_role_policy(RoleName=role, PolicyName=name)


class Policy(Handler):
    token = "aws:iam/policy:Policy"
    inputs = frozenset({"name", "namePrefix", "path", "description", "policy"})
    replaces = frozenset({"name", "namePrefix", "path", "description"})
    documents = frozenset({"policy"})
    named, prefixed = "name", "namePrefix"
    exclusive = (("name", "namePrefix"),)
    tagged = True

    def create(self, aws: Aws, props: Props) -> str:
        made = aws.iam.create_policy(
            PolicyName=self.name_of(props),
            PolicyDocument=props["policy"],
            Tags=tag_list(props["tagsAll"]),
            **picked(props, path="Path", description="Description"),
        )
        arn: str = made["Policy"]["Arn"]
        return arn

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        found = None
        with ignoring(GONE):
            found = aws.iam.get_policy(PolicyArn=id_)["Policy"]
        if not found:
            return None
        version = aws.iam.get_policy_version(PolicyArn=id_, VersionId=found["DefaultVersionId"])["PolicyVersion"]
        document = version["Document"]
        return {
            "arn": id_,
            "name": found["PolicyName"],
            "policyId": found["PolicyId"],
            "path": found["Path"],
            "description": found.get("Description") or None,
            "policy": document if isinstance(document, str) else json.dumps(document),
            "tagsAll": tag_map(aws.iam.list_policy_tags(PolicyArn=id_)["Tags"]),
        }

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        if "policy" in changed:
            self._drop_versions(aws, id_)  # a policy has five at most
            aws.iam.create_policy_version(PolicyArn=id_, PolicyDocument=new["policy"], SetAsDefault=True)

    def retag(self, aws: Aws, id_: str, gone: list[str], tags: Mapping[str, str]) -> None:
        _retag(aws, "policy", gone, tags, PolicyArn=id_)

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        self._drop_versions(aws, id_)
        aws.iam.delete_policy(PolicyArn=id_)

    def _drop_versions(self, aws: Aws, id_: str) -> None:
        """All but the one that holds."""
        for version in aws.iam.list_policy_versions(PolicyArn=id_)["Versions"]:
            if not version["IsDefaultVersion"]:
                aws.iam.delete_policy_version(PolicyArn=id_, VersionId=version["VersionId"])


class InstanceProfile(Handler):
    token = "aws:iam/instanceProfile:InstanceProfile"
    inputs = frozenset({"name", "namePrefix", "path", "role"})
    replaces = frozenset({"name", "namePrefix", "path"})
    named, prefixed = "name", "namePrefix"
    exclusive = (("name", "namePrefix"),)
    tagged = True

    def create(self, aws: Aws, props: Props) -> str:
        made = aws.iam.create_instance_profile(
            InstanceProfileName=self.name_of(props), Tags=tag_list(props["tagsAll"]), **picked(props, path="Path")
        )
        name: str = made["InstanceProfile"]["InstanceProfileName"]
        return name

    def finish(self, aws: Aws, id_: str, props: Props) -> None:
        if props.get("role") and props["role"] not in self._roles(aws, id_):
            aws.iam.add_role_to_instance_profile(InstanceProfileName=id_, RoleName=props["role"])

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        profile = None
        with ignoring(GONE):
            profile = aws.iam.get_instance_profile(InstanceProfileName=id_)["InstanceProfile"]
        return profile and {
            "name": id_,
            "role": profile["Roles"][0]["RoleName"] if profile["Roles"] else None,
            "arn": unquote(profile["Arn"]),
            "path": profile["Path"],
            "uniqueId": profile["InstanceProfileId"],
            "createDate": profile["CreateDate"].isoformat(),
            "tagsAll": tag_map(profile.get("Tags")),
        }

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        self._empty(aws, id_)
        self.finish(aws, id_, new)

    def retag(self, aws: Aws, id_: str, gone: list[str], tags: Mapping[str, str]) -> None:
        _retag(aws, "instance_profile", gone, tags, InstanceProfileName=id_)

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        self._empty(aws, id_)
        aws.iam.delete_instance_profile(InstanceProfileName=id_)

    def _empty(self, aws: Aws, id_: str) -> None:
        for role in self._roles(aws, id_):
            aws.iam.remove_role_from_instance_profile(InstanceProfileName=id_, RoleName=role)

    def _roles(self, aws: Aws, id_: str) -> list[str]:
        profile = aws.iam.get_instance_profile(InstanceProfileName=id_)["InstanceProfile"]
        return [role["RoleName"] for role in profile["Roles"]]


class OpenIdConnectProvider(Handler):
    token = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
    inputs = frozenset({"url", "clientIdLists", "thumbprintLists"})
    replaces = frozenset({"url", "clientIdLists"})  # AWS takes other clients in place, moto does not
    sets = frozenset({"clientIdLists"})
    tagged = True

    def create(self, aws: Aws, props: Props) -> str:
        made = aws.iam.create_open_id_connect_provider(
            Url=props["url"],
            ClientIDList=props["clientIdLists"],
            Tags=tag_list(props["tagsAll"]),
            **picked(props, thumbprintLists="ThumbprintList"),
        )
        arn: str = made["OpenIDConnectProviderArn"]
        return arn

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        found = None
        with ignoring(GONE):
            found = aws.iam.get_open_id_connect_provider(OpenIDConnectProviderArn=id_)
        return found and {
            "arn": id_,
            "url": f"https://{found['Url'].removeprefix('https://')}",
            "clientIdLists": found["ClientIDList"],
            "tagsAll": tag_map(found.get("Tags")),
        }

    def retag(self, aws: Aws, id_: str, gone: list[str], tags: Mapping[str, str]) -> None:
        _retag(aws, "open_id_connect_provider", gone, tags, OpenIDConnectProviderArn=id_)

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        aws.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=id_)
