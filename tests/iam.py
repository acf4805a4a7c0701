"""Evaluates an IAM policy as AWS does, as far as this project's go: Allow and Deny, wildcards, one variable."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator
from typing import Any


def allows(policy: str, action: str, resource: str, *, userid: str = "") -> bool:
    """Whether a caller with this ${aws:userid} may do this; a statement that is not understood is an error."""
    effects = {
        statement["Effect"]
        for statement in statements(policy)
        if _matches(statement["Action"], action, "") and _matches(statement["Resource"], resource, userid)
    }
    return effects == {"Allow"}


def statements(policy: str) -> Iterator[dict[str, Any]]:
    """A policy's statements."""
    for statement in json.loads(policy)["Statement"]:
        if set(statement) != {"Effect", "Action", "Resource"}:
            raise ValueError(f"cannot evaluate {statement}")
        yield statement


def _matches(patterns: str | list[str], value: str, userid: str) -> bool:
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        literal = pattern.replace("${aws:userid}", userid)
        if "${" in literal or "[" in literal:
            raise ValueError(f"cannot evaluate {pattern}")
        if fnmatch.fnmatchcase(value, literal):
            return True
    return False
