"""Who may take on which role: trust policies, as JSON texts; pure.

A token's subject says which repository a job belongs to, and what it was started for:
https://docs.github.com/en/actions/reference/security/oidc and
https://docs.gitlab.com/ci/cloud_services/#configure-a-conditional-role-with-oidc-claims
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from sweepfleet.account.settings import ISSUERS, Settings

AUDIENCE = "sts.amazonaws.com"  # for whom tokens are issued: the same for both forges


def deploy_trust(settings: Settings, *, provider_arn: str) -> str:
    """Jobs on the branch that is deployed; on GitHub, those that name the environment."""
    if settings.forge == "gitlab":
        return _trust(settings, provider_arn, {"StringEquals": {"sub": _gitlab(settings, settings.branch)}})
    claims = {"sub": f"repo:{settings.repository}:environment:{settings.environment}"}
    if not settings.issuer_url:
        # That subject does not say which branch; whoever may push any would do for it. AWS knows this claim of
        # github.com's tokens alone. On a server of one's own, the environment's rule has to hold it.
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html
        claims["ref"] = f"refs/heads/{settings.branch}"
    return _trust(settings, provider_arn, {"StringEquals": claims})


def preview_trust(settings: Settings, *, provider_arn: str) -> str:
    """Jobs of pull requests from the repository's own branches, and nightly ones on the branch that is deployed."""
    if settings.forge == "gitlab":
        # A merge request's pipeline has its source branch in the subject.
        return _trust(settings, provider_arn, {"StringLike": {"sub": _gitlab(settings, "*")}})
    subjects = [
        f"repo:{settings.repository}:{what}" for what in ("pull_request", f"ref:refs/heads/{settings.branch}")
    ]
    return _trust(settings, provider_arn, {"StringEquals": {"sub": subjects}})


def issuer_url(settings: Settings) -> str:
    """The issuer with its scheme."""
    return settings.issuer_url or ISSUERS[settings.forge]


def _gitlab(settings: Settings, branch: str) -> str:
    return f"project_path:{settings.repository}:ref_type:branch:ref:{branch}"


def _trust(settings: Settings, provider_arn: str, conditions: Mapping[str, Mapping[str, str | list[str]]]) -> str:
    """A trust policy under these conditions on a token's claims, and that the token was issued for AWS."""
    allowed: dict[str, dict[str, str | list[str]]] = {"StringEquals": {f"{settings.issuer}:aud": AUDIENCE}}
    for operator, claims in conditions.items():
        allowed.setdefault(operator, {}).update({f"{settings.issuer}:{name}": one for name, one in claims.items()})
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": provider_arn},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": allowed,
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
