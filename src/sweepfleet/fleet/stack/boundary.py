"""The machines' roles: whether the account has their permissions boundary, and whether they have the right path."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from sweepfleet import infra
from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws
from sweepfleet.fleet.stack.pulumi_state import ROLE, Resource
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.wording import from_here
from sweepfleet.infra.checks import NO_BOUNDARY
from sweepfleet.infra.layout import BOUNDARY, IAM_PATH
from sweepfleet.infra.policies import boundary_arn, machines_boundary
from sweepfleet.infra.settings import Settings

DOCUMENT = from_here(Path(infra.__file__).with_name("machines-boundary.json"))
MAKE = f"aws iam create-policy --policy-name {BOUNDARY} --policy-document file://{DOCUMENT}"
UPDATE = f"aws iam create-policy-version --set-as-default --policy-document file://{DOCUMENT} --policy-arn "
WHY = "Operators may create roles only with this boundary (docs/security.md)"


class BoundaryError(ClusterError):
    """The account's boundary cannot be used; `fix` is what an administrator types."""

    def __init__(self, said: str, fix: str) -> None:
        super().__init__(said)
        self.fix = fix


def examine_boundary(cloud: Cloud, settings: Settings) -> str:
    """What bounds the machines' roles, for the user to read.

    Raises:
        BoundaryError: the policy is missing, or is not the one that this version needs.
        ClusterError: AWS does not say.
    """
    if settings.permissions_boundary == NO_BOUNDARY:
        return "none: permissionsBoundary is `none`"
    if settings.permissions_boundary:
        return f"{settings.permissions_boundary} (permissionsBoundary)"
    with asking_aws("look up the permissions boundary of the machines' roles"):
        arn = boundary_arn(cloud.client("sts").get_caller_identity()["Arn"])
        found = _document(cloud, arn)
    if found is None:
        fix = f"An administrator creates it: {MAKE}\nTo use none: pulumi config set permissionsBoundary {NO_BOUNDARY}"
        raise BoundaryError(
            f"The account has no policy {BOUNDARY}, the permissions boundary of the machines' roles. {WHY}.", fix
        )
    if found != json.loads(machines_boundary()):
        fix = f"An administrator reads {DOCUMENT}, then updates the policy: {UPDATE}{arn}"
        raise BoundaryError(f"The policy {BOUNDARY} differs from the one that this version of sweepfleet needs.", fix)
    return arn


def require_boundary(cloud: Cloud, settings: Settings) -> None:
    """Be sure that the machines' roles can be made inside their boundary, before anything is made.

    Raises:
        ClusterError: see `examine_boundary`; the message says what to type.
    """
    try:
        examine_boundary(cloud, settings)
    except BoundaryError as error:
        raise ClusterError(f"{error}\n{error.fix}") from None


def _document(cloud: Cloud, arn: str) -> Any:
    """A policy's current document; None when there is no such policy."""
    iam = cloud.client("iam")
    try:
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchEntity":
            raise
        return None
    found = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    return json.loads(found) if isinstance(found, str) else found


def require_own_path(resources: Iterable[Resource], *, stack: str) -> None:
    """Be sure that the machines' roles of a stack have the path of this version: another path makes another role.

    A head that knows the first would be a stranger in its bucket. Raises UsageError.
    """
    if any(one.type == ROLE and f":role{IAM_PATH}" not in one.arn for one in resources):
        raise UsageError(
            f"An older version made the machines' roles of {stack} outside the path {IAM_PATH}. They can only be "
            "replaced together with the head, which stops runs until they are resumed. As an administrator: inv up "
            f"--renew-head --stack {stack}"
        )
