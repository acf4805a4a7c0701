"""Why AWS starts no machine: its words are read, and said with what fixes them."""

from __future__ import annotations

import pytest

from sweepfleet.machine.launches import cause, reason_of

SPOT = "Could not launch Spot Instances. "
END = " Launching EC2 instance failed."
# As scaling activities have them; `machine.launches` says where they were seen.
SAID = {
    SPOT + "UnfulfillableCapacity - Unable to fulfill capacity due to your request configuration." + END: (
        "spot capacity",
        "workerInstanceTypes",
    ),
    "There is no Spot capacity available that matches your request." + END: ("spot capacity", "spotPercent"),
    SPOT + "InsufficientInstanceCapacity - We currently do not have sufficient c7i.xlarge capacity in the "
    "Availability Zone you requested (us-east-1a)." + END: ("spot capacity", "workerInstanceTypes"),
    SPOT + "MaxSpotInstanceCountExceeded - Max spot instance count exceeded" + END: ("spot quota", "inv doctor"),
    "Max spot instance count exceeded." + END: ("spot quota", "inv doctor"),
    SPOT + "AuthFailure.ServiceLinkedRoleCreationNotPermitted - The provided credentials do not have permission to "
    "create the service-linked role for EC2 Spot Instances." + END: ("spot role", "spot.amazonaws.com"),
    SPOT + "InvalidFleetConfiguration - Your requested instance type (p3.8xlarge) is not supported in your requested "
    "Availability Zone (us-east-2c)." + END: ("type", "workerInstanceTypes"),
    SPOT + "A new trouble." + END: ("unknown, of spot instances", ""),
    "You have requested more vCPU capacity than your current vCPU limit of 5 allows for the instance bucket that the "
    "specified instance type belongs to." + END: ("quota", "inv doctor"),
    "VcpuLimitExceeded - You have requested more" + END: ("quota", "inv doctor"),
    "We currently do not have sufficient c7i.large capacity in the Availability Zone you requested (us-east-1a)."
    + END: ("capacity", "zones"),
    "Your requested instance type (c9.large) is not supported in your requested Availability Zone (us-east-1e)."
    + END: ("type", "workerInstanceTypes"),
    "You are not authorized to use launch template: lt-1. UnauthorizedOperation" + END: ("role", "inv doctor"),
    "Something new.": ("unknown", ""),
}


@pytest.mark.parametrize("message", SAID)
def test_a_reason_is_known_by_awss_words(message: str) -> None:
    """On-demand takes the place of spot only where the reason is spot's own."""
    name, fix = SAID[message]
    reason = reason_of(message)
    assert reason.name == name
    assert reason.spot_only == ("spot" in name)
    assert reason.waits == ("capacity" in name)
    assert fix in reason.fix
    assert bool(reason.fix) == bool(fix)
    assert cause(message) == f"{message} {reason.fix}".strip()
