"""Encryption keys, and the names they go by."""
# ruff: noqa: ARG002, S105 - a handler takes what the base class says; a token is Pulumi's name of a type

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.cloud.aws import Aws, ignoring
from tests.cloud.handlers.base import Handler, Props, only, picked

GONE = "NotFoundException"
MOST_DAYS, LEAST_DAYS = 30, 7  # before a deleted key is gone


class Key(Handler):
    token = "aws:kms/key:Key"
    inputs = frozenset({"description", "enableKeyRotation", "deletionWindowInDays", "policy"})
    documents = frozenset({"policy"})
    tagged = True

    def create(self, aws: Aws, props: Props) -> str:
        made = aws.client("kms").create_key(
            KeyUsage="ENCRYPT_DECRYPT",
            Tags=_tags(props["tagsAll"]),
            **picked(props, description="Description", policy="Policy"),
        )
        id_: str = made["KeyMetadata"]["KeyId"]
        return id_

    def finish(self, aws: Aws, id_: str, props: Props) -> None:
        if props.get("enableKeyRotation"):
            aws.client("kms").enable_key_rotation(KeyId=id_)

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        kms, key = aws.client("kms"), None
        with ignoring(GONE):
            key = kms.describe_key(KeyId=id_)["KeyMetadata"]
        if key is None or key["KeyState"] == "PendingDeletion":
            return None
        tags = kms.list_resource_tags(KeyId=id_)["Tags"]
        return {
            "keyId": id_,
            "arn": key["Arn"],
            "description": key["Description"],
            "isEnabled": key["Enabled"],
            "keyUsage": key["KeyUsage"],
            "enableKeyRotation": kms.get_key_rotation_status(KeyId=id_)["KeyRotationEnabled"],
            "policy": kms.get_key_policy(KeyId=id_, PolicyName="default")["Policy"],
            "tagsAll": {tag["TagKey"]: tag["TagValue"] for tag in tags},
        }

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        kms = aws.client("kms")
        if "description" in changed:
            kms.update_key_description(KeyId=id_, Description=new.get("description", ""))
        if "enableKeyRotation" in changed and new.get("enableKeyRotation"):
            kms.enable_key_rotation(KeyId=id_)
        elif "enableKeyRotation" in changed:
            kms.disable_key_rotation(KeyId=id_)
        if "policy" in changed:
            kms.put_key_policy(KeyId=id_, PolicyName="default", Policy=new["policy"])

    def retag(self, aws: Aws, id_: str, gone: list[str], tags: Mapping[str, str]) -> None:
        if gone:
            aws.client("kms").untag_resource(KeyId=id_, TagKeys=gone)
        if tags:
            aws.client("kms").tag_resource(KeyId=id_, Tags=_tags(tags))

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        days = int(state.get("deletionWindowInDays", MOST_DAYS))
        aws.client("kms").schedule_key_deletion(KeyId=id_, PendingWindowInDays=max(LEAST_DAYS, days))


class Alias(Handler):
    token = "aws:kms/alias:Alias"
    inputs = frozenset({"name", "targetKeyId"})
    replaces = frozenset({"name"})
    named = "name"

    def create(self, aws: Aws, props: Props) -> str:
        name = self.name_of(props)
        aws.client("kms").create_alias(AliasName=name, TargetKeyId=props["targetKeyId"])
        return name

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        aliases = aws.client("kms").list_aliases()["Aliases"]
        found = only([one for one in aliases if one["AliasName"] == id_])
        return found and {
            "name": id_,
            "arn": found["AliasArn"],
            "targetKeyId": found["TargetKeyId"],
            "targetKeyArn": aws.arn("kms", f"key/{found['TargetKeyId']}"),
        }

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        aws.client("kms").update_alias(AliasName=id_, TargetKeyId=new["targetKeyId"])

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        aws.client("kms").delete_alias(AliasName=id_)


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"TagKey": key, "TagValue": value} for key, value in tags.items()]
