"""The connection to the stand-in cloud: loopback only, dummy credentials, and errors that name AWS's own code."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ACCOUNT = "123456789012"  # moto's
LOOPBACK = "127.0.0.1"
CLOSED_NETWORK = "10.99.0.1"  # the rehearsal's services, in a network without a way out
WAIT = {"Delay": 1, "MaxAttempts": 120}  # moto is ready at the first look; a rig that boots machines is not

_lock = threading.Lock()


class CloudError(Exception):
    """What the engine shows for a resource that could not be made, read, changed or deleted."""


@dataclass(frozen=True)
class Aws:
    """A configured provider: where it is, whose tags it adds, and clients that reach no other machine."""

    region: str
    endpoint: str
    endpoints: Mapping[str, str] = field(default_factory=dict)
    default_tags: Mapping[str, str] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        return client(service, region=self.region, endpoint=self.endpoints.get(service, self.endpoint))

    @property
    def ec2(self) -> Any:
        return self.client("ec2")

    @property
    def s3(self) -> Any:
        return self.client("s3")

    @property
    def s3control(self) -> Any:
        return self.client("s3control")

    @property
    def iam(self) -> Any:
        return self.client("iam")

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{ACCOUNT}:{resource}"

    def wait(self, waiter: str, **which: Any) -> None:
        self.ec2.get_waiter(waiter).wait(WaiterConfig=WAIT, **which)


def client(service: str, *, region: str, endpoint: str) -> Any:
    """A boto3 client for a server on this machine or in the rehearsal; ValueError for any other address."""
    if urlsplit(endpoint).hostname not in {LOOPBACK, CLOSED_NETWORK}:
        raise ValueError(f"the stand-in provider talks to {LOOPBACK} and {CLOSED_NETWORK} only, not to {endpoint!r}")
    with _lock:  # boto3 clients may be shared between threads, but not made in two at once
        return _client(service, region, endpoint)


@cache
def _client(service: str, region: str, endpoint: str) -> Any:
    made = boto3.client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106 - moto asks for one and checks none
        config=Config(retries={"max_attempts": 0}, max_pool_connections=40),
    )
    made.meta.events.register("before-sign.s3-control", _without_account)
    return made


def _without_account(request: Any, **_: Any) -> None:
    """S3 Control puts the account before the host's name, and an address has none."""
    request.url = request.url.replace(f"//{ACCOUNT}.", "//", 1)


@contextmanager
def told_as(doing: str) -> Iterator[None]:
    """Whatever AWS or botocore refuses inside is raised as one CloudError that starts with `doing`."""
    try:
        yield
    except ClientError as error:
        problem = error.response["Error"]
        raise CloudError(f"{doing}: {error.operation_name}: {problem['Code']}: {problem['Message']}") from error
    except BotoCoreError as error:
        raise CloudError(f"{doing}: {error}") from error


@contextmanager
def ignoring(*codes: str) -> Iterator[None]:
    """AWS errors of these codes are what was wanted anyway: the thing is gone already."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise


def tag_list(tags: Mapping[str, str] | None) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in (tags or {}).items()]


def tag_map(tags: list[dict[str, str]] | None) -> dict[str, str]:
    """Tags as a mapping, without AWS's own, which no provider may set."""
    return {tag["Key"]: tag["Value"] for tag in tags or () if not tag["Key"].startswith("aws:")}
