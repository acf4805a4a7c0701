"""Whether the head is awake, by EC2; its public address now; and how it is woken.

A head stops itself when nothing has needed it for a while (`headIdleStop`). Without an Elastic IP (`headAddress:
changes`) it has another address after each start, so commands ask EC2 for the address and do not remember it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws
from sweepfleet.infra.outputs import Outputs
from sweepfleet.run.text import duration

GOING = ("shutting-down", "terminated")
ASLEEP = ("stopping", "stopped")
WAKE_S = 600.0  # for a head that goes down to be down, and to be started again
ADDRESS_S = 30.0  # for AWS to give a head that is up an address: by itself, and when it was asked to
POLL_S = 2.0
# EC2's StateTransitionReason: "User initiated (2026-11-27 21:38:39 GMT)"
STOPPED_AT = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)")


@dataclass(frozen=True, slots=True)
class HeadState:
    """The head as EC2 has it."""

    instance_id: str
    word: str  # EC2's: pending, running, stopping, stopped, shutting-down, terminated; empty: it has no such instance
    public_ip: str = ""  # its address now; empty: it has none, as while it is asleep
    since: datetime | None = None  # when it was stopped; None: it was not, or EC2 does not say

    @property
    def exists(self) -> bool:
        """Whether it is there, awake or asleep, and is not being terminated."""
        return bool(self.word) and self.word not in GOING

    @property
    def is_asleep(self) -> bool:
        """Whether it is stopped, or on the way there; it has to be woken before anything can reach it."""
        return self.word in ASLEEP

    def reached(self, outputs: Outputs) -> Outputs:
        """The stack's outputs with the head's address of now, where it has one."""
        return replace(outputs, head_ip=self.public_ip) if self.public_ip else outputs

    def line(self, now: datetime) -> str:
        """That it is asleep, for a person."""
        going = "going to sleep" if self.word == "stopping" else "asleep"
        if self.since is None:
            return f"Head: {going}"
        past = duration(max(0.0, (now - self.since).total_seconds()))
        return f"Head: {going} since {self.since:%Y-%m-%d %H:%M} UTC, {past} ago"


class AsleepError(ClusterError):
    """The head is asleep, and what was asked does not wake it."""


def head_state(cloud: Cloud, instance_id: str) -> HeadState:
    """The head's state and address now. Raises ClusterError: AWS refuses."""
    with asking_aws("look up the head"):
        return look_at(cloud.client("ec2"), instance_id)


def look_at(ec2: Any, instance_id: str) -> HeadState:
    """The same with a client of EC2; its errors come as they are."""
    # A filter finds nothing where an id that is asked for by name would be an error.
    found = ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": [instance_id]}])["Reservations"]
    for one in (instance for reservation in found for instance in reservation["Instances"]):
        word = str(one["State"]["Name"])
        stopped = STOPPED_AT.search(one.get("StateTransitionReason") or "") if word in ASLEEP else None
        since = datetime.fromisoformat(stopped[1]).replace(tzinfo=UTC) if stopped else None
        return HeadState(instance_id, word, str(one.get("PublicIpAddress") or ""), since)
    return HeadState(instance_id, "")


def wake(
    cloud: Cloud, outputs: Outputs, state: HeadState, *, say: Callable[[str], None], patience_s: float = WAKE_S
) -> HeadState:
    """Start a head that is asleep, and wait until EC2 says that it runs and has an address; returns its state then.

    One that is still going down is waited for. Whoever else starts it meanwhile is no error.

    Raises:
        ClusterError: AWS refuses, the head is gone, or it does not start in time.
    """
    if not state.is_asleep:
        return state
    if state.word == "stopping":
        say("The head is going to sleep. It is started again as soon as it has stopped.")
    else:
        say("The head is asleep; starting it.")
    ec2 = cloud.client("ec2")
    end_s = time.monotonic() + patience_s
    while True:
        with asking_aws("start the head"):
            state = look_at(ec2, state.instance_id)
            if state.word == "stopped":
                _start(ec2, state.instance_id)
        if state.word == "running":
            return with_address(cloud, outputs, state)
        if not state.exists:
            raise ClusterError(f"The head {state.instance_id} is gone while it was to be started. See: inv status")
        if time.monotonic() > end_s:
            raise ClusterError(
                f"The head {state.instance_id} is {state.word} after {patience_s:.0f} s. Whether AWS starts it: "
                f"aws ec2 describe-instances --instance-ids {state.instance_id}"
            )
        time.sleep(POLL_S)


def with_address(cloud: Cloud, outputs: Outputs, state: HeadState) -> HeadState:
    """The state of a head that is awake, once it has a public address, which it is given where it has none.

    One that was launched before `headAddress` was a setting had an Elastic IP alone, and gets no address by itself
    when that is gone: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyNetworkInterfaceAttribute.html

    Raises:
        ClusterError: AWS refuses, or gives none.
    """
    if state.word != "running" or state.public_ip or outputs.head_address != "changes":
        return state
    ec2 = cloud.client("ec2")
    asked, end_s = False, time.monotonic() + ADDRESS_S  # in which AWS may give it one by itself
    while True:
        with asking_aws("give the head a public address"):
            state = look_at(ec2, state.instance_id)
            if state.public_ip or state.word != "running":
                return state
            if not asked and time.monotonic() > end_s:
                interface = _interface(ec2, state.instance_id)
                ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, AssociatePublicIpAddress=True)
                asked, end_s = True, time.monotonic() + ADDRESS_S
        if asked and time.monotonic() > end_s:
            raise ClusterError(
                f"The head {state.instance_id} has no public address. Have one that stays: pulumi config set "
                f"headAddress stays && inv up --stack {outputs.stack}"
            )
        time.sleep(POLL_S)


def _interface(ec2: Any, instance_id: str) -> str:
    found = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]["NetworkInterfaces"]
    return next(str(one["NetworkInterfaceId"]) for one in found if one["Attachment"]["DeviceIndex"] == 0)


def _start(ec2: Any, instance_id: str) -> None:
    try:
        ec2.start_instances(InstanceIds=[instance_id])
    except ec2.exceptions.ClientError as error:
        # somebody else has started it, or it has not quite stopped; it is looked at again
        if error.response["Error"]["Code"] != "IncorrectInstanceState":
            raise
