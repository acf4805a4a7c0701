"""Policy documents, as JSON texts; pure. Each says who may do what to which part of the bucket and the group."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sweepfleet.infra.layout import BOUNDARY, NETRC_PARAMETER, BucketLayout

BUCKET = BucketLayout()
ME = "${aws:userid}"  # AWS puts the caller's in its place: role id, a colon, instance id

EC2_MAY_ASSUME = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)


def worker_policy(*, bucket_arn: str) -> str:
    """A worker reads code, environments and its certificate; it writes its host key, its request and artifacts.

    It lists, reads and writes checkpoints: a point may continue on another worker.
    """
    return _document(
        _allow(
            ["s3:GetObject"],
            [
                *(f"{bucket_arn}/{prefix}*" for prefix in (BUCKET.releases, BUCKET.environments, BUCKET.tls)),
                f"{bucket_arn}/{BUCKET.certificates}{ME}/*",
                f"{bucket_arn}/{BUCKET.checkpoints}*",
            ],
        ),
        _allow(
            ["s3:PutObject"],
            [
                *(f"{bucket_arn}/{key}" for key in (BUCKET.host_key(ME), BUCKET.request(ME), BUCKET.artifacts("*"))),
                f"{bucket_arn}/{BUCKET.checkpoints}*",
            ],
        ),
        _allow(["s3:ListBucket"], [bucket_arn])
        | {"Condition": {"StringLike": {"s3:prefix": f"{BUCKET.checkpoints}*"}}},
    )


def head_policy(*, bucket_arn: str, group_arns: Iterable[str], stack: str) -> str:
    """The head works in its own bucket and sizes its own groups. What AWS cannot narrow to a group is reading.

    It reads its stack's secret for package indexes. AWS's own key for parameters admits the account's callers.
    """
    partition = bucket_arn.split(":")[1]
    secret = f"arn:{partition}:ssm:*:*:parameter{NETRC_PARAMETER.format(stack=stack)}"
    shared = (BUCKET.releases, BUCKET.environments, BUCKET.tls)
    writes = (*shared, BUCKET.certificates, BUCKET.runs, BUCKET.stored, BUCKET.outbox)
    return _document(
        _allow(["s3:ListBucket"], [bucket_arn]),
        _allow(["s3:GetObject"], [f"{bucket_arn}/*"]),
        _allow(
            ["s3:PutObject"],
            [*(f"{bucket_arn}/{prefix}*" for prefix in writes), f"{bucket_arn}/{BUCKET.host_key(ME)}"],
        ),
        _allow(["s3:DeleteObject"], [f"{bucket_arn}/{prefix}*" for prefix in (BUCKET.checkpoints, BUCKET.parts)]),
        _allow(
            [
                "autoscaling:SetDesiredCapacity",
                "autoscaling:TerminateInstanceInAutoScalingGroup",
                "autoscaling:DetachInstances",
                "autoscaling:PutScheduledUpdateGroupAction",
                "autoscaling:DeleteScheduledAction",
            ],
            list(group_arns),
        ),
        _allow(["ssm:GetParameter"], [secret]),
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2autoscaling.html:
        # reading actions take no resource
        _allow(
            [
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:DescribeScalingActivities",
                "autoscaling:DescribeScheduledActions",
                "ec2:DescribeInstances",
                "ec2:DescribeSpotPriceHistory",
            ],
            ["*"],
        ),
    )


def machines_boundary() -> str:
    """What no machine of any cluster may exceed: a head's and a worker's policy, for the buckets and groups of all.

    `machines-boundary.json` beside this file holds it, for the administrator who makes it a policy of the account.
    """
    bucket = "arn:aws:s3:::sweepfleet-*"
    group = "arn:aws:autoscaling:*:*:autoScalingGroup:*:autoScalingGroupName/sweepfleet-*"
    policies = (head_policy(bucket_arn=bucket, group_arns=[group], stack="*"), worker_policy(bucket_arn=bucket))
    return _document(*(statement for policy in policies for statement in json.loads(policy)["Statement"]))


def boundary_arn(caller_arn: str) -> str:
    """The ARN of the account's own boundary; `caller_arn` is of anybody in the account."""
    _, partition, _, _, account, _ = caller_arn.split(":", 5)
    return f"arn:{partition}:iam::{account}:policy/{BOUNDARY}"


def bucket_policy(*, bucket_arn: str) -> str:
    """Nobody reaches the bucket without TLS."""
    return _document(
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [bucket_arn, f"{bucket_arn}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    )


def _allow(actions: list[str], resources: list[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def _document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
