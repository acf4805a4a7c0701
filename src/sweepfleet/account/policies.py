"""What the pipeline's roles may do, as JSON texts; pure.

What making a cluster takes is in operator-policy.json beside this file, for people and for the pipeline alike.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweepfleet.infra.layout import BOUNDARY, BucketLayout
from sweepfleet.infra.settings import PROJECT

OPERATOR_POLICY = Path(__file__).with_name("operator-policy.json")
PLANS = "plans/"  # in the state's bucket: what was previewed, by stack and tree
OPERATORS_BOUNDARY = f"arn:aws:iam::${{aws:PrincipalAccount}}:policy/{BOUNDARY}"
READING = ("Describe", "Get", "List")  # how the names of actions begin that change nothing
# Of a cluster's bucket a preview reads the settings, and of what is in it no more than what sweeps have cost.
BUCKET_SETTINGS = ["s3:GetBucket*", "s3:Get*Configuration", "s3:ListBucket", "s3:ListTagsForResource"]
SUMMARIES = f"{BucketLayout().runs}*/summary.json"
# Where Pulumi keeps a project's state; its lock names the organization too, which a bucket has only one of.
# https://github.com/pulumi/pulumi/blob/v3.260.0/pkg/backend/diy/store.go
STATE = (
    *(f".pulumi/{folder}/{PROJECT}/*" for folder in ("stacks", "history", "backups")),
    f".pulumi/locks/organization/{PROJECT}/*",
)


def operator_statements() -> list[dict[str, Any]]:
    """The statements of the operator's policy."""
    statements: list[dict[str, Any]] = json.loads(OPERATOR_POLICY.read_text())["Statement"]
    return statements


def deploy_policy(operator: Sequence[dict[str, Any]], *, state_arn: str, key_arn: str, boundary_arn: str) -> str:
    """What an operator may, with machines' roles inside the boundary; the clusters' state, and the plans to read."""
    return _document(
        *(_bounded(statement, boundary_arn) for statement in operator),
        *_read_state(state_arn, key_arn),
        _allow("State", ["s3:PutObject", "s3:DeleteObject"], [f"{state_arn}/{path}" for path in STATE]),
    )


def preview_policy(operator: Sequence[dict[str, Any]], *, state_arn: str, key_arn: str) -> str:
    """What an operator may look at, the clusters' state to read, and the plans to write; code of anybody's branch."""
    return _document(
        *(reading for statement in operator if (reading := _reading(statement))),
        _allow("BucketSettings", BUCKET_SETTINGS, [f"arn:aws:s3:::{PROJECT}-*"]),
        _allow("Summaries", ["s3:GetObject"], [f"arn:aws:s3:::{PROJECT}-*/{SUMMARIES}"]),
        *_read_state(state_arn, key_arn),
        _allow("Plans", ["s3:PutObject"], [f"{state_arn}/{PLANS}*"]),
    )


def _bounded(statement: dict[str, Any], boundary_arn: str) -> dict[str, Any]:
    """A statement with the pipeline's own boundary where the operator's has the account's."""
    return dict(json.loads(json.dumps(statement).replace(OPERATORS_BOUNDARY, boundary_arn)))


def _reading(statement: dict[str, Any]) -> dict[str, Any] | None:
    """What of a statement changes nothing; buckets are left out, since their Get* reads what is in them, too.

    What is denied stays denied.
    """
    actions = [one for one in statement["Action"] if one.partition(":")[2].startswith(READING)]
    actions = [one for one in actions if not one.startswith("s3:")]
    return {**statement, "Action": actions} if actions else None


def _read_state(state_arn: str, key_arn: str) -> tuple[dict[str, Any], ...]:
    return (
        _allow("FindState", ["s3:ListBucket"], [state_arn]),
        _allow("ReadState", ["s3:GetObject"], [f"{state_arn}/.pulumi/*", f"{state_arn}/{PLANS}*"]),
        _allow("ReadSecrets", ["kms:Decrypt"], [key_arn]),
    )


def _allow(sid: str, actions: list[str], resources: list[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}


def _document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, separators=(",", ":"))
