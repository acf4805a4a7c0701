"""What happens to a stack outside Pulumi, or before it: `inv up` and `inv down` say it and come to their end.

Under the real engine, on moto behind a stand-in provider; AWS's refusals are those of tests/cloud/terminated.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud import engine
from tests.cloud.checkout import Checkout, address_server
from tests.cloud.moto import Moto, moto_server
from tests.cloud.terminal import typed

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not engine.installed(), reason=engine.WHY_NOT),
]
REGION = "us-east-1"
PASSPHRASE = "correct horse"  # noqa: S105 - of a stack in a folder of the test's


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with moto_server(REGION, "eu-west-1") as moto:
        yield moto


@pytest.fixture(scope="module")
def checkip() -> Iterator[str]:
    with address_server("198.51.101.9") as url:
        yield url


@pytest.fixture
def checkout(server: Moto, checkip: str, tmp_path: Path) -> Checkout:
    """A checkout without a stack, in an empty account."""
    server.reset()
    return Checkout(tmp_path, server.endpoint, checkip=checkip)


def outputs(checkout: Checkout) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(checkout.remembered.read_text())
    return found


def terminate_head(checkout: Checkout, server: Moto) -> str:
    head = str(outputs(checkout)["head_id"])
    server.client("ec2", REGION).terminate_instances(InstanceIds=[head])
    return head


def state_of(server: Moto, instance: str) -> str:
    found = server.client("ec2", REGION).describe_instances(InstanceIds=[instance])
    return str(found["Reservations"][0]["Instances"][0]["State"]["Name"])


def test_a_head_that_was_terminated_is_made_again_and_down_comes_to_its_end(checkout: Checkout, server: Moto) -> None:
    """`up` and `up --renew-head` keep address and data volume; `down` leaves the bucket alone."""
    checkout.inv("up", "--yes", AWS_REGION=REGION)
    first = outputs(checkout)

    terminate_head(checkout, server)
    said = checkout.inv("preview").stdout
    assert f"Deleted outside Pulumi: the head {first['head_id']}. inv up makes it again" in said
    said = checkout.inv("up", "--yes").stdout
    assert f"Deleted outside Pulumi: the head {first['head_id']}." in said
    second = outputs(checkout)
    assert second["head_id"] != first["head_id"]
    same = ("head_ip", "data_volume_id", "bucket", "worker_group")
    assert {name: second[name] for name in same} == {name: first[name] for name in same}
    assert state_of(server, second["head_id"]) == "running"
    assert checkout.plan() == {}

    terminate_head(checkout, server)
    checkout.inv("up", "--yes", "--renew-head")
    third = outputs(checkout)
    assert (third["head_id"] != second["head_id"], third["data_volume_id"]) == (True, first["data_volume_id"])
    volume = server.client("ec2", REGION).describe_volumes(VolumeIds=[first["data_volume_id"]])["Volumes"][0]
    assert [one["InstanceId"] for one in volume["Attachments"]] == [third["head_id"]]

    gone = terminate_head(checkout, server)
    said = checkout.inv("down", "--yes").stdout
    assert f"already deleted outside Pulumi: the head {gone}" in said
    assert server.leftovers(REGION) == [f"bucket {first['bucket']}"]


# The region


def with_profile(checkout: Checkout, region: str) -> dict[str, str]:
    """The environment of a user whose AWS profile has a region, and nothing else that has."""
    folder = checkout.home / ".aws"
    folder.mkdir()
    (folder / "config").write_text(f"[profile research]\nregion = {region}\n")
    (folder / "credentials").write_text("[research]\naws_access_key_id = a\naws_secret_access_key = b\n")
    return {
        "AWS_PROFILE": "research",
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
    }


def test_the_profiles_region_is_where_a_cluster_is_made(checkout: Checkout, server: Moto) -> None:
    refused = checkout.inv("up", "--yes", code=2)
    assert "No AWS region is set" in refused.stderr
    assert "pulumi config set aws:region" in refused.stderr

    profile = with_profile(checkout, "eu-west-1")
    said = checkout.inv("up", "--yes", **profile).stdout
    assert said.index("Set aws:region to eu-west-1: from the AWS profile 'research'.") < said.index("Updating")
    assert "The stack dev is up in eu-west-1" in said
    assert [one for one in server.leftovers(REGION) if one.startswith(("vpc", "instance i-"))] == []


# The passphrase


def on_a_terminal(checkout: Checkout, *words: str, answers: list[tuple[str, str]]) -> tuple[int, str]:
    command = [sys.executable, "-m", "invoke", *words]
    return typed(command, cwd=checkout.path, env=checkout.env, answers=answers)


def test_what_a_typed_passphrase_made_is_taken_down_with_it(checkout: Checkout, server: Moto) -> None:
    """Asked for once a command, twice for a new stack; without a terminal, said before anything is made."""
    del checkout.env["PULUMI_CONFIG_PASSPHRASE"]
    checkout.env["AWS_REGION"] = REGION
    refused = checkout.inv("up", "--yes", code=2)
    assert "PULUMI_CONFIG_PASSPHRASE_FILE=~/.pulumi-passphrase" in refused.stderr
    assert "pulumi stack init dev --secrets-provider 'awskms://" in refused.stderr
    assert server.leftovers(REGION) == []
    assert "FIX  passphrase: dev needs one" in checkout.inv("doctor", code=3).stdout

    twice = [("for the new stack dev", PASSPHRASE), ("again", "another")]
    code, said = on_a_terminal(checkout, "up", "--yes", answers=twice)
    assert (code, "two passphrases differ" in said) == (2, True), said
    twice = [("for the new stack dev", PASSPHRASE), ("again", PASSPHRASE)]
    code, said = on_a_terminal(checkout, "up", "--yes", answers=twice)
    assert (code, "The stack dev is up" in said) == (0, True), said
    assert PASSPHRASE not in said
    bucket = outputs(checkout)["bucket"]

    assert checkout.inv("outputs", "--refresh").stdout, "reading needs no passphrase"
    refused = checkout.inv("down", "--yes", code=2)
    assert "pulumi stack change-secrets-provider --stack dev" in refused.stderr
    refused = checkout.inv("down", "--yes", code=3, PULUMI_CONFIG_PASSPHRASE="wrong")  # noqa: S106
    assert "PULUMI_CONFIG_PASSPHRASE does not have the passphrase of the stack dev" in refused.stderr
    assert "There is no stack other" in checkout.inv("down", "--stack", "other", "--yes", code=2).stderr

    once = [("Passphrase of the stack dev", "wrong"), ("Wrong passphrase.", PASSPHRASE)]
    code, said = on_a_terminal(checkout, "down", "--yes", answers=once)
    assert code == 0, said
    assert server.leftovers(REGION) == [f"bucket {bucket}"]
    files = [*checkout.path.rglob("*.yaml"), *(checkout.path / ".sweepfleet").rglob("*")]
    assert not any(PASSPHRASE in one.read_text() for one in files if one.is_file() and ".venv" not in one.parts)
