"""The account stack under the real engine, and what Pulumi asks of AWS for a cluster whose state it then keeps."""

from __future__ import annotations

import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from moto.moto_api import recorder

from sweepfleet.account.policies import READING as READING_VERBS
from tests.cloud import engine
from tests.cloud.checkout import Checkout
from tests.cloud.engine import REPOSITORY, Engine
from tests.cloud.moto import Moto, moto_server
from tests.iam import allows
from tests.iam_calls import recorded_calls

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not engine.installed(), reason=engine.WHY_NOT),
]
REGION = "eu-west-1"
REPOSITORY_NAME = "octo-org@123456/sweeps@456789"
READING = (*READING_VERBS, "Decrypt")
CONTEXT = {
    "iam:PassedToService": "ec2.amazonaws.com",
    "iam:AWSServiceName": "spot.amazonaws.com",
    "aws:ResourceTag/sweepfleet:stack": "dev",
    "autoscaling:LaunchTemplateVersionSpecified": "true",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with moto_server(REGION) as moto:
        yield moto


@dataclass
class Made:
    """A checkout whose account stack is up, with its state in a folder."""

    checkout: Checkout
    account: Engine
    outputs: dict[str, Any]

    @property
    def backend(self) -> str:
        """The bucket's URL as an output has it, and where the bucket is here."""
        return f"{self.outputs['backend_url']}&endpoint={self.checkout.env['AWS_ENDPOINT_URL']}&s3ForcePathStyle=true"

    @property
    def bucket(self) -> str:
        return str(urlsplit(self.backend).netloc)

    def policy(self, role: str) -> str:
        """As it is in the stack's state."""
        found = [one for one in self.account.resources() if one["type"] == "aws:iam/rolePolicy:RolePolicy"]
        (policy,) = (one["inputs"]["policy"] for one in found if one["urn"].endswith(f"-{role}"))
        return str(policy)


@pytest.fixture(scope="module")
def made(server: Moto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    server.reset()
    checkout = Checkout(tmp_path_factory.mktemp("account"), server.endpoint)
    folder = checkout.path / "account"  # its own, for the stack's settings; the program is where it is
    folder.unlink()  # the link to the repository's
    folder.mkdir()
    declared = yaml.safe_load((REPOSITORY / "account" / "Pulumi.yaml").read_text())
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump({**declared, "main": "program"}))
    (folder / "program").symlink_to(REPOSITORY / "account")
    account = Engine(folder, dict(checkout.env), "main").start(**{"aws:region": REGION})
    refused = account.up(check=False)
    assert refused.returncode
    said = refused.stdout + refused.stderr
    assert "pulumi -C account config set repository" in said, said
    assert "Traceback" not in said
    account.set("repository", REPOSITORY_NAME)
    account.up()
    made = Made(checkout, account, account.outputs())
    # Here is no TLS, and moto refuses whatever some policy denies under any condition.
    server.client("s3", REGION).delete_bucket_policy(Bucket=made.bucket)
    yield made
    server.reset()


def test_up_again_changes_nothing(made: Made) -> None:
    said = made.account.up().stdout
    assert "unchanged" in said
    assert not any(f" {sign} " in said for sign in ("created", "updated", "deleted", "replaced"))


def test_state_and_key_outlive_a_mistake(made: Made) -> None:
    protected = {one["type"] for one in made.account.resources() if one.get("protect")}
    assert {"aws:s3/bucket:Bucket", "aws:kms/key:Key", "aws:kms/alias:Alias"} <= protected
    assert made.account.run("destroy", "--yes", "--stack", "main", check=False).returncode


def test_its_own_state_moves_into_the_bucket(made: Made, tmp_path: Path) -> None:
    """As docs/gitops.md says; nothing is to be done there then."""
    file = str(tmp_path / "state.json")
    made.account.run("stack", "export", "--stack", "main", "--file", file)
    there = replace(made.account, env=made.account.env | {"PULUMI_BACKEND_URL": made.backend})
    there.run("stack", "init", "main", "--secrets-provider", "passphrase")
    there.run("stack", "import", "--stack", "main", "--file", file)
    there.run("preview", "--expect-no-changes", "--stack", "main")


# What Pulumi asks of AWS.


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Callable[[], Any]], str]:
    """Do something, and have what was asked of AWS meanwhile."""
    record, one_by_one = recorder._record_request, threading.Lock()

    def recorded(*given: Any) -> None:
        with one_by_one:  # moto's threads would write into each other's lines
            record(*given)

    monkeypatch.setattr(recorder, "_record_request", recorded)
    monkeypatch.setattr(recorder, "_location", str(tmp_path / "recording"))

    def during(action: Callable[[], Any]) -> str:
        recorder.reset_recording()
        recorder.start_recording()
        try:
            action()
        finally:
            recorder.stop_recording()
        return recorder.download_recording()

    return during


DEPLOY = """
from pathlib import Path
from sweepfleet.fleet.stack.stack import open_stack
from sweepfleet.pipeline.deploy import deploy
print(deploy(open_stack(Path.cwd(), asked="dev", say=print), say=print).stack)
"""  # as `inv ci.deploy`, without the push that follows: nobody is here to answer


def test_a_cluster_is_made_by_the_printed_commands_and_each_role_may_what_its_jobs_ask(
    made: Made, watched: Callable[[Callable[[], Any]], str]
) -> None:
    """Of AWS as a whole. A preview writes its plan and changes nothing else; secrets are read by the key alone."""
    checkout = made.checkout
    del checkout.env["PULUMI_CONFIG_PASSPHRASE"]
    checkout.env |= {"PULUMI_BACKEND_URL": made.backend, "AWS_REGION": REGION}
    cluster = checkout.engine
    _, *commands = made.outputs["commands"]
    for command, *words in map(shlex.split, commands[:2]):
        assert command == "pulumi"
        cluster.run(*words)
    settings = yaml.safe_load((checkout.path / "Pulumi.dev.yaml").read_text())
    assert settings["secretsprovider"] == made.outputs["secrets_provider"]
    cluster.set("aws:region", REGION)
    cluster.set("sshCidrs[0]", "203.0.113.7/32")
    cluster.set("sshPublicKey", checkout.public_key)
    cluster.set("owner", "ada")
    cluster.run("config", "set", "--secret", "trial:password", "x", "--stack", "dev")
    git = ["git", "-C", str(checkout.path), "-c", "user.name=ada", "-c", "user.email=ada@example.org"]
    for words in (["init", "-q"], ["add", "Pulumi.yaml", "Pulumi.dev.yaml"], ["commit", "-q", "-m", "a cluster"]):
        subprocess.run([*git, *words], check=True)
    deploying = [sys.executable, "-c", DEPLOY]

    jobs: dict[str, tuple[str, Callable[[], Any]]] = {
        "plan": ("preview", lambda: checkout.inv("ci.preview", "--stack", "dev", "--base", "HEAD")),
        "deploy": ("deploy", lambda: subprocess.run(deploying, cwd=checkout.path, env=checkout.env, check=True)),
        "drift": ("preview", lambda: checkout.inv("ci.drift", "--stack", "dev")),
        "audit": ("preview", lambda: checkout.inv("audit", "--stack", "dev")),
    }
    context = CONTEXT | {"iam:PermissionsBoundary": made.outputs["permissions_boundary"]}
    (key_arn,) = (one["outputs"]["arn"] for one in made.account.resources() if one["type"] == "aws:kms/key:Key")
    for name, (role, job) in jobs.items():
        calls = recorded_calls(watched(job), key_arn=key_arn)
        assert (("kms:Decrypt", key_arn) in calls) == (name != "audit"), name  # which reads no settings
        assert sorted(call for call in calls if not allows(made.policy(role), *call, context=context)) == [], name
        changing = {call for call in calls if not call[0].partition(":")[2].startswith(READING)}
        if name == "deploy":
            assert len(changing) > 30
            assert [call for call in changing if allows(made.policy("preview"), *call, context=context)] == [], name
        else:
            plans = f"arn:aws:s3:::{made.bucket}/plans/dev/"
            assert [call for call in changing if not call[1].startswith(plans)] == [], name
            assert bool(changing) == (name == "plan")
