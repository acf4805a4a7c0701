"""A command on a cluster whose head AWS no longer has: one clear message with what to type, and no waiting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.fleet.errors import ClusterError, NothingToDo
from sweepfleet.fleet.fleet import Fleet, open_fleet
from sweepfleet.fleet.reach import remote
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.fleet.reach.ssh_command import ssh_command
from sweepfleet.fleet.runs.status import status
from sweepfleet.fleet.stack import takedown
from sweepfleet.fleet.stack.audit import audit
from sweepfleet.fleet.stack.folder import StackFolder
from sweepfleet.fleet.stack.gone import DownError, GoneError
from sweepfleet.fleet.stack.pulumi_cli import PulumiCli
from sweepfleet.fleet.stack.pulumi_state import HEAD
from sweepfleet.fleet.stack.stack import Stack
from sweepfleet.fleet.workers.stopping import stop
from sweepfleet.grid.errors import UsageError
from tests.cloud.moto import Moto
from tests.fake_pulumi import fake_pulumi, state_of
from tests.fleet.test_runs_far import OUTPUTS

pytest_plugins = ["tests.cloud.fixtures"]
REGION = "us-east-1"
STACK = OUTPUTS.stack


@pytest.fixture
def fleet(moto: Moto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A cluster that this checkout remembers as up, and whose head was terminated."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setattr(remote, "head", lambda *_: pytest.fail("it tries to connect to a head that is gone"))
    ec2 = moto.client("ec2", REGION)
    image = ec2.describe_images()["Images"][0]["ImageId"]
    head_id = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    ec2.terminate_instances(InstanceIds=[head_id])
    outputs = replace(OUTPUTS, head_id=head_id, region=REGION, endpoint_url=moto.endpoint)
    StackFolder(tmp_path, STACK).keep(outputs)
    return Fleet(tmp_path, outputs, Cloud(REGION, endpoint_url=moto.endpoint))


def pulumi_has(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, state: dict[str, Any] | None) -> None:
    stacks = [] if state is None else [{"name": STACK}]
    fake_pulumi(fleet.root / "bin", monkeypatch, {"stack ls --json": stacks, f"stack export --stack {STACK}": state})


def said(fleet: Fleet, kind: type[ClusterError]) -> str:
    with pytest.raises(GoneError) as error, fleet.head(patience_s=600):
        pass
    assert type(error.value) is kind
    return str(error.value)


@pytest.mark.parametrize("state", [None, state_of(bucket="kept")])
def test_a_stack_that_was_taken_down_elsewhere_is_forgotten_here(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, state: dict[str, Any] | None
) -> None:
    pulumi_has(fleet, monkeypatch, state)
    message = said(fleet, DownError)
    assert "the stack was taken down elsewhere, and is now forgotten here. Make it again: inv up" in message
    assert "still exist" not in message
    with pytest.raises(UsageError, match="no stack"):
        open_fleet(fleet.root, asked=STACK)


def test_a_stack_that_is_half_down_says_what_still_exists(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    pulumi_has(fleet, monkeypatch, state_of(bucket="kept", volume="vol-1"))
    assert f"1 resource of it still exists: inv down --stack {STACK}" in said(fleet, DownError)


def test_a_head_that_was_terminated_alone_is_told_apart(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    pulumi_has(fleet, monkeypatch, state_of(instance=fleet.outputs.head_id))
    message = said(fleet, GoneError)
    assert f"not by Pulumi. Make it again: inv up --stack {STACK} · take all down: inv down" in message
    assert fleet.folder.outputs() is not None


def test_a_head_that_was_made_anew_elsewhere_is_told_apart(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    pulumi_has(fleet, monkeypatch, state_of(instance="i-0new"))
    assert f"Get its address: inv outputs --refresh --stack {STACK}" in said(fleet, GoneError)


@pytest.mark.parametrize("replaced", [True, False])
def test_a_head_that_an_update_replaces_or_deletes_is_not_taken_for_one_that_is_gone(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, *, replaced: bool
) -> None:
    """Somebody else's `inv up --renew-head` or `inv down` that is active, or was stopped."""
    state = state_of(bucket="kept", instance=fleet.outputs.head_id)
    [head] = [one for one in state["deployment"]["resources"] if one["type"] == HEAD]
    if replaced:
        head["pendingReplacement"] = True
    else:
        state["deployment"]["pending_operations"] = [{"type": "deleting", "resource": head}]
    pulumi_has(fleet, monkeypatch, state)
    message = said(fleet, GoneError)
    assert "an update of the stack deletes or replaces it, or was stopped while it did so. Wait for" in message
    assert f"inv up --stack {STACK} · take all down: inv down --stack {STACK}" in message
    assert fleet.folder.outputs() is not None


def test_what_needs_no_head_says_so_too(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    pulumi_has(fleet, monkeypatch, None)
    with pytest.raises(DownError):
        ssh_command(fleet, worker="")
    cluster = Stack(fleet.root, STACK, PulumiCli(fleet.root), print)
    for command in (
        lambda: audit(cluster),
        cluster.preview,
        cluster.refresh,
        lambda: takedown.down(cluster, purge=False),
    ):
        fleet.folder.keep(fleet.outputs)
        with pytest.raises(DownError):
            command()
    fleet.folder.keep(fleet.outputs)
    with pytest.raises(NothingToDo, match="is now forgotten here"):
        takedown.losses(cluster, purge=False)
    with pytest.raises(UsageError, match="There is no stack"):
        takedown.losses(cluster, purge=False)


def test_a_stack_whose_state_is_elsewhere_is_not_taken_for_one_that_is_down(
    fleet: Fleet, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its head is there, and Pulumi is logged in at another place."""
    ec2 = moto.client("ec2", REGION)
    image = ec2.describe_images()["Images"][0]["ImageId"]
    made = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    fleet.folder.keep(replace(fleet.outputs, head_id=made))
    who = {"user": "ada", "url": "file:///elsewhere"}
    fake_pulumi(fleet.root / "bin", monkeypatch, {"stack ls --json": [], "whoami --json": who})
    with pytest.raises(ClusterError, match=f"no stack {STACK} at file:///elsewhere, and AWS has its head {made}"):
        takedown.losses(Stack(fleet.root, STACK, PulumiCli(fleet.root), print), purge=False)
    assert fleet.folder.outputs() is not None


def test_without_pulumi_what_is_unknown_is_said(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "Whether the whole stack was taken down is unknown" in said(fleet, GoneError)
    assert fleet.folder.outputs() is not None


def test_status_and_stop_say_so_first(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    pulumi_has(fleet, monkeypatch, None)
    with pytest.raises(DownError):
        next(status(fleet))
    with pytest.raises(DownError):
        stop(fleet, yes=True)
    with pytest.raises(DownError):  # its bucket is gone, too
        fleet.release()


def test_a_head_that_is_there_is_no_news(fleet: Fleet, moto: Moto) -> None:
    ec2 = moto.client("ec2", REGION)
    image = ec2.describe_images()["Images"][0]["ImageId"]
    made = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    replace(fleet, outputs=replace(fleet.outputs, head_id=made)).require_head()


def test_where_aws_cannot_be_asked_the_connection_will_tell(fleet: Fleet) -> None:
    replace(fleet, cloud=Cloud(REGION, profile="nobody")).require_head()
