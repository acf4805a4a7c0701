"""What a machine of the cluster finds around it, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sweepfleet.machine import in_process
from tests.cloud.moto import Moto, moto_server

REGION = "us-east-1"


@contextmanager
def bucket_here(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[Moto]:
    """moto with a bucket, region and credentials in the environment, and no connection of an earlier test's."""
    with moto_server(REGION) as moto:
        for variable, value in {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": moto.endpoint,
        }.items():
            monkeypatch.setenv(variable, value)
        moto.client("s3").create_bucket(Bucket=name)
        in_process.bucket.cache_clear()
        yield moto
        in_process.bucket.cache_clear()
