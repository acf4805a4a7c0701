"""What no plan may do to the bucket: take its encryption, its privacy or TLS from it. Rules of the policy; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sweepfleet.pipeline.findings import BY_HAND, Found, listed
from sweepfleet.pipeline.plan import UNKNOWN, Step

BUCKET_ENCRYPTED = "the bucket is encrypted"
BUCKET_PRIVATE = "the bucket is private"
BUCKET_TLS = "the bucket is reached by TLS alone"

PRIVATE = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
ALGORITHMS = {"AES256": 1, "aws:kms": 2, "aws:kms:dsse": 3}  # S3's, the stronger the higher


def bucket_encryption(step: Step) -> Found:
    """Its encryption is declared, and is no weaker than it was."""
    if step.op == "delete":
        yield BUCKET_ENCRYPTED, "its encryption would no longer be declared", _keep("its encryption")
    if step.new is None:
        return
    new, old = _strength(step.new.inputs), _strength(step.old.inputs) if step.old is not None else 0
    if new == 0:
        yield BUCKET_ENCRYPTED, "nothing says with what", "Set sse_algorithm to AES256 or aws:kms, as a fixed value"
    elif new < old:
        yield BUCKET_ENCRYPTED, "its encryption would be a weaker one", "Leave KMS in place, or do it from a laptop"


def _strength(inputs: Mapping[str, Any]) -> int:
    found = []
    for rule in listed(inputs.get("rules")):
        default = rule.get("applyServerSideEncryptionByDefault")
        algorithm = default.get("sseAlgorithm") if isinstance(default, dict) else None
        found.append(ALGORITHMS.get(algorithm, 0) if isinstance(algorithm, str) else 0)
    return min(found, default=0)


def bucket_private(step: Step) -> Found:
    """Its public access block is whole."""
    if step.op == "delete":
        yield BUCKET_PRIVATE, "its public access block would be deleted", _keep("its public access block")
    if step.new is None:
        return
    loose = [name for name in PRIVATE if step.new.inputs.get(name) is not True]
    if loose:
        yield BUCKET_PRIVATE, f"{', '.join(loose)} is not true", "Set all four of its public access block to True"


def bucket_tls(step: Step) -> Found:
    """Its policy denies requests without TLS."""
    if step.op == "delete":
        yield BUCKET_TLS, "its policy would be deleted", _keep("its policy")
    if step.new is None:
        return
    policy = step.new.inputs.get("policy")
    first = step.old is None and policy == UNKNOWN  # it names a bucket that is made in the same update
    if not first and not _tls_only(policy):
        yield (
            BUCKET_TLS,
            "its policy does not deny requests without TLS",
            "Keep the statement of sweepfleet.infra.policies",
        )


def _keep(what: str) -> str:
    return f"Leave {what} in the program. {BY_HAND}"


def _tls_only(policy: Any) -> bool:
    """Whether a bucket's policy denies everybody everything without TLS."""
    try:
        document = json.loads(policy) if isinstance(policy, str) else policy
        return any(_denies_plain(one) for one in _as_list(document["Statement"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _denies_plain(statement: Mapping[str, Any]) -> bool:
    condition = statement.get("Condition") or {}
    plain = condition.get("Bool", {}).get("aws:SecureTransport")
    everything = {"s3:*", "*"} & set(_as_list(statement.get("Action")))
    resources = _as_list(statement.get("Resource"))
    whole = "*" in resources or (
        any(str(one).endswith("/*") for one in resources)  # its objects, and itself
        and any(not str(one).endswith("/*") for one in resources)
    )
    return (
        statement.get("Effect") == "Deny"
        and statement.get("Principal") in ("*", {"AWS": "*"}, {"AWS": ["*"]})
        and bool(everything)
        and whole
        and len(condition) == 1
        and len(condition["Bool"]) == 1
        and [str(one).lower() for one in _as_list(plain)] == ["false"]
    )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
