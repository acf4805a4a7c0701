"""Saved plans, kept beside Pulumi's state: in its bucket, or in its folder."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import boto3
from botocore.config import Config

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.cloud import asking_aws

VERSION = 1
LIMITS = {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 4, "mode": "standard"}}


@dataclass(frozen=True, slots=True)
class Saved:
    """A plan of one tree of files, and what was said of it. Its secrets are encrypted by the stack's own provider."""

    stack: str
    tree: str  # Git's hash of all files: a merge and the test merge before it have the same
    commit: str
    made: str  # when, as ISO 8601 has it
    pulumi: str  # whose file it is
    refused: Sequence[str]  # why it must not be applied; empty when it may
    plan: Mapping[str, Any]  # as `pulumi preview --save-plan` wrote it

    def to_json(self) -> str:
        """As it is stored."""
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Saved:
        """Read it. Raises ValueError, TypeError or KeyError when it is something else."""
        said = json.loads(text)
        if said.pop("version") != VERSION:
            raise ValueError("of another version")
        return cls(**said)


class Place(Protocol):
    """Where texts are kept, by key."""

    def put(self, key: str, text: str) -> None:
        """Keep it; what was there before is gone."""

    def get(self, key: str) -> str | None:
        """What was kept; None when nothing was."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of this machine."""

    path: Path

    def put(self, key: str, text: str) -> None:
        """Keep it; the file appears whole, and only its owner may read it."""
        file = self.path / key
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            beside = file.with_name(f".{file.name}.{os.getpid()}")
            beside.touch(mode=0o600)
            beside.write_text(text)
            beside.replace(file)
        except OSError as error:
            raise ClusterError(f"The plan cannot be saved as {file}: {error.strerror or error}") from None

    def get(self, key: str) -> str | None:
        """What was kept."""
        file = self.path / key
        try:
            return file.read_text()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ClusterError(f"The plan {file} cannot be read: {error}") from None


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, and a prefix in it."""

    client: Any
    name: str
    prefix: str = ""

    def put(self, key: str, text: str) -> None:
        """Keep it."""
        with asking_aws(f"save the plan in s3://{self.name}"):
            self.client.put_object(
                Bucket=self.name, Key=f"{self.prefix}{key}", Body=text.encode(), ContentType="application/json"
            )

    def get(self, key: str) -> str | None:
        """What was kept."""
        with asking_aws(f"read the plan in s3://{self.name}"):
            try:
                body = self.client.get_object(Bucket=self.name, Key=f"{self.prefix}{key}")["Body"].read()
            except self.client.exceptions.NoSuchKey:
                return None
        return str(body.decode())


@dataclass(frozen=True, slots=True)
class Plans:
    """The saved plans of one stack."""

    place: Place
    stack: str

    def put(self, saved: Saved) -> None:
        """Keep a plan, in the place of an earlier one of the same tree."""
        self.place.put(self.key(saved.tree), saved.to_json())

    def get(self, tree: str) -> Saved | None:
        """The plan of a tree; None when there is none.

        Raises:
            ClusterError: what is kept is no plan of this stack and tree.
        """
        text = self.place.get(self.key(tree))
        if text is None:
            return None
        try:
            saved = Saved.from_json(text)
        except (ValueError, TypeError, KeyError) as error:
            raise ClusterError(f"The saved plan {self.key(tree)} cannot be used: {error}") from None
        if (saved.stack, saved.tree) != (self.stack, tree):
            raise ClusterError(f"The saved plan {self.key(tree)} is of {saved.stack} and the tree {saved.tree}.")
        return saved

    def key(self, tree: str) -> str:
        """Where the plan of a tree is. Raises ValueError: that is no hash of Git's."""
        if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", tree):
            raise ValueError(f"{tree!r} is not a hash")
        return f"plans/{self.stack}/{tree}.json"


def place_of(url: str, *, root: Path) -> Place:
    """The place beside the state that `url`, Pulumi's backend, names.

    Args:
        url: `s3://BUCKET[/PREFIX][?region=...]` or `file://FOLDER`, as Pulumi takes them.
        root: of the project; a folder may be relative to it.

    Raises:
        ClusterError: the backend is none of these.
    """
    if url.startswith("file://"):
        return Folder((root / Path(url.removeprefix("file://").partition("?")[0]).expanduser()).resolve())
    if url.startswith("s3://"):
        return _bucket(url)
    kind = url.partition("://")[0]
    raise ClusterError(
        f"Pulumi keeps its state at {kind}://, and a plan is kept beside it only in S3 or a folder. "
        "Set PULUMI_BACKEND_URL=s3://BUCKET?region=REGION; docs/gitops.md says how the bucket is made."
    )


def _bucket(url: str) -> Bucket:
    parts = urlsplit(url)
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    path_style = query.get("s3ForcePathStyle", query.get("use_path_style", "")) == "true"
    endpoint = query.get("endpoint")
    if endpoint and "://" not in endpoint:
        plain = "true" in (query.get("disableSSL"), query.get("disable_https"))
        endpoint = f"{'http' if plain else 'https'}://{endpoint}"
    config = Config(**LIMITS, **({"s3": {"addressing_style": "path"}} if path_style else {}))
    with asking_aws("reach the bucket of the state"):
        session = boto3.Session(profile_name=query.get("profile"), region_name=query.get("region"))
        client = session.client("s3", endpoint_url=endpoint, config=config)
    prefix = parts.path.strip("/")
    return Bucket(client, parts.netloc, f"{prefix}/" if prefix else "")
