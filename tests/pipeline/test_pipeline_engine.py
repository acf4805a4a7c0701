"""`inv ci.preview`, `ci.deploy` and `ci.drift` as a pipeline calls them: real engine, real Git, moto for AWS.

A bare repository stands for GitHub's, a branch that is merged for a trial for a pull request, and a stand-in keeps
comments and issues. A thread answers the letters that the head would.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweepfleet.machine.facts import KEYS
from sweepfleet.pipeline.github import hidden
from tests.cloud import engine
from tests.cloud.checkout import Checkout
from tests.cloud.failures import VARIABLE as FAIL
from tests.cloud.moto import Moto, moto_server
from tests.github_standin import REPOSITORY, TOKEN, StandIn, github

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not engine.installed(), reason=engine.WHY_NOT),
]
REGION = "us-east-1"
LAPTOP = "203.0.113.7/32"
SECRET = "a-word-that-nobody-is-to-read"  # noqa: S105 - of nobody
PULL = 7
WORLD = ("    for cidr in ssh_cidrs:\n", "    for cidr in (*ssh_cidrs, ANYWHERE):\n")
UNENCRYPTED = ('encrypted="true"', 'encrypted="false"')
ELSEWHERE = ("availability_zone=network.head_subnet.availability_zone", 'availability_zone="us-east-1f"')
HUSH = ("description=description", f'description=pulumi.Output.secret("{SECRET}")')


class Head:
    """Answers every letter in the stack's bucket with yes, as a head that has done what was asked."""

    def __init__(self, moto: Moto) -> None:
        self._s3 = moto.client("s3")
        self._over = threading.Event()
        self._answered: set[str] = set()
        self.letters: list[dict[str, Any]] = []
        self.thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        while not self._over.wait(0.2):
            for bucket in self._s3.list_buckets()["Buckets"]:
                for one in self._s3.list_objects_v2(Bucket=bucket["Name"], Prefix=KEYS.inbox).get("Contents", ()):
                    self._answer(bucket["Name"], one["Key"])

    def _answer(self, bucket: str, key: str) -> None:
        letter = key.removeprefix(KEYS.inbox).removesuffix(".json")
        if letter in self._answered or KEYS.letter(letter) != key or key == KEYS.first:
            return
        self._answered.add(letter)
        self.letters.append(json.loads(self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
        said = json.dumps({"exit_code": 0, "said": ""}).encode()
        self._s3.put_object(Bucket=bucket, Key=KEYS.answer(letter), Body=said)

    def stop(self) -> None:
        self._over.set()
        self.thread.join()


@dataclass
class Team:
    """A team's repository, its cloud, and where its jobs run."""

    checkout: Checkout
    cloud: Moto
    hub: StandIn
    head: Head
    folder: Path
    first: list[str]  # what the first preview and the first deployment said

    def git(self, *words: str) -> str:
        command = ["git", "-c", "user.name=ada", "-c", "user.email=ada@example.org", *words]
        done = subprocess.run(
            command, cwd=self.checkout.path, env=self.checkout.env, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    @contextmanager
    def branch(self, name: str) -> Iterator[None]:
        """Change files on a new branch in the block; at its end they are committed and pushed."""
        self.git("switch", "-q", "-c", name, "main")
        yield
        self.git("commit", "-qam", name)
        self.git("push", "-q", "origin", name)

    def settings(self, **changed: Any) -> None:
        file = self.checkout.path / "Pulumi.dev.yaml"
        content = yaml.safe_load(file.read_text())
        content["config"] |= {f"sweepfleet:{key}": value for key, value in changed.items()}
        file.write_text(yaml.safe_dump(content))

    def program(self, name: str, change: tuple[str, str]) -> None:
        file = self.checkout.path / "src" / "sweepfleet" / "infra" / name
        before = file.read_text()
        assert change[0] in before, f"{name} has no {change[0]!r} any more"
        file.write_text(before.replace(*change))

    def pull_request(self, name: str, *, code: int = 0) -> subprocess.CompletedProcess[str]:
        """The job that reviews a branch: at the merge that GitHub tries, which is no commit of main's."""
        self.git("switch", "-q", "--detach", "origin/main")
        self.git("merge", "-q", "--no-ff", "-m", "trial", name)
        return self.job("ci.preview", code=code, event={"pull_request": {"number": PULL}})

    def merge(self, name: str, *, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """The merge itself, and the job after it."""
        self.git("switch", "-q", "main")
        self.git("merge", "-q", "--no-ff", "-m", f"Merge {name}", name)
        self.git("push", "-q", "origin", "main")
        return self.deploy(code=code, **env)

    def deploy(self, *, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
        return self.job("ci.deploy", code=code, event={"ref": "refs/heads/main"}, **env)

    def job(self, task: str, *, code: int, event: dict[str, Any], **env: str) -> subprocess.CompletedProcess[str]:
        file = self.folder / "event.json"
        file.write_text(json.dumps(event))
        actions = {
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_TOKEN": TOKEN,
            "GITHUB_API_URL": self.hub.url,
            "GITHUB_EVENT_PATH": str(file),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
        }
        return self.checkout.inv(task, "--stack", "dev", code=code, **actions, **env)

    def saved(self) -> str:
        """The plan of the files that are checked out, as it is kept."""
        tree = self.git("rev-parse", "HEAD^{tree}")
        return (self.folder / "state" / "plans" / "dev" / f"{tree}.json").read_text()

    @property
    def outputs(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.checkout.remembered.read_text())
        return found

    def let_in(self) -> dict[str, str]:
        """The networks that reach the head's SSH port, each with its rule."""
        filters = [{"Name": "group-id", "Values": [self.outputs["head_security_group_id"]]}]
        rules = self.cloud.client("ec2").describe_security_group_rules(Filters=filters)["SecurityGroupRules"]
        return {
            one["CidrIpv4"]: one["SecurityGroupRuleId"]
            for one in rules
            if not one["IsEgress"] and one["FromPort"] == 22 and "CidrIpv4" in one
        }


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A repository whose main branch is deployed, by a pull request's plan."""
    with moto_server(REGION) as moto, github() as hub:
        moto.reset()
        folder = tmp_path_factory.mktemp("team")
        head = Head(moto)
        team = Team(checkout_of(folder, moto), moto, hub, head, folder, [])
        head.thread.start()
        try:
            start(team)
            yield team
        finally:
            head.stop()


def checkout_of(folder: Path, moto: Moto) -> Checkout:
    """A checkout with a program of its own, which a branch can change."""
    checkout = Checkout(folder, moto.endpoint)
    program = checkout.path / "infra"
    program.unlink()
    shutil.copytree(engine.REPOSITORY / "infra", program, ignore=shutil.ignore_patterns("__pycache__"))
    (checkout.path / ".gitignore").write_text(".venv\n__pycache__/\n.sweepfleet/\n")
    config = {
        "aws:region": REGION,
        "sweepfleet:sshCidrs": [LAPTOP],
        "sweepfleet:sshPublicKey": checkout.public_key,
        "sweepfleet:endpointUrl": moto.endpoint,
    }
    (checkout.path / "Pulumi.dev.yaml").write_text(yaml.safe_dump({"config": config}))
    return checkout


def start(team: Team) -> None:
    """The first commit, and the first pull request, which brings a secret."""
    team.checkout.engine.run("stack", "init", "dev")
    team.git("init", "-q", "-b", "main")
    team.git("init", "-q", "--bare", str(team.folder / "origin.git"))
    team.git("remote", "add", "origin", str(team.folder / "origin.git"))
    team.git("add", "-A")
    team.git("commit", "-qm", "first")
    team.git("push", "-q", "-u", "origin", "main")
    with team.branch("secret"):
        team.program("access.py", HUSH)
    team.first.append(team.pull_request("secret").stdout)
    assert not team.cloud.leftovers(REGION), "a preview makes nothing"
    team.first.append(team.merge("secret").stdout)


def test_a_first_plan_is_previewed_with_its_cost_and_then_deployed(team: Team) -> None:
    """And the commit that was merged is pushed to the cluster."""
    preview, deployment = team.first
    assert "**39.62** then." in preview
    assert "The plan is saved." in preview
    assert "### Sweeps" in preview
    assert (team.folder / "summary.md").read_text().startswith("### ✅ Stack dev")
    assert "Applying the plan that was made of" in deployment
    assert team.outputs["max_workers"] == 10
    assert team.head.letters[0]["kind"] == "push"
    assert team.git("rev-parse", "main")[:10] in deployment


def test_a_plan_holds_no_secret_in_clear(team: Team) -> None:
    team.git("switch", "-q", "main")
    roles = [one for urn, one in json.loads(team.saved())["plan"]["resourcePlans"].items() if "iam/role:Role" in urn]
    assert all("ciphertext" in one["goal"]["inputDiff"]["adds"]["description"] for one in roles)
    assert len(roles) == 2
    assert SECRET not in team.saved()


def test_a_merge_again_does_nothing_and_is_fine(team: Team) -> None:
    team.git("switch", "-q", "main")
    assert "unchanged" in team.deploy().stdout


def test_what_the_policy_refuses_is_refused_in_the_pull_request_and_after_it(team: Team) -> None:
    """A port open to the world, a disk without encryption, a data volume in another zone: each by the program."""
    with team.branch("bad"):
        team.program("firewall.py", WORLD)
        team.program("workers.py", UNENCRYPTED)
        team.program("head.py", ELSEWHERE)
    before = team.let_in()
    said = team.pull_request("bad", code=1).stderr
    assert "no port is open to the world: sweepfleet-dev-head-from-0.0.0.0-0-22: port 22 from 0.0.0.0/0" in said
    assert "disks are encrypted: sweepfleet-dev-worker: the disk of its instances is not encrypted" in said
    assert "data is not lost: sweepfleet-dev-data: the volume would be replaced by an empty one" in said
    (comment,) = team.hub.comments[PULL]
    assert "Refused, for 3 reasons" in comment["body"]
    try:
        said = team.merge("bad", code=3).stderr
        assert "was refused; nothing was changed" in said
        assert team.let_in() == before
    finally:
        team.git("reset", "-q", "--hard", "HEAD^")
        team.git("push", "-q", "--force", "origin", "main")


def test_a_pull_request_has_one_comment_however_often_it_is_previewed(team: Team) -> None:
    with team.branch("grow"):
        team.settings(maxWorkers=11)
    team.pull_request("grow")
    (comment,) = team.hub.comments[PULL]
    assert comment["body"].startswith(hidden("preview:dev"))
    assert "| update | Group | sweepfleet-dev-workers | maxSize" in comment["body"]
    assert "Refused" not in comment["body"]


def test_a_merge_applies_the_plan_that_was_reviewed_and_not_a_new_one(team: Team) -> None:
    """Somebody lets a network in from a laptop in between: the plan does not know of it, so it is not shut out."""
    other = "198.51.100.0/24"
    team.git("switch", "-q", "main")
    with team.checkout.otherwise(sshCidrs=[LAPTOP, other]):
        team.checkout.engine.up()
    assert set(team.let_in()) == {LAPTOP, other}
    said = team.merge("grow", code=3)
    assert "delete is not allowed by the plan" in said.stdout
    assert "The plan does not fit" in said.stderr
    assert set(team.let_in()) == {LAPTOP, other}

    team.job("ci.preview", code=0, event={})  # as the message says, at the same commit
    assert "is up" in team.deploy().stdout
    assert set(team.let_in()) == {LAPTOP}
    assert team.outputs["max_workers"] == 11


def test_a_merge_that_fails_halfway_is_repaired_by_the_next(team: Team) -> None:
    first, second = "192.0.2.0/28", "192.0.2.16/28"
    with team.branch("more"):
        team.settings(sshCidrs=[LAPTOP, first, second], budgetUsd=7)
    team.pull_request("more")
    fail = team.folder / "fail.json"
    fail.write_text(json.dumps({"aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": 2}))
    said = team.merge("more", code=3, **{FAIL: str(fail)})
    assert "InjectedFailure" in said.stdout
    assert "failed halfway" in said.stderr
    half = team.let_in()
    assert len(half) == 2, "one of two was made"

    with team.branch("next"):
        team.settings(maxWorkers=12)
    reviewed = team.pull_request("next").stdout
    assert "**Plan:** 1 to create, 1 to update" in reviewed, "the plan begins with what there is"
    team.merge("next")
    assert half.items() <= team.let_in().items(), "what was made is not made again"
    assert set(team.let_in()) == {LAPTOP, first, second}
    assert (team.outputs["budget_usd"], team.outputs["max_workers"]) == (7, 12)


def test_drift_made_by_hand_is_one_issue_until_it_is_gone(team: Team) -> None:
    """A rule that was taken away, and one that was added, which Pulumi does not see."""
    team.git("switch", "-q", "main")
    ec2, group = team.cloud.client("ec2"), team.outputs["head_security_group_id"]
    ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=[team.let_in()[LAPTOP]])
    world = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=world)
    team.job("ci.drift", code=1, event={})
    (issue,) = team.hub.issues
    assert issue["title"] == "Drift in the stack dev"
    assert "| SecurityGroupIngressRule | sweepfleet-dev-head-from-203\\.0\\.113\\.7-32-22 | create |" in issue["body"]
    assert "port 22 from 0\\.0\\.0\\.0/0" in issue["body"]

    ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=[team.let_in()["0.0.0.0/0"]])
    team.checkout.engine.up("--refresh")
    assert "matches its program" in team.job("ci.drift", code=0, event={}).stdout
    assert [one["state"] for one in team.hub.issues] == ["closed"]


def test_a_head_that_was_terminated_is_made_again_by_a_plan_that_says_so(team: Team) -> None:
    """A plan that was made before does not; it is not applied, also not in part."""
    team.git("switch", "-q", "main")
    team.job("ci.preview", code=0, event={})
    first = team.outputs
    team.cloud.client("ec2").terminate_instances(InstanceIds=[first["head_id"]])
    refused = team.deploy(code=3)
    assert f"Deleted outside Pulumi: the head {first['head_id']}." in refused.stdout
    assert f"The plan does not make the head {first['head_id']} again" in refused.stderr
    assert "Nothing was changed. Make the plan at this commit: inv ci.preview" in refused.stderr

    said = team.job("ci.preview", code=0, event={}).stdout
    assert f"Deleted outside Pulumi: the head {first['head_id']}." in said
    assert "| create | Instance |" in said
    assert "is up" in team.deploy().stdout
    second = team.outputs
    assert second["head_id"] != first["head_id"]
    same = ("head_private_ip", "data_volume_id", "bucket", "worker_group")
    assert {name: second[name] for name in same} == {name: first[name] for name in same}
    assert "matches its program" in team.job("ci.drift", code=0, event={}).stdout


def test_a_lock_that_a_killed_update_left_is_said_with_its_remedy(team: Team) -> None:
    team.git("switch", "-q", "main")
    lock = team.folder / "state" / ".pulumi" / "locks" / "organization" / "sweepfleet" / "dev" / "lock.json"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(json.dumps({"pid": 1, "username": "ada", "hostname": "h", "timestamp": "2026-11-24T10:00:00Z"}))
    try:
        said = team.deploy(code=3).stderr
        assert "Nothing was changed: another update of dev is active, or one was killed" in said
        assert "pulumi cancel --stack dev" in said
    finally:
        lock.unlink()


def test_a_merge_that_nobody_previewed_is_not_deployed(team: Team) -> None:
    with team.branch("unseen"):
        team.settings(maxWorkers=13)
    try:
        said = team.merge("unseen", code=3).stderr
        assert "There is no saved plan of exactly these files" in said
        assert "inv ci.preview" in said
    finally:
        team.git("reset", "-q", "--hard", "HEAD^")
        team.git("push", "-q", "--force", "origin", "main")


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ("sshCidrs", "pulumi config set --path 'sshCidrs[0]' 203.0.113.7/32"),
        ("sshPublicKey", "pulumi config set --stack dev sshPublicKey"),
    ],
)
def test_a_setting_that_nobody_made_is_said_and_never_chosen(team: Team, without: str, said: str) -> None:
    team.git("switch", "-q", "main")
    file = team.checkout.path / "Pulumi.dev.yaml"
    content = yaml.safe_load(file.read_text())
    del content["config"][f"sweepfleet:{without}"]
    file.write_text(yaml.safe_dump(content))
    before = file.read_text()
    try:
        for task in ("ci.preview", "ci.deploy", "ci.drift"):
            done = team.job(task, code=2, event={})
            assert said in done.stderr
            assert "laptop" in done.stderr
        assert file.read_text() == before
    finally:
        team.git("checkout", "-q", "--", "Pulumi.dev.yaml")


def test_files_that_are_not_committed_are_neither_kept_nor_deployed(team: Team) -> None:
    team.git("switch", "-q", "main")
    team.settings(maxWorkers=14)
    try:
        kept = team.saved()
        assert "The plan is not saved: changed and not committed" in team.job("ci.preview", code=0, event={}).stdout
        assert team.saved() == kept
        assert "Changed and not committed: Pulumi.dev.yaml" in team.deploy(code=2).stderr
    finally:
        team.git("checkout", "-q", "--", "Pulumi.dev.yaml")


def test_a_stack_that_was_never_made_is_said(team: Team) -> None:
    said = team.checkout.inv("ci.preview", "--stack", "other", code=2).stderr
    assert "There is no stack other" in said
    assert "docs/gitops.md" in said
