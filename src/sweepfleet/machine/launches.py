"""Why AWS starts no machine: the words of its scaling activities, what they mean, and what fixes it. Pure.

What activities look like, and their words: the table of launch failures in
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-instancelaunchfailure.html, EC2's error codes in
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html, and activities as users have shown them:
aws/aws-parallelcluster#1944 ("There is no Spot capacity available that matches your request"),
mludvig/aws-ethereum-miner#23 (UnfulfillableCapacity, InvalidFleetConfiguration),
aws-deepracer-community/deepracer-on-the-spot#55 ("Max spot instance count exceeded"),
LeanerCloud/AutoSpotting#187 (ServiceLinkedRoleCreationNotPermitted).
"""

from __future__ import annotations

from dataclasses import dataclass

FAILED = ("Failed", "Cancelled")  # an activity's StatusCode
ENDED = (*FAILED, "Successful")
LAUNCH = "Launching a new EC2 instance"  # how the description of such an activity begins
SPOT = "spot"


@dataclass(frozen=True, slots=True)
class Activity:
    """One activity of a group: a machine that it starts."""

    code: str  # its StatusCode
    said: str  # its StatusMessage, or else its Description
    at: str  # when it began, to the second, as AWS writes times: later ones are greater

    @property
    def ended(self) -> bool:
        """Whether it has started a machine, or failed to."""
        return self.code in ENDED

    @property
    def failed(self) -> bool:
        """Whether it has started no machine."""
        return self.code in FAILED


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason for which launches fail."""

    name: str  # for whoever counts them
    marks: tuple[str, ...]  # words of AWS's, in lower case, of which its message has one
    fix: str
    spot_only: bool  # on-demand does not fail for it
    waits: bool = False  # it goes by itself, and another type or zone may have capacity meanwhile


SPOT_QUOTA = Reason(
    "spot quota",
    ("maxspotinstancecountexceeded", "max spot instance count exceeded"),
    "Your account's quota for spot instances is used up: inv doctor says how to raise it.",
    spot_only=True,
)
SPOT_ROLE = Reason(
    "spot role",
    ("service-linked role for ec2 spot", "awsserviceroleforec2spot", "servicelinkedrolecreationnotpermitted"),
    "The account lacks EC2's role for spot instances. An administrator makes it once: "
    "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com",
    spot_only=True,
)
SPOT_CAPACITY = Reason(
    "spot capacity",
    ("unfulfillablecapacity", "no spot capacity available", "capacity-not-available", "capacity-oversubscribed"),
    "AWS has no spot capacity now. Add types to workerInstanceTypes, or lower spotPercent.",
    spot_only=True,
    waits=True,
)
SPOT_PRICE = Reason(
    "spot price",
    ("spotmaxpricetoolow", "lower than the minimum required spot"),
    "The spot price is above the limit of the launch template.",
    spot_only=True,
)
QUOTA = Reason(
    "quota",
    ("vcpulimitexceeded", "instancelimitexceeded", "more vcpu capacity than your current vcpu limit"),
    "Your account's quota is used up: inv doctor says which, and how to raise it.",
    spot_only=False,
)
CAPACITY = Reason(
    "capacity",
    ("insufficientinstancecapacity", "not have sufficient", "insufficientcapacity", "insufficienthostcapacity"),
    "AWS has no capacity for these types now. Add types to workerInstanceTypes, or zones.",
    spot_only=False,
    waits=True,
)
ROLE = Reason(
    "role",
    ("awsserviceroleforautoscaling", "autoscaling service-linked role", "unauthorizedoperation", "accessdenied"),
    "A role lacks a permission. See: inv doctor · An administrator makes the groups' role once: "
    "aws iam create-service-linked-role --aws-service-name autoscaling.amazonaws.com",
    spot_only=False,
)
TYPE = Reason(
    "type",
    ("unsupported", "not supported in your requested availability zone", "invalidfleetconfiguration"),
    "A type is not offered in a zone. Use other workerInstanceTypes or zones.",
    spot_only=False,
)
TABLE = (SPOT_QUOTA, SPOT_ROLE, SPOT_CAPACITY, SPOT_PRICE, QUOTA, CAPACITY, ROLE, TYPE)
UNKNOWN = Reason("unknown", (), "", spot_only=False)
UNKNOWN_SPOT = Reason("unknown, of spot instances", (), "", spot_only=True)


def reason_of(message: str) -> Reason:
    """The reason that a message means. A shortage of spot instances is told from one of on-demand by its words."""
    words = message.lower()
    for reason in TABLE:
        if any(mark in words for mark in reason.marks):
            return SPOT_CAPACITY if reason is CAPACITY and SPOT in words else reason
    return UNKNOWN_SPOT if SPOT in words else UNKNOWN


def cause(message: str) -> str:
    """AWS's words, and what to do about them."""
    return f"{message.strip()} {reason_of(message).fix}".strip()
