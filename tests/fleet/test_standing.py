"""`inv status` of a stack that this checkout does not know to be up: what exists, what it costs, and what to type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import NotUpError, open_fleet
from sweepfleet.fleet.stack.stack import Stack, open_stack
from sweepfleet.fleet.stack.standing import explained
from sweepfleet.grid.errors import SweepfleetError, UsageError
from tests.cloud.moto import Moto
from tests.fake_pulumi import fake_pulumi, state_of
from tests.fleet.test_runs_far import OUTPUTS

pytest_plugins = ["tests.cloud.fixtures"]
REGION = "us-east-1"


@pytest.fixture
def said(moto: Moto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `inv status` ends with where Pulumi has this state of the stack dev, and these outputs."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")

    def ended(state: dict[str, Any] | None, outputs: dict[str, Any] | None = None) -> SweepfleetError:
        config = {"aws:region": {"value": REGION}, "sweepfleet:endpointUrl": {"value": moto.endpoint}}
        answers: dict[str, Any] = {
            "stack ls --json": [] if state is None else [{"name": "dev", "current": True}],
            "stack export --stack dev": state,
            "config --json --stack dev": config,
        }
        if outputs is not None:
            answers["stack output --json --stack dev"] = outputs
        fake_pulumi(tmp_path / "bin", monkeypatch, answers)
        return status(tmp_path)

    return ended


def status(root: Path) -> SweepfleetError:
    def opened() -> Stack:
        return open_stack(root, asked="", say=lambda _: None)

    with pytest.raises(NotUpError) as error:
        open_fleet(root, asked="")
    return explained(error.value, opened)


def test_a_stack_that_was_half_made_says_what_exists_and_how_to_go_on(said: Any, moto: Moto) -> None:
    """Also what AWS has beside the state, which Pulumi had no time to record."""
    tags = [{"ResourceType": "volume", "Tags": [{"Key": "sweepfleet:stack", "Value": "dev"}]}]
    moto.client("ec2", REGION).create_volume(AvailabilityZone=f"{REGION}a", Size=1, TagSpecifications=tags)
    error = said(state_of(instance="i-1", volume="vol-1"), {})
    assert type(error) is ClusterError
    assert "The stack dev is not complete" in str(error)
    assert "costs money" in str(error)
    assert "2 resources of dev exist." in str(error)
    assert "1 resource carries the tag of dev without being in Pulumi's state" in str(error)
    assert str(error).endswith("Continue: inv up --stack dev, or take it down: inv down --stack dev")


def test_the_outputs_of_a_head_that_is_gone_are_not_those_of_a_stack_that_is_up(said: Any) -> None:
    """Pulumi keeps them when a stack was taken down; another update of it broke off since."""
    outputs = json.loads(OUTPUTS.to_json())
    assert "is not complete" in str(said(state_of(instance="i-another"), outputs))


def test_a_stack_that_was_made_elsewhere_says_how_to_get_its_outputs(said: Any) -> None:
    error = said(state_of(instance=OUTPUTS.head_id, bucket="b"), json.loads(OUTPUTS.to_json()))
    assert type(error) is UsageError
    assert f"The stack dev is up in {OUTPUTS.region}, and its 2 resources cost money" in str(error)
    assert "inv outputs --refresh --stack dev" in str(error)
    assert "inv down --stack dev" in str(error)


def test_a_stack_that_is_down_names_the_bucket_that_is_kept(said: Any) -> None:
    state = state_of(bucket="results")
    (bucket,) = state["deployment"]["resources"]
    state["deployment"]["resources"].insert(0, bucket | {"type": "aws:s3/bucketPolicy:BucketPolicy", "id": "guard"})
    error = said(state)
    assert type(error) is UsageError
    assert "The stack dev is down, and its bucket results is kept." in str(error)
    assert "inv down --purge --stack dev" in str(error)


def test_where_there_is_nothing_the_answer_is_as_before(said: Any) -> None:
    error = said(None)
    assert type(error) is NotUpError
    assert "knows of no stack that is up" in str(error)


def test_without_pulumi_what_exists_is_said_to_be_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    error = status(tmp_path)
    assert (type(error), error.exit_code) == (UsageError, 2)
    assert "knows of no stack that is up" in str(error)
    assert "What exists is unknown: The command `pulumi` is not on the PATH" in str(error)
