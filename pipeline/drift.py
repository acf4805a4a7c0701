"""A night's look at whether a stack is still what its program says."""

from __future__ import annotations

from fleet.cluster import Cluster
from fleet.errors import ClusterError
from pipeline.plan import Plan, parse
from pipeline.review import settled


def drift(cluster: Cluster) -> Plan | None:
    """What has become of the stack, and what an update would do about it; None when nothing has. Changes nothing.

    Raises:
        UsageError: there is no such stack, or its settings cannot be used.
        ClusterError: Pulumi cannot tell.
    """
    settled(cluster)
    said, nothing = cluster.pulumi.drift(cluster.stack)
    plan = parse(said)
    if nothing:
        return None
    if not plan.changes:
        raise ClusterError(f"`pulumi preview --refresh` failed: {' '.join(plan.errors) or said.strip()[:500]}")
    return plan
