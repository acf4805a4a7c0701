"""Evaluates IAM policies as AWS does, as far as this project's go.

Allow and Deny, wildcards, a few conditions, policy variables, and permissions boundaries:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

KNOWN = {"aws:userid", "aws:PrincipalAccount"}  # policy variables


def allows(
    policy: str,
    action: str,
    resource: str,
    *,
    userid: str = "",
    context: Mapping[str, str] | None = None,
    boundary: str | None = None,
) -> bool:
    """Whether a caller with this ${aws:userid} may do this; a statement that is not understood is an error.

    Statements with conditions are understood when the request's context is given. With a boundary, both documents
    must allow it.
    """
    if boundary is not None and not allows(boundary, action, resource, userid=userid, context=context):
        return False
    effects = {
        statement["Effect"]
        for statement in statements(policy, conditions=context is not None)
        if _matches(statement["Action"], action, {})
        and _matches(statement["Resource"], resource, {"aws:userid": userid, **(context or {})})
        and _holds(statement.get("Condition", {}), context or {})
    }
    return effects == {"Allow"}


def trusts(policy: str, principal: str, action: str, context: Mapping[str, str]) -> bool:
    """Whether a role's trust policy lets this federated principal take it on in this way."""
    effects = set()
    for statement in json.loads(policy)["Statement"]:
        if set(statement) != {"Effect", "Principal", "Action", "Condition"} or set(statement["Principal"]) != {
            "Federated"
        }:
            raise ValueError(f"cannot evaluate {statement}")
        if (
            statement["Principal"]["Federated"] == principal
            and _matches(statement["Action"], action, {})
            and _holds(statement["Condition"], context)
        ):
            effects.add(statement["Effect"])
    return effects == {"Allow"}


def statements(policy: str, *, conditions: bool = False) -> Iterator[dict[str, Any]]:
    """A policy's statements, without their names."""
    for named in json.loads(policy)["Statement"]:
        statement = {key: value for key, value in named.items() if key != "Sid"}
        if set(statement) - ({"Condition"} if conditions else set()) != {"Effect", "Action", "Resource"}:
            raise ValueError(f"cannot evaluate {statement}")
        yield statement


def _holds(condition: Mapping[str, Mapping[str, str | list[str]]], context: Mapping[str, str]) -> bool:
    """All operators and keys must hold, each for one of its values; a key that the request lacks does not."""
    return all(
        _fits(operator, context.get(key), [patterns] if isinstance(patterns, str) else patterns, context)
        for operator, wanted in condition.items()
        for key, patterns in wanted.items()
    )


def _fits(operator: str, value: str | None, patterns: list[str], context: Mapping[str, str]) -> bool:
    match operator:
        case "Null":
            return str(value is None).lower() in patterns
        case "StringEquals" | "Bool":
            return value in [_filled(pattern, context) for pattern in patterns]
        case "StringLike":
            return value is not None and _matches(patterns, value, context)
        case _:
            raise ValueError(f"cannot evaluate {operator}")


def _filled(pattern: str, variables: Mapping[str, str]) -> str | None:
    """A pattern with what its variables stand for; None when the request lacks one, and then nothing matches."""
    for name in re.findall(r"\$\{([^}]*)\}", pattern):
        if name not in KNOWN:
            raise ValueError(f"cannot evaluate {pattern}")
        if name not in variables:
            return None
        pattern = pattern.replace(f"${{{name}}}", variables[name])
    return pattern


def _matches(patterns: str | list[str], value: str, variables: Mapping[str, str]) -> bool:
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        literal = _filled(pattern, variables)
        if literal is None:
            continue
        if "[" in literal:
            raise ValueError(f"cannot evaluate {pattern}")
        if fnmatch.fnmatchcase(value, literal):
            return True
    return False
