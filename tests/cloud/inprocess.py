"""The cluster's own program in this process, against the stand-in provider: no engine, real resources in moto."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Mapping
from typing import Any

from tests.cloud.engine import REPOSITORY
from tests.cloud.mocks import Mocks
from tests.cloud.program import run

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGKWWZ6FZ2pJPEyXnNfJXpR2m3hwRcdNM8eS0PpXgJvF ada@example.org"
LEAST = {"sshCidrs": ["203.0.113.7/32"], "sshPublicKey": PUBLIC_KEY}


def declare() -> None:
    """What `pulumi up` runs."""
    runpy.run_path(str(REPOSITORY / "infra" / "__main__.py"))


def up(
    mocks: Mocks,
    settings: Mapping[str, Any] | None = None,
    *,
    stack: str = "dev",
    region: str = "eu-west-1",
    program: Callable[[], object] = declare,
) -> dict[str, Any]:
    """Run the program once, as on a new stack, and return the stack's outputs.

    `settings` are Pulumi's keys without the project; the two that a user must have are added. Whatever the program
    raises is raised.
    """
    wanted = LEAST | dict(settings or {})
    config = {f"sweepfleet:{key}": one if isinstance(one, str) else json.dumps(one) for key, one in wanted.items()}
    return run(program, mocks, stack=stack, config=config | {"aws:region": region})
