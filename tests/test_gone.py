"""A command on a cluster whose head AWS no longer has: one clear message with what to type, and no waiting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet import remote
from fleet.cloud import Cloud
from fleet.errors import ClusterError
from fleet.fleet import Fleet, open_fleet
from fleet.folder import StackFolder
from fleet.gone import DownError, GoneError
from fleet.status import status
from fleet.stopping import stop
from grid.errors import UsageError
from tests.cloud.moto import Moto
from tests.fake_pulumi import fake_pulumi, state_of
from tests.test_runs_far import OUTPUTS

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
    assert f"not by Pulumi. Make it anew: inv up --stack {STACK} · take all down: inv down" in message
    assert fleet.folder.outputs() is not None


def test_a_head_that_was_made_anew_elsewhere_is_told_apart(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    pulumi_has(fleet, monkeypatch, state_of(instance="i-0new"))
    assert f"Get its address: inv outputs --refresh --stack {STACK}" in said(fleet, GoneError)


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
