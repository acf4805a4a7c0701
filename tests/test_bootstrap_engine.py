"""The bootstrap stack under the real engine, and what Pulumi asks of AWS for a cluster whose state it then keeps."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml
from moto.moto_api import recorder

from fleet.pulumi_cli import PulumiCli
from tests.cloud import engine
from tests.cloud.checkout import Checkout
from tests.cloud.engine import REPOSITORY, Engine
from tests.cloud.moto import Moto, moto_server
from tests.iam import allows

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not engine.installed(), reason=engine.WHY_NOT),
]
REGION = "eu-west-1"
REPOSITORY_NAME = "octo-org@123456/sweeps@456789"
CONTEXT = {"iam:PassedToService": "ec2.amazonaws.com", "iam:AWSServiceName": "spot.amazonaws.com"}


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with moto_server(REGION) as moto:
        yield moto


@dataclass
class Bootstrapped:
    """A checkout whose bootstrap stack is up, with its state in a folder."""

    checkout: Checkout
    bootstrap: Engine
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
        found = [one for one in self.bootstrap.resources() if one["type"] == "aws:iam/rolePolicy:RolePolicy"]
        (policy,) = (one["inputs"]["policy"] for one in found if one["urn"].endswith(f"-{role}"))
        return str(policy)


@pytest.fixture(scope="module")
def made(server: Moto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bootstrapped]:
    server.reset()
    checkout = Checkout(tmp_path_factory.mktemp("bootstrap"), server.endpoint)
    folder = checkout.path / "bootstrap"  # its own, for the stack's settings; the program is where it is
    folder.mkdir()
    declared = yaml.safe_load((REPOSITORY / "bootstrap" / "Pulumi.yaml").read_text())
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump({**declared, "main": "program"}))
    (folder / "program").symlink_to(REPOSITORY / "bootstrap")
    bootstrap = Engine(folder, checkout.env, "main").start(**{"aws:region": REGION})
    refused = bootstrap.up(check=False)
    assert refused.returncode
    said = refused.stdout + refused.stderr
    assert "pulumi -C bootstrap config set repository" in said, said
    assert "Traceback" not in said
    bootstrap.set("repository", REPOSITORY_NAME)
    bootstrap.up()
    made = Bootstrapped(checkout, bootstrap, bootstrap.outputs())
    # Here is no TLS, and moto refuses whatever some policy denies under any condition.
    server.client("s3", REGION).delete_bucket_policy(Bucket=made.bucket)
    yield made
    server.reset()


def test_up_again_changes_nothing(made: Bootstrapped) -> None:
    said = made.bootstrap.up().stdout
    assert "unchanged" in said
    assert not any(f" {sign} " in said for sign in ("created", "updated", "deleted", "replaced"))


def test_state_and_key_outlive_a_mistake(made: Bootstrapped) -> None:
    protected = {one["type"] for one in made.bootstrap.resources() if one.get("protect")}
    assert {"aws:s3/bucket:Bucket", "aws:kms/key:Key", "aws:kms/alias:Alias"} <= protected
    assert made.bootstrap.run("destroy", "--yes", "--stack", "main", check=False).returncode


def test_its_own_state_moves_into_the_bucket(made: Bootstrapped, tmp_path: Path) -> None:
    """As docs/gitops.md says; nothing is to be done there then."""
    file = str(tmp_path / "bootstrap.json")
    made.bootstrap.run("stack", "export", "--stack", "main", "--file", file)
    there = replace(made.bootstrap, env=made.bootstrap.env | {"PULUMI_BACKEND_URL": made.backend})
    there.run("stack", "init", "main", "--secrets-provider", "passphrase")
    there.run("stack", "import", "--stack", "main", "--file", file)
    there.run("preview", "--expect-no-changes", "--stack", "main")


# What Pulumi asks of AWS.


@dataclass(frozen=True)
class Asked:
    """What was asked of the state's bucket and of the key, each as an action on a resource."""

    bucket: str
    key_arn: str

    def read(self, recording: str) -> set[tuple[str, str]]:
        found: set[tuple[str, str]] = set()
        for line in recording.splitlines():
            request = json.loads(line)
            url = urlsplit(request["url"])
            bucket, _, key = unquote(url.path).lstrip("/").partition("/")
            target = request["headers"].get("X-Amz-Target", "")
            if target.startswith("TrentService."):  # KMS's own name of itself
                found.add((f"kms:{target.partition('.')[2]}", self.key_arn))
            elif bucket == self.bucket:
                found |= self._of_bucket(request["method"], key, url.query, request["headers"])
        return found

    def _of_bucket(self, method: str, key: str, query: str, headers: dict[str, str]) -> set[tuple[str, str]]:
        arn = f"arn:aws:s3:::{self.bucket}"
        if not key:
            if (method, parse_qs(query).get("list-type")) != ("GET", ["2"]):
                raise ValueError(f"cannot evaluate {method} ?{query}")
            return {("s3:ListBucket", arn)}
        action = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}[method]
        copied = {name.lower(): value for name, value in headers.items()}.get("x-amz-copy-source")
        source = {("s3:GetObject", f"arn:aws:s3:::{unquote(copied).lstrip('/')}")} if copied else set()
        return {(f"s3:{action}", f"{arn}/{key}")} | source


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Callable[[], Any]], str]:
    """Do something, and have what was asked of AWS meanwhile."""
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


def test_a_cluster_is_made_by_the_printed_commands_and_each_role_may_what_its_job_asks(
    made: Bootstrapped, watched: Callable[[Callable[[], Any]], str], tmp_path: Path
) -> None:
    """A preview changes nothing in the state's bucket; secrets are read by the key, and there is no passphrase."""
    checkout, plan = made.checkout, str(tmp_path / "plan.json")
    environment = {
        **{key: value for key, value in checkout.env.items() if key != "PULUMI_CONFIG_PASSPHRASE"},
        "PULUMI_BACKEND_URL": made.backend,
        "PULUMI_EXPERIMENTAL": "true",
        "AWS_REGION": REGION,
    }
    cluster = Engine(checkout.path, environment, "dev")
    _, init, *_ = made.outputs["commands"]
    command, *words = shlex.split(init)
    assert command == "pulumi"
    cluster.run(*words)
    settings = yaml.safe_load((checkout.path / "Pulumi.dev.yaml").read_text())
    assert settings["secretsprovider"] == made.outputs["secrets_provider"]
    cluster.set("aws:region", REGION)
    cluster.set("sshCidrs[0]", "203.0.113.7/32")
    cluster.set("sshPublicKey", checkout.public_key)
    cluster.run("config", "set", "--secret", "owner", "ada", "--stack", "dev")
    cli = PulumiCli(checkout.path, {"PATH": environment["PATH"], **environment})

    def look() -> None:
        assert cli.has_stack("dev")
        assert cli.config("dev")["aws:region"] == REGION
        cluster.run("preview", "--refresh", "--json", "--save-plan", plan, "--stack", "dev")

    def apply() -> None:
        cluster.up("--plan", plan)
        assert cli.outputs("dev").stack == "dev"

    (key_arn,) = (one["outputs"]["arn"] for one in made.bootstrap.resources() if one["type"] == "aws:kms/key:Key")
    asked = Asked(made.bucket, key_arn)
    for job, role in ((look, "preview"), (apply, "deploy"), (look, "preview")):
        calls = asked.read(watched(job))
        assert ("kms:Decrypt", key_arn) in calls
        assert [call for call in calls if call[0] == "s3:GetObject"]
        assert sorted(call for call in calls if not allows(made.policy(role), *call, context=CONTEXT)) == []
        if role == "preview":
            assert {action for action, _ in calls} <= {"s3:ListBucket", "s3:GetObject", "kms:Decrypt"}
        else:
            assert not all(allows(made.policy("preview"), *call, context=CONTEXT) for call in calls)
