"""A run's checkpoints in the bucket, as its driver on the head removes them."""

from __future__ import annotations

import time
from collections.abc import Iterable

from sweepfleet.machine.aws import AwsError
from sweepfleet.machine.in_process import InProcess
from sweepfleet.run.pauses import pauses


class StoredCheckpoints:
    """See `run.checkpoints.Stored`."""

    def __init__(self, aws: InProcess, prefix: str) -> None:
        """Those under a prefix, which ends with a slash."""
        self._aws, self._prefix = aws, prefix

    def ids(self, *, wait: bool = False) -> set[str]:
        """The points that have a checkpoint; none where S3 does not answer, unless it is to be waited for."""
        for pause_s in pauses():
            try:
                return {one.key.removeprefix(self._prefix).partition(".")[0] for one in self._aws.list(self._prefix)}
            except AwsError as error:
                print(f"checkpoints: {error}", flush=True)
                if not wait:
                    break
            time.sleep(pause_s)
        return set()

    def remove(self, ids: Iterable[str]) -> None:
        """Remove the checkpoints of these points; what S3 does not remove now is removed later."""
        for id_ in ids:
            try:
                self._aws.delete(f"{self._prefix}{id_}.tar")
            except AwsError as error:
                print(f"checkpoints: {error}", flush=True)
                return

    def end(self) -> None:
        """Nothing to do: a prefix without objects is none."""
