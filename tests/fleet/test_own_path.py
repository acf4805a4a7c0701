"""Roles that an older version made outside `/sweepfleet/` are replaced together with the head, or not at all."""

from __future__ import annotations

import pytest

from sweepfleet.fleet.stack.boundary import require_own_path
from sweepfleet.fleet.stack.pulumi_state import BUCKET, ROLE, Resource
from sweepfleet.grid.errors import UsageError


def role(path: str) -> Resource:
    return Resource(
        "urn", ROLE, "role", protected=False, arn=f"arn:aws:iam::123456789012:role{path}sweepfleet-dev-head"
    )


def test_roles_of_another_path_are_refused_with_the_command_that_replaces_them() -> None:
    with pytest.raises(UsageError, match=r"outside the path /sweepfleet/.*inv up --renew-head --stack dev$"):
        require_own_path([role("/sweepfleet/"), role("/")], stack="dev")


def test_roles_of_this_path_and_other_resources_are_let_through() -> None:
    require_own_path([role("/sweepfleet/"), Resource("urn", BUCKET, "b", protected=True)], stack="dev")
