"""What the pipeline remembers of the sweeps that it has handed over, in the stack's bucket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from sweepfleet.fleet.reach.bucket import get_json
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws
from sweepfleet.infra.layout import BucketLayout
from sweepfleet.infra.outputs import Outputs

PREFIX = BucketLayout().pipeline


@dataclass(frozen=True, slots=True)
class Mark:
    """One sweep."""

    name: str
    grid: str  # its path in the project
    digest: str  # of what decides which points there are; "" when it is to be handed over again
    commit: str
    submitted: float  # unix time, as in the job
    collected: bool = False  # whether its end was told
    volume: str = ""  # the data volume's id: a cluster that was taken down had another, and with it the run


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of one stack, in its bucket."""

    cloud: Cloud
    outputs: Outputs

    def all(self) -> Iterator[Mark]:
        """Every mark, by name."""
        s3 = self.cloud.client("s3")
        with asking_aws("read the list of submitted sweeps"):
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self.outputs.bucket, Prefix=PREFIX):
                for one in page.get("Contents", ()):
                    body = s3.get_object(Bucket=self.outputs.bucket, Key=one["Key"])["Body"].read()
                    yield Mark(**json.loads(body))

    def get(self, name: str) -> Mark | None:
        """A sweep's mark; None when it was never handed over."""
        key = f"{PREFIX}{name}.json"
        found = get_json(self.cloud, self.outputs.bucket, key, doing="read the list of submitted sweeps")
        return None if found is None else Mark(**found)

    def put(self, mark: Mark) -> None:
        """Remember it."""
        body = (json.dumps(asdict(mark), indent=2) + "\n").encode()
        with asking_aws("record the submitted sweeps"):
            self.cloud.client("s3").put_object(Bucket=self.outputs.bucket, Key=f"{PREFIX}{mark.name}.json", Body=body)
