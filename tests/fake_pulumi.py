"""A `pulumi` that answers what a test says, and fails at any other question."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest


def fake_pulumi(folder: Path, monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, Any]) -> None:
    """Put it on the PATH. `answers`: words of a captured call to the JSON that it prints."""
    folder.mkdir(parents=True, exist_ok=True)
    script = ["#!/bin/sh", 'case "$*" in']
    script += [
        f'"--non-interactive {words}") echo {shlex.quote(json.dumps(said))} ;;' for words, said in answers.items()
    ]
    script += ['*) echo "error: no such question: $*" >&2; exit 1 ;;', "esac"]
    (folder / "pulumi").write_text("\n".join(script))
    (folder / "pulumi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def state_of(**ids: str) -> dict[str, Any]:
    """A state as `pulumi stack export` has it: of AWS's types, such as `instance`, to the id of each."""
    types = {
        "instance": "aws:ec2/instance:Instance",
        "volume": "aws:ebs/volume:Volume",
        "bucket": "aws:s3/bucket:Bucket",
    }
    resources = [
        {
            "urn": f"urn:pulumi:dev::sweepfleet::{types[kind]}::{kind}",
            "type": types[kind],
            "id": id_,
            "protect": kind == "bucket",
        }
        for kind, id_ in ids.items()
    ]
    return {"deployment": {"resources": resources}}
