"""What is to be typed once the account stack is up; pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

SET = {"github": "gh variable set {name} --body {value}", "gitlab": "glab variable set {name} {value}"}
STACK = "dev"


def backend_url(*, bucket: str, region: str) -> str:
    """Where Pulumi finds the state: https://www.pulumi.com/docs/iac/concepts/state-and-backends/#aws-s3."""
    return f"s3://{bucket}?region={region}"


def secrets_provider(*, alias: str, region: str) -> str:
    """The key that guards secrets: https://www.pulumi.com/docs/iac/concepts/secrets/#aws-key-management-service-kms."""
    return f"awskms://{alias}?region={region}"


def variables(*, region: str, backend: str, deploy_role: str, preview_role: str) -> dict[str, str]:
    """The repository's variables, which the workflows read; none is a secret."""
    return {
        "AWS_REGION": region,
        "PULUMI_BACKEND_URL": backend,
        "DEPLOY_ROLE": deploy_role,
        "PREVIEW_ROLE": preview_role,
        "STACK": STACK,
    }


def stack_init(*, backend: str, provider: str, boundary: str) -> list[str]:
    """How the cluster's stack is made, with the key that guards its secrets and the bounds of its machines."""
    return [
        f"pulumi login {shlex.quote(backend)}",
        f"pulumi stack init {STACK} --secrets-provider={shlex.quote(provider)}",
        f"pulumi config set permissionsBoundary {shlex.quote(boundary)}",
    ]


def set_variables(forge: str, values: Mapping[str, str]) -> list[str]:
    """How the repository's variables are set from a terminal."""
    return [SET[forge].format(name=name, value=shlex.quote(value)) for name, value in values.items()]
