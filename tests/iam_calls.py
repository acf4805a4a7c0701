"""What is asked of AWS, under IAM's names: which action on which resource."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import botocore.client
import pytest

from sweepfleet.infra.layout import IAM_PATH

SERVICES = {
    "s3control": "s3",
    "service-quotas": "servicequotas",
    "resourcegroupstaggingapi": "tag",
    "tagging": "tag",
}  # boto3's name to IAM's, where they differ
# S3's operations whose action has another name:
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
ACTIONS = {
    "HeadBucket": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjectsV2": "ListBucket",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeleteObjects": "DeleteObject",
}


# What EC2's calls name that the policy tells apart, by the argument that names it.
EC2_KINDS = {
    "LaunchTemplateId": "launch-template",
    "InstanceId": "instance",
    "InstanceIds": "instance",
    "InstanceId.1": "instance",
}
PREFIXES = {"launch-template": "lt", "instance": "i"}


def resource_of(service: str, given: dict[str, Any]) -> str:
    """The ARN that a call is about, as far as the policy tells them apart."""
    account = "123456789012"
    if service == "s3":
        return f"arn:aws:s3:::{given['Bucket']}" + (f"/{given['Key']}" if "Key" in given else "")
    if service == "s3control":
        return str(given["ResourceArn"])
    if service == "ssm":
        return f"arn:aws:ssm:eu-west-1::parameter{given['Name']}"  # of AWS's own, in no account
    if service == "iam":
        if "PolicyArn" in given:
            return str(given["PolicyArn"])
        if "InstanceProfileName" in given:
            return f"arn:aws:iam::{account}:instance-profile{IAM_PATH}{given['InstanceProfileName']}"
        return f"arn:aws:iam::{account}:role{IAM_PATH}{given['RoleName']}" if "RoleName" in given else "*"
    if service == "ec2":
        for key, kind in EC2_KINDS.items():
            named = given.get(key, ())
            for one in [named] if isinstance(named, str) else named:
                if one.startswith(f"{PREFIXES[kind]}-"):
                    return f"arn:aws:ec2:eu-west-1:{account}:{kind}/{one}"
    if service == "autoscaling":
        name = given.get("AutoScalingGroupName") or next(iter(given.get("Tags", [{}])), {}).get("ResourceId", "")
        return f"arn:aws:autoscaling:eu-west-1:{account}:autoScalingGroup:x:autoScalingGroupName/{name}"
    return "*"


def record_calls(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    """The set that every call of boto3 from now on is added to, as its action and resource."""
    calls: set[tuple[str, str]] = set()
    call = botocore.client.BaseClient._make_api_call

    def recorded(self: Any, operation: str, given: dict[str, Any]) -> Any:
        service = self.meta.service_model.service_name
        name = ACTIONS.get(operation, operation)
        calls.add((f"{SERVICES.get(service, service)}:{name}", resource_of(service, given)))
        return call(self, operation, given)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", recorded)
    return calls


# A bucket's settings, as its requests name them and as actions do.
SETTINGS = {
    "encryption": "EncryptionConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "location": "BucketLocation",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
}
TAGS = {"GET": "ListTagsForResource", "POST": "TagResource", "DELETE": "UntagResource"}
OBJECTS = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}


def recorded_calls(recording: str, *, key_arn: str) -> set[tuple[str, str]]:
    """What moto's recorder has, as actions on resources; whoever asked, and in whatever language.

    Args:
        recording: a request a line.
        key_arn: of the one key that there is; a request to decrypt does not name it.

    Raises:
        ValueError: a request that is not understood.
    """
    return {call for line in recording.splitlines() for call in _calls(json.loads(line), key_arn)}


def _calls(request: Mapping[str, Any], key_arn: str) -> set[tuple[str, str]]:
    headers = {name.lower(): value for name, value in request["headers"].items()}
    signed = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/aws4_request", headers.get("authorization", ""))
    if signed is None:
        return set()  # nobody's: moto's own pages
    service, url = signed[1], urlsplit(request["url"])
    body = base64.b64decode(request["body"]).decode() if request["body_encoded"] else request["body"]
    if service == "s3":
        return _s3_calls(request["method"], unquote(url.path), url.query, headers)
    if "x-amz-target" in headers:
        action, given = headers["x-amz-target"].rpartition(".")[2], json.loads(body or "{}")
    else:
        fields = {name: values[0] for name, values in parse_qs(body or url.query).items()}
        tagged = (
            {"Tags": [{"ResourceId": fields["Tags.member.1.ResourceId"]}]}
            if "Tags.member.1.ResourceId" in fields
            else {}
        )
        action, given = fields["Action"], {**fields, **tagged}
    resource = key_arn if service == "kms" else resource_of(service, given)
    return {(f"{SERVICES.get(service, service)}:{action}", resource)}


def _s3_calls(method: str, path: str, query: str, headers: Mapping[str, str]) -> set[tuple[str, str]]:
    _, control, tagged = path.partition("/v20180820/tags/")  # S3 Control's
    if control:
        return {(f"s3:{TAGS[method]}", tagged)}
    bucket, _, key = path.lstrip("/").partition("/")
    arn, asked = f"arn:aws:s3:::{bucket}", parse_qs(query, keep_blank_values=True)
    if key:
        copied = unquote(headers.get("x-amz-copy-source", "")).lstrip("/")
        source = {("s3:GetObject", f"arn:aws:s3:::{copied}")} if copied else set()
        return {(f"s3:{OBJECTS[method]}", f"{arn}/{key}")} | source
    settings = [SETTINGS[name] for name in asked if name in SETTINGS]
    if settings:
        return {(f"s3:{'Get' if method == 'GET' else 'Put'}{settings[0]}", arn)}
    if method == "HEAD" or (method == "GET" and asked.get("list-type") == ["2"]):
        return {("s3:ListBucket", arn)}
    if method == "PUT" and not asked:
        return {("s3:CreateBucket", arn)}
    raise ValueError(f"cannot evaluate {method} {path}?{query}")
