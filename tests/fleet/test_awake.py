"""A head that is asleep is told from one that is gone; it is woken, once, and reached at the address of then."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach import remote
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.fleet.reach.host_keys import HostKeyError, NotYetError
from sweepfleet.fleet.stack import awake
from sweepfleet.fleet.stack.awake import AsleepError, HeadState
from sweepfleet.infra.outputs import Outputs
from sweepfleet.machine.facts import GOING_TO_SLEEP, KEYS, UP
from tests.cloud.moto import Moto
from tests.fleet.test_runs_far import OUTPUTS

pytest_plugins = ["tests.cloud.fixtures"]
REGION = "us-east-1"


@pytest.fixture
def fleet(moto: Moto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A cluster whose head is stopped; commands remember another address than it will have."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setattr(awake, "POLL_S", 0.01)
    ec2 = moto.client("ec2", REGION)
    image = ec2.describe_images()["Images"][0]["ImageId"]
    head_id = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    ec2.stop_instances(InstanceIds=[head_id])
    outputs = replace(OUTPUTS, head_id=head_id, head_ip="192.0.2.1", region=REGION, endpoint_url=moto.endpoint)
    return Fleet(tmp_path, outputs, Cloud(REGION, endpoint_url=moto.endpoint))


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that connections were opened to."""
    found: list[str] = []

    @contextlib.contextmanager
    def opened(cloud: Cloud, outputs: Outputs) -> Iterator[Any]:
        del cloud
        found.append(outputs.head_ip)
        yield "host"

    monkeypatch.setattr(remote, "head", opened)
    return found


def test_it_is_woken_once_and_reached_at_its_address_of_then(fleet: Fleet, reached: list[str]) -> None:
    said: list[str] = []
    assert fleet.state().is_asleep
    with fleet.head(say=said.append):
        pass
    state = fleet.state()
    assert (state.word, state.exists, state.is_asleep) == ("running", True, False)
    with fleet.head(say=said.append):
        pass
    assert said == ["The head is asleep; starting it."]
    assert reached == [state.public_ip, state.public_ip] != [fleet.outputs.head_ip] * 2
    assert fleet.woken().head_ip == state.public_ip


def test_what_only_looks_says_that_it_is_asleep_and_lets_it_sleep(fleet: Fleet, reached: list[str]) -> None:
    with pytest.raises(AsleepError, match=r"Head: asleep since 20.*Wake it: inv ssh"), fleet.awake_head():
        pass
    assert fleet.state().word == "stopped"
    assert not reached


def test_one_that_falls_asleep_as_a_command_comes_is_woken_again(
    fleet: Fleet, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address may be a stranger's by then, whose host key is not the head's."""
    ec2, tries = moto.client("ec2", REGION), []
    ec2.start_instances(InstanceIds=[fleet.outputs.head_id])

    @contextlib.contextmanager
    def opened(cloud: Cloud, outputs: Outputs) -> Iterator[Any]:
        del cloud
        tries.append(outputs.head_ip)
        if len(tries) == 1:
            ec2.stop_instances(InstanceIds=[outputs.head_id])
            raise HostKeyError("another machine's")
        yield "host"

    monkeypatch.setattr(remote, "head", opened)
    with fleet.head(say=lambda _: None):
        pass
    assert len(tries) == 2
    assert fleet.state().word == "running"


def test_another_key_at_a_head_that_is_awake_is_an_error(
    fleet: Fleet, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    moto.client("ec2", REGION).start_instances(InstanceIds=[fleet.outputs.head_id])

    @contextlib.contextmanager
    def opened(cloud: Cloud, outputs: Outputs) -> Iterator[Any]:
        raise HostKeyError("another machine's")
        yield

    monkeypatch.setattr(remote, "head", opened)
    with pytest.raises(HostKeyError), fleet.head(patience_s=600):
        pass


def test_one_that_still_goes_down_is_waited_for(fleet: Fleet, moto: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS starts no instance that is still stopping."""
    looks = [HeadState(fleet.outputs.head_id, word) for word in ("stopping", "stopping")]
    real = awake.look_at
    monkeypatch.setattr(awake, "look_at", lambda *words: looks.pop() if looks else real(*words))
    said: list[str] = []
    state = awake.wake(fleet.cloud, fleet.outputs, HeadState(fleet.outputs.head_id, "stopping"), say=said.append)
    assert state.word == "running"
    assert said == ["The head is going to sleep. It is started again as soon as it has stopped."]


def test_a_head_that_is_terminated_meanwhile_is_not_waited_for(fleet: Fleet, moto: Moto) -> None:
    asleep = fleet.state()
    moto.client("ec2", REGION).terminate_instances(InstanceIds=[fleet.outputs.head_id])
    with pytest.raises(ClusterError, match="is gone while it was to be started"):
        awake.wake(fleet.cloud, fleet.outputs, asleep, say=lambda _: None)


def test_how_long_it_sleeps_is_said_where_ec2_says_it() -> None:
    since = datetime(2026, 11, 27, 20, 0, tzinfo=UTC)
    state = HeadState("i-1", "stopped", since=since)
    assert state.line(since + timedelta(hours=2)) == "Head: asleep since 2026-11-27 20:00 UTC, 2 h ago"
    assert HeadState("i-1", "stopping").line(since) == "Head: going to sleep"


def test_a_head_that_was_launched_without_an_address_is_given_one(
    fleet: Fleet, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had an Elastic IP, before `headAddress` was a setting."""
    monkeypatch.setattr(awake, "ADDRESS_S", 0.05)
    ec2 = moto.client("ec2", REGION)
    ec2.start_instances(InstanceIds=[fleet.outputs.head_id])
    interface = {"NetworkInterfaceId": awake._interface(ec2, fleet.outputs.head_id)}
    ec2.modify_network_interface_attribute(**interface, AssociatePublicIpAddress=False)
    ec2.stop_instances(InstanceIds=[fleet.outputs.head_id])
    for kept in ("stays", "changes"):
        outputs = replace(fleet.outputs, head_address=kept)
        state = awake.wake(fleet.cloud, outputs, fleet.state(), say=lambda _: None)
        assert bool(state.public_ip) == (kept == "changes"), "an Elastic IP is Pulumi's affair"
        assert state.word == "running"
        if kept == "stays":
            ec2.stop_instances(InstanceIds=[fleet.outputs.head_id])


@pytest.mark.parametrize("error", [NotYetError("refused"), ClusterError("refuses the login")])
def test_who_comes_while_it_goes_down_or_up_waits(
    fleet: Fleet, moto: Moto, monkeypatch: pytest.MonkeyPatch, error: ClusterError
) -> None:
    """EC2 says that it runs until it is down; the head itself has said in the bucket that it goes."""
    moto.client("ec2", REGION).start_instances(InstanceIds=[fleet.outputs.head_id])
    s3 = moto.client("s3", REGION)
    s3.create_bucket(Bucket=OUTPUTS.bucket)
    tries: list[str] = []

    def say(state: str) -> None:
        s3.put_object(Bucket=OUTPUTS.bucket, Key=KEYS.head, Body=json.dumps({"state": state}).encode())

    @contextlib.contextmanager
    def opened(cloud: Cloud, outputs: Outputs) -> Iterator[Any]:
        tries.append(outputs.head_ip)
        if len(tries) < 3:
            raise error
        yield "host"

    monkeypatch.setattr(remote, "head", opened)
    monkeypatch.setattr("sweepfleet.fleet.fleet.RETRY_S", 0.01)
    say(UP)
    with pytest.raises(ClusterError, match=str(error)), fleet.head(say=lambda _: None):
        pass
    assert len(tries) == 1
    say(GOING_TO_SLEEP)
    tries.clear()
    with pytest.raises(AsleepError, match="Head: going to sleep"), fleet.awake_head():
        pass
    assert len(tries) == 1, "who only looks does not wait for it, and does not start it"
    tries.clear()
    with fleet.head(say=lambda _: None):
        pass
    assert len(tries) == 3
