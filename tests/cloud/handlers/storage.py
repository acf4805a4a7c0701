"""Buckets, and the settings of a bucket that are resources of their own.

A bucket's tags go by S3 Control's TagResource and its kin, as in the provider since 7.13:
https://github.com/hashicorp/terraform-provider-aws/pull/45251
"""
# ruff: noqa: ARG002, S105 - a handler takes what the base class says; a token is Pulumi's name of a type

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from tests.cloud.aws import ACCOUNT, Aws, CloudError, ignoring, tag_list, tag_map
from tests.cloud.handlers.base import Handler, Props, lower, pascal

GONE = ("NoSuchBucket", "404")


class Bucket(Handler):
    token = "aws:s3/bucket:Bucket"
    inputs = frozenset({"bucket", "bucketPrefix", "forceDestroy"})
    replaces = frozenset({"bucket", "bucketPrefix"})
    named, prefixed = "bucket", "bucketPrefix"
    exclusive = (("bucket", "bucketPrefix"),)
    tagged = True

    def create(self, aws: Aws, props: Props) -> str:
        name = self.name_of(props)
        if self.read(aws, name, props):
            # Where AWS itself would say yes to the owner of the name (us-east-1), the provider looks first.
            raise CloudError(f"creating {self.token}: BucketAlreadyExists: {name}")
        where = {} if aws.region == "us-east-1" else {"LocationConstraint": aws.region}
        aws.s3.create_bucket(Bucket=name, **({"CreateBucketConfiguration": where} if where else {}))
        return name

    def finish(self, aws: Aws, id_: str, props: Props) -> None:
        if props["tagsAll"]:  # the provider sends them with CreateBucket, for the same right; moto drops them there
            self.retag(aws, id_, [], props["tagsAll"])

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        head = None
        with ignoring(*GONE):
            head = aws.s3.head_bucket(Bucket=id_)
        if head is None:
            return None
        tags = aws.s3control.list_tags_for_resource(AccountId=ACCOUNT, ResourceArn=f"arn:aws:s3:::{id_}")["Tags"]
        return {
            "bucket": id_,
            "arn": f"arn:aws:s3:::{id_}",
            "bucketDomainName": f"{id_}.s3.amazonaws.com",
            "bucketRegionalDomainName": f"{id_}.s3.{aws.region}.amazonaws.com",
            "bucketRegion": head["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", aws.region),
            "forceDestroy": state.get("forceDestroy", False),
            "tagsAll": tag_map(tags),
        }

    def retag(self, aws: Aws, id_: str, gone: list[str], tags: Mapping[str, str]) -> None:
        bucket = {"AccountId": ACCOUNT, "ResourceArn": f"arn:aws:s3:::{id_}"}
        if gone:
            aws.s3control.untag_resource(**bucket, TagKeys=gone)
        if tags:
            aws.s3control.tag_resource(**bucket, Tags=tag_list(tags))

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        if state.get("forceDestroy"):
            # moto cannot unmake a delete marker while versioning is suspended, as it is once that resource is gone.
            if aws.s3.get_bucket_versioning(Bucket=id_).get("Status") == "Suspended":
                aws.s3.put_bucket_versioning(Bucket=id_, VersioningConfiguration={"Status": "Enabled"})
            for page in aws.s3.get_paginator("list_object_versions").paginate(Bucket=id_):
                found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
                objects = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
                if objects:
                    aws.s3.delete_objects(Bucket=id_, Delete={"Objects": objects})
        aws.s3.delete_bucket(Bucket=id_)


class _BucketSetting(Handler):
    """A setting of one bucket: its id is the bucket's name, and putting it again is updating it."""

    replaces = frozenset({"bucket"})
    absent: ClassVar[str]  # AWS's error code for a bucket without this setting

    def create(self, aws: Aws, props: Props) -> str:
        self.put(aws, props["bucket"], props)
        bucket: str = props["bucket"]
        return bucket

    def read(self, aws: Aws, id_: str, state: Props) -> dict[str, Any] | None:
        found = None
        with ignoring(*GONE, self.absent):
            found = self.get(aws, id_)
        return None if found is None else {"bucket": id_, **found}

    def update(self, aws: Aws, id_: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        self.put(aws, id_, new)

    def put(self, aws: Aws, bucket: str, props: Props) -> None:
        raise NotImplementedError

    def get(self, aws: Aws, bucket: str) -> dict[str, Any] | None:
        raise NotImplementedError


class BucketPublicAccessBlock(_BucketSetting):
    token = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    switches = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    inputs = frozenset({"bucket", *switches})
    absent = "NoSuchPublicAccessBlockConfiguration"

    def put(self, aws: Aws, bucket: str, props: Props) -> None:
        block = pascal({key: props.get(key, False) for key in self.switches})
        aws.s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)

    def get(self, aws: Aws, bucket: str) -> dict[str, Any] | None:
        block = aws.s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
        return dict(lower(block))

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        aws.s3.delete_public_access_block(Bucket=id_)


class BucketServerSideEncryptionConfiguration(_BucketSetting):
    token = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    inputs = frozenset({"bucket", "rules"})
    sets = frozenset({"rules"})
    absent = "ServerSideEncryptionConfigurationNotFoundError"

    def put(self, aws: Aws, bucket: str, props: Props) -> None:
        rules = []
        for rule in props["rules"]:
            unknown = rule.keys() - {"applyServerSideEncryptionByDefault", "bucketKeyEnabled"}
            if unknown:
                raise CloudError(f"{self.token}: the stand-in provider does not know a rule's {sorted(unknown)}")
            by_default = rule.get("applyServerSideEncryptionByDefault", {})
            names = {"sseAlgorithm": "SSEAlgorithm", "kmsMasterKeyId": "KMSMasterKeyID"}
            rules.append(
                {
                    "ApplyServerSideEncryptionByDefault": {names[key]: value for key, value in by_default.items()},
                    "BucketKeyEnabled": rule.get("bucketKeyEnabled", False),
                }
            )
        aws.s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})

    def get(self, aws: Aws, bucket: str) -> dict[str, Any] | None:
        aws.s3.get_bucket_encryption(Bucket=bucket)
        return {}  # AWS fills in rules of its own: what was asked for stays the state

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        aws.s3.delete_bucket_encryption(Bucket=id_)


class BucketVersioning(_BucketSetting):
    token = "aws:s3/bucketVersioning:BucketVersioning"
    inputs = frozenset({"bucket", "versioningConfiguration"})
    absent = "NoSuchBucket"

    def put(self, aws: Aws, bucket: str, props: Props) -> None:
        status = props["versioningConfiguration"]["status"]
        aws.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})

    def get(self, aws: Aws, bucket: str) -> dict[str, Any] | None:
        status = aws.s3.get_bucket_versioning(Bucket=bucket).get("Status")
        return {"versioningConfiguration": {"status": status}} if status else None

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        # A bucket once versioned is never unversioned again: AWS knows only suspended.
        aws.s3.put_bucket_versioning(Bucket=id_, VersioningConfiguration={"Status": "Suspended"})


class BucketLifecycleConfiguration(_BucketSetting):
    token = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
    inputs = frozenset({"bucket", "rules"})
    absent = "NoSuchLifecycleConfiguration"

    def put(self, aws: Aws, bucket: str, props: Props) -> None:
        rules = pascal(props["rules"])
        for rule in rules:
            rule["ID"] = rule.pop("Id")
            rule.setdefault("Filter", {"Prefix": ""})  # as the provider does: AWS wants one
        aws.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})

    def get(self, aws: Aws, bucket: str) -> dict[str, Any] | None:
        aws.s3.get_bucket_lifecycle_configuration(Bucket=bucket)
        return {}  # AWS answers an empty filter in several ways: what was asked for stays the state

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        aws.s3.delete_bucket_lifecycle(Bucket=id_)


class BucketOwnershipControls(_BucketSetting):
    token = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
    inputs = frozenset({"bucket", "rule"})
    absent = "OwnershipControlsNotFoundError"

    def put(self, aws: Aws, bucket: str, props: Props) -> None:
        aws.s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [pascal(props["rule"])]})

    def get(self, aws: Aws, bucket: str) -> dict[str, Any] | None:
        rules = aws.s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
        return {"rule": lower(rules[0])}

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        aws.s3.delete_bucket_ownership_controls(Bucket=id_)


class BucketPolicy(_BucketSetting):
    token = "aws:s3/bucketPolicy:BucketPolicy"
    inputs = frozenset({"bucket", "policy"})
    documents = frozenset({"policy"})
    absent = "NoSuchBucketPolicy"

    def put(self, aws: Aws, bucket: str, props: Props) -> None:
        json.loads(props["policy"])  # moto takes any text; AWS says MalformedPolicy
        aws.s3.put_bucket_policy(Bucket=bucket, Policy=props["policy"])

    def get(self, aws: Aws, bucket: str) -> dict[str, Any] | None:
        return {"policy": aws.s3.get_bucket_policy(Bucket=bucket)["Policy"]}

    def delete(self, aws: Aws, id_: str, state: Props) -> None:
        aws.s3.delete_bucket_policy(Bucket=id_)
