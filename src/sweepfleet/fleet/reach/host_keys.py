"""The host keys that machines publish in the bucket, and what is wrong with one."""

from __future__ import annotations

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws
from sweepfleet.infra.layout import BucketLayout
from sweepfleet.infra.outputs import Outputs


class HostKeyError(ClusterError):
    """The host's key is not the one that it published."""


class NotYetError(ClusterError):
    """The machine has not published its key, or does not answer: a new one does so in a minute or two."""


class NoKeyError(NotYetError):
    """The machine has not published its key: its boot is not that far, or failed."""


def published_key(cloud: Cloud, outputs: Outputs, identity: str) -> str:
    """The host key that a machine published: type and key, as known_hosts has them.

    Raises:
        NoKeyError: it has published none.
    """
    s3 = cloud.client("s3")
    key = BucketLayout().host_key(identity)
    with asking_aws("read the machine's host key"):
        try:
            text = s3.get_object(Bucket=outputs.bucket, Key=key)["Body"].read().decode()
        except s3.exceptions.NoSuchKey:
            raise NoKeyError(
                f"The machine {identity.rpartition(':')[2]} has not published its host key yet. A new machine does "
                "it within a minute or two of its start; if it does not, its boot failed."
            ) from None
    return " ".join(text.split()[:2])
