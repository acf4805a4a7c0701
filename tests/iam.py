"""Evaluates IAM policies as AWS does, as far as this project's go: Allow and Deny, wildcards, a few conditions."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Mapping
from typing import Any


def allows(
    policy: str, action: str, resource: str, *, userid: str = "", context: Mapping[str, str] | None = None
) -> bool:
    """Whether a caller with this ${aws:userid} may do this; a statement that is not understood is an error.

    Statements with conditions are understood when the request's context is given.
    """
    effects = {
        statement["Effect"]
        for statement in statements(policy, conditions=context is not None)
        if _matches(statement["Action"], action, "")
        and _matches(statement["Resource"], resource, userid)
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
            and _matches(statement["Action"], action, "")
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
    for operator, wanted in condition.items():
        if operator not in {"StringEquals", "StringLike"}:
            raise ValueError(f"cannot evaluate {operator}")
        for key, patterns in wanted.items():
            values = [patterns] if isinstance(patterns, str) else patterns
            if operator == "StringEquals" and context.get(key) not in values:
                return False
            if operator == "StringLike" and not (key in context and _matches(values, context[key], "")):
                return False
    return True


def _matches(patterns: str | list[str], value: str, userid: str) -> bool:
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        literal = pattern.replace("${aws:userid}", userid)
        if "${" in literal or "[" in literal:
            raise ValueError(f"cannot evaluate {pattern}")
        if fnmatch.fnmatchcase(value, literal):
            return True
    return False
