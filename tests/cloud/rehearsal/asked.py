"""What a request to AWS asks for: an action and a resource, in the words of IAM policies. Pure.

S3's actions by request: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import unescape

SCOPE = re.compile(r"Credential=([^/,\s]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
OBJECT_PARTS = {"acl": "Acl", "tagging": "Tagging", "retention": "Retention", "legal-hold": "LegalHold"}
METHODS = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "POST": "Put", "DELETE": "Delete"}


@dataclass(frozen=True)
class Signed:
    """Who signed a request, and for which service."""

    key_id: str
    region: str
    service: str


@dataclass(frozen=True)
class Asked:
    """One permission that a request needs."""

    action: str
    resource: str


def signed(authorization: str, query: str) -> Signed | None:
    """The signature's claims, from the header or from a presigned URL; None for an unsigned request."""
    if found := SCOPE.search(authorization):
        return Signed(*found.groups())
    credential = parse_qs(query).get("X-Amz-Credential", [""])[0].split("/")
    return Signed(credential[0], *credential[2:4]) if len(credential) == 5 else None


def s3(method: str, path: str, query: str, copied: str = "") -> list[Asked]:
    """What a request to S3 needs; `copied` is the header that names an object to copy."""
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    parts = set(parse_qs(query, keep_blank_values=True))
    arn = f"arn:aws:s3:::{bucket}"
    if not bucket:
        return [Asked("s3:ListAllMyBuckets", "*")]
    if not key:
        return [Asked(_bucket_action(method, parts), arn if method != "POST" else f"{arn}/*")]
    asked = [Asked(_object_action(method, parts), f"{arn}/{key}")]
    if copied:
        asked.append(Asked("s3:GetObject", f"arn:aws:s3:::{unquote(copied).lstrip('/').partition('?')[0]}"))
    return asked


def deleted(path: str, body: str) -> list[Asked]:
    """What a request to delete several objects needs: the right to delete each.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
    """
    bucket = unquote(path).strip("/")
    keys = re.findall(r"<Key>(.*?)</Key>", body, flags=re.DOTALL)
    return [Asked("s3:DeleteObject", f"arn:aws:s3:::{bucket}/{unescape(key)}") for key in keys]


def _bucket_action(method: str, parts: set[str]) -> str:
    if method == "POST" and "delete" in parts:
        return "s3:DeleteObject"
    special = parts & {"location", "versioning", "policy", "acl", "tagging", "lifecycle", "encryption"}
    if special:
        return f"s3:{METHODS[method]}Bucket{special.pop().title()}"
    if method in {"GET", "HEAD"}:
        versions = {"versions": "s3:ListBucketVersions", "uploads": "s3:ListBucketMultipartUploads"}
        return next((action for part, action in versions.items() if part in parts), "s3:ListBucket")
    return {"PUT": "s3:CreateBucket", "DELETE": "s3:DeleteBucket"}.get(method, f"s3:{method}")


def _object_action(method: str, parts: set[str]) -> str:
    version = "Version" if "versionId" in parts else ""
    for part, name in OBJECT_PARTS.items():
        if part in parts:
            return f"s3:{METHODS[method]}Object{version}{name}"
    if "uploadId" in parts and method in {"DELETE", "GET"}:
        return {"DELETE": "s3:AbortMultipartUpload", "GET": "s3:ListMultipartUploadParts"}[method]
    return f"s3:{METHODS[method]}Object{version if method != 'PUT' else ''}"


def api(service: str, target: str, body: str, group_arn: Callable[[Mapping[str, str]], str]) -> list[Asked]:
    """What a request to another service needs; `group_arn` finds the autoscaling group that the parameters mean.

    The action is in the `X-Amz-Target` header of services that speak JSON, and among the parameters of others.
    Every resource is `*` but an autoscaling group and an SSM parameter.
    """
    if target == "AmazonSSM.GetParameter":
        return [Asked("ssm:GetParameter", f"arn:aws:ssm:::parameter{json.loads(body)['Name']}")]
    parameters = {name: values[0] for name, values in parse_qs(body).items()} if not target else {}
    action = target.partition(".")[2] or parameters.get("Action", "")
    changes = service == "autoscaling" and not action.startswith("Describe")
    return [Asked(f"{service}:{action}", group_arn(parameters) if changes else "*")]
