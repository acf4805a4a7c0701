"""The pipeline's parts list: where the state is kept, the key of its secrets, and who may do what."""

from __future__ import annotations

import sweepfleet.infra.interrupts  # noqa: F401 # isort: skip # before all else

from typing import Any

import pulumi
import pulumi_aws as aws

from sweepfleet.account.commands import backend_url, secrets_provider, set_variables, stack_init, variables
from sweepfleet.account.policies import PLANS, deploy_policy, operator_statements, preview_policy
from sweepfleet.account.settings import PROJECT, Settings, read
from sweepfleet.account.trust import AUDIENCE, deploy_trust, issuer_url, preview_trust
from sweepfleet.infra.configuration import checking, values
from sweepfleet.infra.layout import OWNER_TAG
from sweepfleet.infra.policies import machines_boundary
from sweepfleet.infra.storage import PrivateBucket

PLANS_DAYS = 90  # for a plan to be applied; by then it is another's turn
OLD_STATE_DAYS = 365  # a state that was overwritten can be had back for this long
KEY_DAYS = 30  # before a key that was deleted is gone, and all secrets with it: AWS's longest
OUTPUTS = (
    "backend_url",
    "secrets_provider",
    "permissions_boundary",
    "deploy_role",
    "preview_role",
    "variables",
    "commands",
)
SESSION_S = 3600  # AWS's shortest; a deployment takes minutes


def declare() -> None:
    """Declare everything.

    Raises:
        pulumi.RunError: the settings cannot be used; nothing was declared.
    """
    stack, region = pulumi.get_stack(), pulumi.Config("aws").require("region")
    with checking(command="pulumi -C account config"):  # as it is typed at the repository's root
        settings = read(values(PROJECT), stack=stack)
    # No name of these begins as a cluster's does: whoever may make clusters must not be able to change the pipeline.
    name = f"pipeline-{stack}"
    provider = aws.Provider(
        name,
        region=region,
        profile=pulumi.Config("aws").get("profile"),
        default_tags=aws.ProviderDefaultTagsArgs(tags={OWNER_TAG: settings.owner, "sweepfleet:pipeline": stack}),
    )
    here = pulumi.ResourceOptions(provider=provider)
    kept = pulumi.ResourceOptions(provider=provider, protect=True)

    storage = PrivateBucket(
        name, tls_only=True, expire_days={PLANS: PLANS_DAYS}, old_versions_days=OLD_STATE_DAYS, opts=here
    )
    key = aws.kms.Key(
        name,
        description=f"Secrets in Pulumi's state, of {name}",
        enable_key_rotation=True,
        deletion_window_in_days=KEY_DAYS,
        tags={"Name": name},
        opts=kept,
    )
    alias = aws.kms.Alias(name, name=f"alias/{name}", target_key_id=key.key_id, opts=kept)
    issuer = _identity_provider(name, settings, here)
    operator = operator_statements()
    boundary = aws.iam.Policy(
        f"{name}-machines",
        name=f"{name}-machines",
        description="What machines of clusters may at most; their roles have it as their permissions boundary",
        policy=machines_boundary(),
        tags={"Name": f"{name}-machines"},
        opts=here,
    )
    known = pulumi.Output.all(storage.bucket_arn, key.arn, boundary.arn)
    deploy = _role(
        f"{name}-deploy",
        trust=issuer.apply(lambda arn: deploy_trust(settings, provider_arn=arn)),
        policy=known.apply(
            lambda arns: deploy_policy(operator, state_arn=arns[0], key_arn=arns[1], boundary_arn=arns[2])
        ),
        opts=here,
    )
    preview = _role(
        f"{name}-preview",
        trust=issuer.apply(lambda arn: preview_trust(settings, provider_arn=arn)),
        policy=known.apply(lambda arns: preview_policy(operator, state_arn=arns[0], key_arn=arns[1])),
        opts=here,
    )
    outputs = pulumi.Output.all(storage.bucket, alias.name, boundary.arn, deploy, preview).apply(
        lambda known: _outputs(settings, region, *known)
    )
    for output in OUTPUTS:
        pulumi.export(output, outputs[output])


def _identity_provider(name: str, settings: Settings, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """The ARN of the issuer's provider: an account has one for each issuer, and perhaps has it already.

    AWS knows the issuers' certificates by itself, so there are no thumbprints:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc_verify-thumbprint.html
    """
    if settings.identity_provider_arn:
        return pulumi.Output.from_input(settings.identity_provider_arn)
    made = aws.iam.OpenIdConnectProvider(
        name, url=issuer_url(settings), client_id_lists=[AUDIENCE], tags={"Name": name}, opts=opts
    )
    return made.arn


def _role(
    name: str, *, trust: pulumi.Input[str], policy: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """A role with its one policy; its ARN."""
    role = aws.iam.Role(
        name,
        name=name,
        assume_role_policy=trust,
        max_session_duration=SESSION_S,
        tags={"Name": name},
        opts=opts,
    )
    aws.iam.RolePolicy(name, role=role.name, policy=policy, opts=opts)
    return role.arn


def _outputs(
    settings: Settings, region: str, bucket: str, alias: str, boundary: str, deploy_role: str, preview_role: str
) -> dict[str, Any]:
    """What an administrator carries on to the repository."""
    backend = backend_url(bucket=bucket, region=region)
    provider = secrets_provider(alias=alias, region=region)
    values = variables(region=region, backend=backend, deploy_role=deploy_role, preview_role=preview_role)
    return {
        "backend_url": backend,
        "secrets_provider": provider,
        "permissions_boundary": boundary,
        "deploy_role": deploy_role,
        "preview_role": preview_role,
        "variables": values,
        "commands": [
            *stack_init(backend=backend, provider=provider, boundary=boundary),
            *set_variables(settings.forge, values),
        ],
    }
