"""The account stack: what it declares is really made in moto, and its policies are evaluated as AWS would."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from sweepfleet.account.policies import operator_statements
from sweepfleet.account.program import declare
from sweepfleet.account.settings import KEYS, PROJECT, read
from sweepfleet.account.trust import deploy_trust, preview_trust
from sweepfleet.infra.problems import SettingsError
from tests.cloud import inprocess, program
from tests.cloud.mocks import Mocks
from tests.cloud.moto import Moto, moto_server
from tests.iam import allows, trusts
from tests.iam_calls import record_calls

FOLDER = Path(__file__).parents[2] / "account"
REGION, ACCOUNT = "eu-west-1", "123456789012"
GITHUB, GITLAB = "token.actions.githubusercontent.com", "gitlab.com"
REPOSITORY = "octo-org@123456/sweeps@456789"
OIDC = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
ROLE, ROLE_POLICY, POLICY = "aws:iam/role:Role", "aws:iam/rolePolicy:RolePolicy", "aws:iam/policy:Policy"
BOUNDARY_ARN = f"arn:aws:iam::{ACCOUNT}:policy/pipeline-main-machines"
# Actions that some condition guards, in a request that fulfils it.
UNBOUND = {
    "iam:PassedToService": "ec2.amazonaws.com",
    "iam:AWSServiceName": "spot.amazonaws.com",
    "aws:ResourceTag/sweepfleet:stack": "dev",
    "autoscaling:LaunchTemplateVersionSpecified": "true",
}
CONTEXT = UNBOUND | {"iam:PermissionsBoundary": BOUNDARY_ARN}


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with moto_server(REGION) as moto:
        yield moto


class Made:
    """An account stack that is up."""

    def __init__(self, server: Moto, stack: str = "main", **settings: str) -> None:
        self.stack = stack
        self.mocks = Mocks(server.endpoint)
        config = {f"{PROJECT}:{key}": value for key, value in {"repository": REPOSITORY, **settings}.items()}
        self.outputs = program.run(
            declare, self.mocks, project=PROJECT, stack=stack, config=config | {"aws:region": REGION}
        )

    def policy(self, role: str) -> str:
        return str(self.mocks.named(f"pipeline-{self.stack}-{role}", ROLE_POLICY).inputs["policy"])

    def trust(self, role: str) -> str:
        return str(self.mocks.named(f"pipeline-{self.stack}-{role}", ROLE).inputs["assumeRolePolicy"])

    @property
    def boundary_arn(self) -> str:
        return str(self.outputs["permissions_boundary"])

    @property
    def boundary(self) -> str:
        (policy,) = self.mocks.of_type(POLICY)
        return str(policy.inputs["policy"])

    @property
    def bucket(self) -> str:
        return str(urlsplit(self.outputs["backend_url"]).netloc)

    @property
    def key_arn(self) -> str:
        (key,) = self.mocks.of_type("aws:kms/key:Key")
        return str(key.outputs["arn"])


@pytest.fixture(scope="module")
def made(server: Moto) -> Made:
    return Made(server)


def test_the_state_has_a_private_encrypted_versioned_bucket_that_asks_for_tls(made: Made, server: Moto) -> None:
    s3 = server.client("s3", REGION)
    assert s3.get_bucket_versioning(Bucket=made.bucket)["Status"] == "Enabled"
    encryption = s3.get_bucket_encryption(Bucket=made.bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert encryption[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert set(s3.get_public_access_block(Bucket=made.bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    (statement,) = json.loads(s3.get_bucket_policy(Bucket=made.bucket)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_plans_go_by_themselves_and_state_does_not(made: Made, server: Moto) -> None:
    rules = server.client("s3", REGION).get_bucket_lifecycle_configuration(Bucket=made.bucket)["Rules"]
    expiring = {rule["Filter"]["Prefix"]: rule["Expiration"]["Days"] for rule in rules if "Expiration" in rule}
    assert expiring == {"plans/": 90}


def test_secrets_have_a_key_of_their_own_that_rotates_and_is_found_by_its_name(made: Made, server: Moto) -> None:
    kms = server.client("kms", REGION)
    url = urlsplit(made.outputs["secrets_provider"])
    assert (url.scheme, url.query) == ("awskms", f"region={REGION}")
    key = kms.describe_key(KeyId=f"{url.netloc}{url.path}")["KeyMetadata"]
    assert key["Arn"] == made.key_arn
    assert kms.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"]


def test_the_issuer_is_known_to_the_account_for_aws_alone(made: Made, server: Moto) -> None:
    (record,) = made.mocks.of_type(OIDC)
    known = server.client("iam", REGION).get_open_id_connect_provider(OpenIDConnectProviderArn=record.id)
    assert (known["Url"], known["ClientIDList"]) == (GITHUB, ["sts.amazonaws.com"])


def test_an_account_that_knows_the_issuer_keeps_its_provider(server: Moto) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{GITHUB}"
    made = Made(server, "other", identityProviderArn=arn)
    assert made.mocks.of_type(OIDC) == []
    assert json.loads(made.trust("deploy"))["Statement"][0]["Principal"] == {"Federated": arn}


def test_sessions_are_short_and_everything_says_whose_it_is(made: Made) -> None:
    assert [role.inputs["maxSessionDuration"] for role in made.mocks.of_type(ROLE)] == [3600, 3600]
    tagged = [record for record in made.mocks.records if "tagsAll" in record.outputs]
    assert len(tagged) >= 5
    for record in tagged:
        assert record.outputs["tagsAll"]["sweepfleet:pipeline"] == "main", record.name
        assert "sweepfleet:stack" not in record.outputs["tagsAll"], record.name  # it belongs to no cluster


def test_what_is_to_be_typed_next_is_an_output(made: Made) -> None:
    backend, provider = made.outputs["backend_url"], made.outputs["secrets_provider"]
    login, init, bound, *variables = map(shlex.split, made.outputs["commands"])
    assert login == ["pulumi", "login", backend]
    assert init == ["pulumi", "stack", "init", "dev", f"--secrets-provider={provider}"]
    assert bound == ["pulumi", "config", "set", "permissionsBoundary", made.boundary_arn]
    assert {words[3]: words[5] for words in variables} == made.outputs["variables"]
    assert made.outputs["variables"] == {
        "AWS_REGION": REGION,
        "PULUMI_BACKEND_URL": backend,
        "DEPLOY_ROLE": f"arn:aws:iam::{ACCOUNT}:role/pipeline-main-deploy",
        "PREVIEW_ROLE": f"arn:aws:iam::{ACCOUNT}:role/pipeline-main-preview",
        "STACK": "dev",
    }


# Who may take on which role.


def token(
    subject: str, *, issuer: str = GITHUB, audience: str = "sts.amazonaws.com", **claims: str
) -> dict[str, str]:
    """A token's claims, as AWS has them in a request."""
    return {f"{issuer}:{name}": value for name, value in {"sub": subject, "aud": audience, **claims}.items()}


def github_token(what: str, ref: str, *, repository: str = REPOSITORY, **claims: str) -> dict[str, str]:
    return token(f"repo:{repository}:{what}", ref=ref, **claims)


MAIN, PULL = "refs/heads/main", "refs/pull/7/merge"
DEPLOYING = github_token("environment:sweepfleet", MAIN)
NIGHTLY = github_token("ref:refs/heads/main", MAIN)
PULL_REQUEST = github_token("pull_request", PULL)
STRANGERS = {
    "another repository": github_token("environment:sweepfleet", MAIN, repository="octo-org@123456/other@4"),
    "a fork": github_token("pull_request", PULL, repository="mallory@66/sweeps@777"),
    "who took over the names": github_token("environment:sweepfleet", MAIN, repository="octo-org@9/sweeps@8"),
    "the names without ids": github_token("environment:sweepfleet", MAIN, repository="octo-org/sweeps"),
    "another branch": github_token("ref:refs/heads/topic", "refs/heads/topic"),
    "another environment": github_token("environment:production", MAIN),
    "the environment from another branch": github_token("environment:sweepfleet", "refs/heads/topic"),
    "the environment from a pull request": github_token("environment:sweepfleet", PULL),
    "a tag of the branch's name": github_token("ref:refs/tags/main", "refs/tags/main"),
    "a token for somebody else": github_token("environment:sweepfleet", MAIN, aud="https://example.org"),
    "a token without a subject": {f"{GITHUB}:aud": "sts.amazonaws.com", f"{GITHUB}:ref": MAIN},
}


def may(policy: str, claims: Mapping[str, str], *, issuer: str = GITHUB) -> bool:
    provider = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer}"
    return trusts(policy, provider, "sts:AssumeRoleWithWebIdentity", claims)


def test_each_job_gets_its_role_and_no_other(made: Made) -> None:
    deploy, preview = made.trust("deploy"), made.trust("preview")
    jobs = (DEPLOYING, NIGHTLY, PULL_REQUEST)
    assert [may(deploy, job) for job in jobs] == [True, False, False]
    assert [may(preview, job) for job in jobs] == [False, True, True]


@pytest.mark.parametrize("who", STRANGERS)
def test_nobody_else_gets_any(made: Made, who: str) -> None:
    assert not may(made.trust("deploy"), STRANGERS[who])
    assert not may(made.trust("preview"), STRANGERS[who])


def test_another_account_s_provider_is_not_trusted(made: Made) -> None:
    elsewhere = f"arn:aws:iam::999999999999:oidc-provider/{GITHUB}"
    assert not trusts(made.trust("deploy"), elsewhere, "sts:AssumeRoleWithWebIdentity", DEPLOYING)


def test_a_server_of_one_s_own_is_trusted_by_its_subject_since_aws_knows_no_more_of_its_tokens() -> None:
    issuer = "github.example.org/_services/token"
    settings = read({"repository": "octo-org/sweeps", "issuerUrl": f"https://{issuer}"}, stack="main")
    trust = deploy_trust(settings, provider_arn=f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer}")
    assert may(trust, token("repo:octo-org/sweeps:environment:sweepfleet", issuer=issuer), issuer=issuer)
    assert not may(trust, token("repo:octo-org/sweeps:pull_request", issuer=issuer), issuer=issuer)


def gitlab_token(branch: str, *, project: str = "octo-group/sweeps", kind: str = "branch") -> dict[str, str]:
    return token(f"project_path:{project}:ref_type:{kind}:ref:{branch}", issuer=GITLAB)


def test_on_gitlab_the_branch_deploys_and_every_branch_of_the_project_previews() -> None:
    settings = read({"repository": "octo-group/sweeps", "forge": "gitlab"}, stack="main")
    arn = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{GITLAB}"
    deploy, preview = deploy_trust(settings, provider_arn=arn), preview_trust(settings, provider_arn=arn)
    jobs = (gitlab_token("main"), gitlab_token("topic"), gitlab_token("main", kind="tag"))
    assert [may(deploy, job, issuer=GITLAB) for job in jobs] == [True, False, False]
    assert [may(preview, job, issuer=GITLAB) for job in jobs] == [True, True, False]
    for project in ("mallory/sweeps", "octo-group/sweeps-2", "octo-group/sweeps/nested"):
        assert not may(deploy, gitlab_token("main", project=project), issuer=GITLAB)
        assert not may(preview, gitlab_token("main", project=project), issuer=GITLAB)


# What each role may do.


def test_the_deploying_role_may_all_that_an_operator_may(made: Made) -> None:
    """With the pipeline's boundary in place of the account's. That it is enough for a cluster's whole life is tested
    with the operator's policy, and what can be made of it in tests/account/test_reach.py.
    """
    deploy = json.loads(made.policy("deploy"))["Statement"]
    operators = json.dumps(operator_statements()).replace(
        "arn:aws:iam::${aws:PrincipalAccount}:policy/sweepfleet-machines", BOUNDARY_ARN
    )
    assert [one for one in json.loads(operators) if one not in deploy] == []
    assert {one["Sid"] for one in deploy} - {one["Sid"] for one in operator_statements()} == {
        *("FindState", "ReadState", "ReadSecrets", "State")
    }


@pytest.mark.parametrize("action", ["iam:CreateRole", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary"])
@pytest.mark.parametrize("boundary", [None, "arn:aws:iam::aws:policy/AdministratorAccess"])
def test_no_role_that_is_deployed_gets_rights_beyond_the_boundary(
    made: Made, action: str, boundary: str | None
) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/sweepfleet/sweepfleet-dev-head"
    context = UNBOUND | ({"iam:PermissionsBoundary": boundary} if boundary else {})
    assert not allows(made.policy("deploy"), action, role, context=context)
    assert allows(made.policy("deploy"), action, role, context=CONTEXT)
    assert made.boundary_arn == BOUNDARY_ARN


@pytest.mark.parametrize("action", ["CreatePolicyVersion", "SetDefaultPolicyVersion", "DeletePolicy"])
def test_the_boundary_itself_is_not_the_pipeline_s_to_change(made: Made, action: str) -> None:
    for role in ("deploy", "preview"):
        assert not allows(made.policy(role), f"iam:{action}", made.boundary_arn, context=CONTEXT)


def test_a_cluster_s_machines_may_inside_the_boundary_all_that_their_policies_give_them(
    made: Made, server: Moto
) -> None:
    """And both roles of a cluster that is told of it have it."""
    cluster = Mocks(server.endpoint)
    inprocess.up(cluster, {"permissionsBoundary": made.boundary_arn}, stack="bound")
    iam = server.client("iam", REGION)
    roles = cluster.of_type(ROLE)
    for role in roles:
        kept = iam.get_role(RoleName=role.id)["Role"]["PermissionsBoundary"]
        assert kept["PermissionsBoundaryArn"] == made.boundary_arn
    assert len(roles) == 2
    policies = [record.inputs["policy"] for record in cluster.of_type(ROLE_POLICY)]
    userid = "AROA0:i-0a"
    asked = {
        (action, resource.replace("${aws:userid}", userid).replace("*", "x"))
        for policy in policies
        for statement in json.loads(policy)["Statement"]
        for action in statement["Action"]
        for resource in statement["Resource"]
    }
    assert len(asked) > 20
    assert sorted(one for one in asked if not allows(made.boundary, *one, userid=userid, context={})) == []


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:GetObject", "arn:aws:s3:::payroll/2026.csv"),
        ("s3:GetObject", "arn:aws:s3:::pipeline-main-0a1b/.pulumi/stacks/sweepfleet/dev.json"),
        ("s3:DeleteObject", "arn:aws:s3:::sweepfleet-dev-0a1b/runs/ridge/summary.json"),
        ("iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/sweepfleet-x"),
        ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/admin"),
        ("ec2:RunInstances", "*"),
        ("autoscaling:SetDesiredCapacity", "arn:aws:autoscaling:a:1:autoScalingGroup:x:autoScalingGroupName/web"),
    ],
)
def test_whatever_policy_a_machine_is_given_it_gets_no_further(made: Made, action: str, resource: str) -> None:
    assert not allows(made.boundary, action, resource, userid="x", context={})


def state(made: Made, path: str) -> str:
    return f"arn:aws:s3:::{made.bucket}/{path}"


@pytest.mark.parametrize(
    ("action", "path", "deploy", "preview"),
    [
        ("s3:GetObject", ".pulumi/meta.yaml", True, True),
        ("s3:GetObject", ".pulumi/stacks/sweepfleet/dev.json", True, True),
        ("s3:PutObject", ".pulumi/stacks/sweepfleet/dev.json", True, False),
        ("s3:PutObject", ".pulumi/stacks/sweepfleet/dev.json.bak", True, False),
        ("s3:PutObject", ".pulumi/backups/sweepfleet/dev/dev.1.json", True, False),
        ("s3:PutObject", ".pulumi/history/sweepfleet/dev/dev-1.history.json", True, False),
        ("s3:PutObject", ".pulumi/locks/organization/sweepfleet/dev/1.json", True, False),
        ("s3:DeleteObject", ".pulumi/locks/organization/sweepfleet/dev/1.json", True, False),
        ("s3:PutObject", ".pulumi/stacks/sweepfleet-account/main.json", False, False),  # the pipeline's own state
        ("s3:DeleteObject", ".pulumi/stacks/sweepfleet-account/main.json", False, False),
        ("s3:PutObject", ".pulumi/meta.yaml", False, False),
        ("s3:DeleteObjectVersion", ".pulumi/stacks/sweepfleet/dev.json", False, False),
        ("s3:GetObject", "plans/dev/0a1b.json", True, True),
        ("s3:PutObject", "plans/dev/0a1b.json", False, True),
        ("s3:DeleteObject", "plans/dev/0a1b.json", False, False),
        ("s3:PutObject", "other", False, False),
    ],
)
def test_who_may_do_what_in_the_state_s_bucket(
    made: Made, action: str, path: str, *, deploy: bool, preview: bool
) -> None:
    for role, expected in (("deploy", deploy), ("preview", preview)):
        assert allows(made.policy(role), action, state(made, path), context=CONTEXT) is expected, role


def test_both_read_secrets_and_neither_governs_the_key(made: Made) -> None:
    for role in ("deploy", "preview"):
        policy = made.policy(role)
        assert allows(policy, "kms:Decrypt", made.key_arn, context=CONTEXT)
        assert not allows(policy, "kms:Decrypt", made.key_arn.replace("key/", "key/0"), context=CONTEXT)
        for action in ("kms:ScheduleKeyDeletion", "kms:PutKeyPolicy", "kms:DisableKey", "kms:CreateGrant"):
            assert not allows(policy, action, made.key_arn, context=CONTEXT)


GOVERNING = ("s3:PutBucketPolicy", "s3:DeleteBucket", "s3:PutBucketVersioning", "s3:PutLifecycleConfiguration")


def test_no_role_of_the_pipeline_can_change_the_pipeline(made: Made) -> None:
    """A cluster's parts are told by how their names begin, and the pipeline's own begin otherwise."""
    bucket = f"arn:aws:s3:::{made.bucket}"
    roles = [made.outputs["deploy_role"], made.outputs["preview_role"]]
    for policy in (made.policy("deploy"), made.policy("preview")):
        for action in (
            "s3:PutBucketPolicy",
            "s3:DeleteBucket",
            "s3:PutBucketVersioning",
            "s3:PutLifecycleConfiguration",
        ):
            assert not allows(policy, action, bucket, context=CONTEXT)
        for role in roles:
            for action in ("iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy", "iam:DeleteRole", "iam:PassRole"):
                assert not allows(policy, action, role, context=CONTEXT)


def test_the_previewing_role_can_look_at_a_whole_cluster_and_change_nothing_of_it(
    made: Made, server: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything that is made is refused to it, everything that is read is allowed: each call, one by one."""
    policy = made.policy("preview")
    calls = record_calls(monkeypatch)
    cluster = Mocks(server.endpoint)
    inprocess.up(cluster)
    reading = {call for call in calls if call[0].partition(":")[2].startswith(("Get", "List", "Describe"))}
    making = calls - reading
    assert (len(reading) > 20, len(making) > 20) == (True, True)
    assert sorted(call for call in making if allows(policy, *call, context=CONTEXT)) == []
    assert sorted(call for call in reading if not allows(policy, *call, context=CONTEXT)) == []


@pytest.mark.parametrize(
    ("action", "key", "expected"),
    [
        ("s3:GetObject", "runs/ridge/summary.json", True),
        ("s3:GetObject", "runs/ridge/results.parquet", False),
        ("s3:GetObject", "tls/ca.pem", False),
        ("s3:GetObjectVersion", "runs/ridge/summary.json", False),
        ("s3:PutObject", "inbox/20260101T000000Z-0a/letter.json", False),
        ("s3:PutObject", "pipeline/ridge.json", False),
        ("s3:PutObject", "releases/current.json", False),
    ],
)
def test_of_a_cluster_s_bucket_the_previewing_role_reads_what_sweeps_have_cost(
    made: Made, action: str, key: str, *, expected: bool
) -> None:
    resource = f"arn:aws:s3:::sweepfleet-dev-0a1b/{key}"
    assert allows(made.policy("preview"), action, resource, context=CONTEXT) is expected


def test_the_previewing_role_has_no_action_that_changes_but_to_write_plans(made: Made) -> None:
    """Also of what the operator's policy will be given later."""
    for statement in json.loads(made.policy("preview"))["Statement"]:
        verbs = {action.partition(":")[2] for action in statement["Action"]}
        changing = {verb for verb in verbs if not verb.startswith(("Get", "List", "Describe", "Decrypt"))}
        assert changing == ({"PutObject"} if statement["Sid"] == "Plans" else set()), statement


@pytest.mark.parametrize("role", ["deploy", "preview"])
def test_aws_takes_the_policies(made: Made, role: str) -> None:
    """A role's own policies may have 10,240 characters: docs.aws.amazon.com/IAM, "IAM and AWS STS quotas"."""
    policy = made.policy(role)
    assert len("".join(policy.split())) <= 10_240
    names = [statement["Sid"] for statement in json.loads(policy)["Statement"]]
    assert len(names) == len(set(names))
    assert all(name.isalnum() for name in names)
    assert len("".join(made.boundary.split())) <= 6_144  # a policy of its own


# Settings.


def test_pulumi_is_told_the_same_settings() -> None:
    declared = yaml.safe_load((FOLDER / "Pulumi.yaml").read_text())
    assert declared["name"] == PROJECT
    config = {key: value for key, value in declared["config"].items() if key != "aws:region"}
    assert set(config) == set(KEYS)
    for name, key in KEYS.items():
        assert config[name]["description"] == key.metadata["help"]
        assert config[name]["default"] == key.default


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("repository", "sweeps", "does not name one repository of github"),
        ("repository", "octo-org/*", "does not name one repository"),
        ("repository", "octo-org@123456/sweeps", "does not name one repository"),
        ("repository", "octo-org/sweeps:environment:x", "does not name one repository"),
        ("forge", "gitea", "not a supported forge. Use `github` or `gitlab`."),
        ("branch", "release/*", "does not name one branch"),
        ("environment", "a:b", "does not name one environment"),
        ("environment", "", "does not name one environment"),
        ("issuerUrl", "http://gitlab.example.org", "not an issuer that AWS accepts"),
        ("issuerUrl", "https://gitlab.example.org/", "not an issuer that AWS accepts"),
        ("issuerUrl", "https://me:secret@gitlab.example.org", "not an issuer that AWS accepts"),
        ("identityProviderArn", f"arn:aws:iam::{ACCOUNT}:oidc-provider/{GITLAB}", f"identity provider of {GITHUB}"),
        ("owner", "", "cannot be an AWS tag"),
        ("repositry", "octo-org/sweeps", "Did you mean `repository`?"),
        ("secret", "x", "account/Pulumi.yaml lists all of them"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_the_reason(key: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read({"repository": REPOSITORY, key: value}, stack="main")
    (problem,) = refused.value.problems
    assert problem.key == key
    assert said in str(problem)


def test_every_problem_is_said_at_once_and_nothing_is_made(server: Moto) -> None:
    with pytest.raises(SettingsError) as refused:
        read({"forge": "gitea", "branch": "*", "owner": "<>", "repo": "x"}, stack="No Name")
    assert {problem.key for problem in refused.value.problems} == {
        *("stack", "repo", "forge", "repository", "branch", "owner")
    }
    assert "pulumi config set repository octo-org@123456/sweeps@456789" in str(refused.value)


@pytest.mark.parametrize("repository", ["octo-group/sweeps", "octo-group/team/sub/sweeps"])
def test_a_gitlab_project_lies_in_groups(repository: str) -> None:
    assert read({"repository": repository, "forge": "gitlab"}, stack="main").issuer == GITLAB
