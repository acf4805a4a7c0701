"""What is asked of AWS, under IAM's names: which action on which resource."""

from __future__ import annotations

from typing import Any

import botocore.client
import pytest

SERVICES = {"service-quotas": "servicequotas"}  # boto3's name to IAM's, where they differ
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


def resource_of(service: str, given: dict[str, Any]) -> str:
    """The ARN that a call is about, as far as the policy tells them apart."""
    account = "123456789012"
    if service == "s3":
        return f"arn:aws:s3:::{given['Bucket']}" + (f"/{given['Key']}" if "Key" in given else "")
    if service == "ssm":
        return f"arn:aws:ssm:eu-west-1::parameter{given['Name']}"  # of AWS's own, in no account
    if service == "iam":
        if "InstanceProfileName" in given:
            return f"arn:aws:iam::{account}:instance-profile/{given['InstanceProfileName']}"
        return f"arn:aws:iam::{account}:role/{given['RoleName']}"
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
