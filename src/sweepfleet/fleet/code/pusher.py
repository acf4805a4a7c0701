"""Who pushes a release: as AWS and as Git know whoever types the command. The release's note keeps it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweepfleet.fleet.code.git import asked
from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws

UNKNOWN = "somebody (an older version did not record who)"


@dataclass(frozen=True, slots=True)
class Pusher:
    """A person or a pipeline; what is not known is empty."""

    aws: str = ""  # the caller's ARN, with the session's name where it is a role's
    git: str = ""  # Name <address>, of the checkout

    @classmethod
    def of(cls, note: dict[str, Any]) -> Pusher | None:
        """Out of a release's note; None when an older version has written it."""
        said = note.get("pushed_by")
        if not isinstance(said, dict):
            return None
        return cls(aws=str(said.get("aws", "")), git=str(said.get("git", "")))

    def is_same(self, other: Pusher) -> bool:
        """Whether two are one: of one name in Git, or of one in AWS where Git has no name for one of them."""
        if self.git and other.git:
            return self.git == other.git
        return bool(self.aws) and self.aws == other.aws

    def to_json(self) -> str:
        """As the head is told it."""
        return json.dumps(asdict(self))

    def __str__(self) -> str:
        role = self.aws.rpartition(":")[2]
        return f"{self.git} ({role})" if self.git and role else self.git or role or UNKNOWN


def pusher(cloud: Cloud, root: Path) -> Pusher:
    """Whoever types this command; asks AWS and Git, and does without what one of them does not say."""
    try:
        with asking_aws("ask who you are"):
            arn = str(cloud.client("sts").get_caller_identity()["Arn"])
    except ClusterError:
        arn = ""
    name, address = ((asked(root, "config", key) or "").strip() for key in ("user.name", "user.email"))
    return Pusher(aws=arn, git=f"{name} <{address}>" if name and address else name or address)
