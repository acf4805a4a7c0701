"""The stack's bucket, seen from outside: how much is in it, and how to empty it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a bucket, without old versions."""

    objects: int
    size_bytes: int

    def __str__(self) -> str:
        return f"{self.objects:,} objects, {self.size_bytes / 1e6:,.1f} MB"


def contents(cloud: Cloud, bucket: str) -> Contents | None:
    """Count a bucket's objects; None when it is not there."""
    s3 = cloud.client("s3")
    objects = size_bytes = 0
    with asking_aws(f"list the bucket {bucket}"):
        try:
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                objects += len(page.get("Contents", ()))
                size_bytes += sum(one["Size"] for one in page.get("Contents", ()))
        except s3.exceptions.NoSuchBucket:
            return None
    return Contents(objects, size_bytes)


def get_json(cloud: Cloud, bucket: str, key: str, *, doing: str) -> dict[str, Any] | None:
    """An object that is JSON; None when it is not there. Raises ClusterError: AWS refuses, what is being done."""
    s3 = cloud.client("s3")
    with asking_aws(doing):
        try:
            found: dict[str, Any] = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except s3.exceptions.NoSuchKey:
            return None
    return found


def get_bytes(cloud: Cloud, bucket: str, key: str, *, doing: str) -> bytes:
    """An object's content. Raises ClusterError: it is not there, or AWS refuses; what is being done."""
    with asking_aws(doing):
        found: bytes = cloud.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return found


def exists(cloud: Cloud, bucket: str, key: str) -> bool:
    """Whether an object is there. Raises ClusterError: AWS refuses."""
    with asking_aws("look into the bucket"):
        try:
            cloud.client("s3").head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"404", "NoSuchKey"}:
                raise
            return False
    return True


def empty(cloud: Cloud, bucket: str, *, deleted: Callable[[int], None] = lambda _: None) -> int:
    """Delete everything in a bucket, old versions and unfinished uploads too.

    Args:
        cloud: the account.
        bucket: its name.
        deleted: is told how many versions have gone so far.

    Returns:
        how many versions went.
    """
    s3 = cloud.client("s3")
    gone = 0
    with asking_aws(f"empty the bucket {bucket}"):
        while True:  # always the first page: what it held is gone by the next look
            page = s3.list_object_versions(Bucket=bucket)
            found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            if not found:
                break
            which = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": which, "Quiet": True})
            if answer.get("Errors"):
                first = answer["Errors"][0]
                raise ClusterError(
                    f"{bucket}: {first['Key']} cannot be deleted: {first.get('Message', first['Code'])}"
                )
            gone += len(which)
            deleted(gone)
        for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
            for upload in page.get("Uploads", ()):
                s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    return gone
