"""Workers that nobody stops are stopped by AWS: before any push, beneath a dead head, and by a broken release."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sweepfleet.machine.switch import SWITCH
from tests.cloud.rehearsal.cloud import Cloud, until
from tests.cloud.rehearsal.host import why_not
from tests.cloud.rehearsed import Laptop

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
PATIENCE_S = 240
KEEPER = "/etc/systemd/system/sweepfleet-keeper.service.d"
BROKEN = f"mkdir -p {KEEPER} && printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' > {KEEPER}/broken.conf"


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A laptop whose cluster is up and has no code yet."""
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        laptop = Laptop(cloud, tmp_path_factory.mktemp("laptop"))
        laptop.up()
        yield laptop


def switch_of(laptop: Laptop) -> dict[str, Any]:
    """AWS's switch as it is set now."""
    client = laptop.cloud.client("autoscaling")
    group = laptop.outputs.worker_group
    actions = client.describe_scheduled_actions(AutoScalingGroupName=group)["ScheduledUpdateGroupActions"]
    [found] = [one for one in actions if one["ScheduledActionName"] == SWITCH]
    return {"AutoScalingGroupName": group, **{key: found[key] for key in ("MinSize", "DesiredCapacity", "StartTime")}}


def two_hours_pass(laptop: Laptop) -> None:
    """The switch's time comes, with whatever else it says."""
    switch = switch_of(laptop)
    assert switch["StartTime"] - datetime.now(UTC) > timedelta(hours=1)
    laptop.cloud.client("autoscaling").put_scheduled_update_group_action(
        ScheduledActionName=SWITCH, **switch | {"StartTime": datetime.now(UTC)}
    )


def workers(laptop: Laptop) -> set[str]:
    """The machines that somebody pays for, but for the head."""
    return set(laptop.cloud.machines()) - {laptop.outputs.head_id}


def test_workers_without_code_go_by_themselves_also_when_the_head_is_dead(laptop: Laptop) -> None:
    until(lambda: laptop.inv("scale", "2", code=None).returncode == 0, what="the head", timeout_s=PATIENCE_S)
    assert "They have no code: inv push. AWS shuts them down after 2 hours." in laptop.inv("scale", "2").stdout
    until(lambda: len(workers(laptop)) == 2, what="two workers", timeout_s=PATIENCE_S)
    head = laptop.cloud.machine(laptop.outputs.head_id)
    head.kill()
    try:
        two_hours_pass(laptop)
        until(lambda: not workers(laptop), what="no worker", timeout_s=PATIENCE_S)
    finally:
        laptop.cloud.client("ec2").start_instances(InstanceIds=[head.instance_id])
        head.wait_running()


def test_workers_go_by_themselves_when_the_release_breaks_the_keeper(laptop: Laptop) -> None:
    """And a keeper that is whole again starts none for what was asked for meanwhile."""
    laptop.push()
    head = laptop.cloud.machine(laptop.outputs.head_id)
    unit = "systemctl is-active sweepfleet-keeper"
    until(lambda: head.run(["sh", "-c", unit], check=False).returncode == 0, what="keeper", timeout_s=PATIENCE_S)
    head.run(["sh", "-euc", f"{BROKEN}; systemctl daemon-reload; systemctl restart sweepfleet-keeper || true"])
    assert "shut down when no sweep comes within 30 minutes" in laptop.inv("scale", "1").stdout
    until(lambda: len(workers(laptop)) == 1, what="a worker", timeout_s=PATIENCE_S)
    two_hours_pass(laptop)
    until(lambda: not workers(laptop), what="no worker", timeout_s=PATIENCE_S)
    head.run(["sh", "-euc", f"rm -r {KEEPER}; systemctl daemon-reload; systemctl restart sweepfleet-keeper"])
    until(lambda: "keeper active" in laptop.inv("status").stdout, what="it works again", timeout_s=PATIENCE_S)
    assert not workers(laptop)
