"""The machines' environment, built by the first cluster that needs it: the next one's bucket has it from the start.

A head that finds its lock file's environment in the bucket builds none, which takes a minute of two processors.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from sweepfleet.infra.layout import BucketLayout
from tests.cloud.rehearsal.base import CACHE, ensure_base, locked

PREFIX = BucketLayout().environments


def lend(s3: Any, bucket: str, project: Path) -> None:
    """Put into a bucket what was kept of such a project, if anything was."""
    for file in _kept(project).glob("*"):
        s3.put_object(Bucket=bucket, Key=f"{PREFIX}{file.name}", Body=file.read_bytes())


def keep(s3: Any, bucket: str, project: Path) -> None:
    """Keep the only environment that a bucket has, unless one of such a project is kept already."""
    folder = _kept(project)
    with locked("environments"):
        if folder.exists():
            return
        new = folder.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for one in s3.list_objects_v2(Bucket=bucket, Prefix=PREFIX)["Contents"]:
            content = s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read()
            (new / one["Key"].removeprefix(PREFIX)).write_bytes(content)
        new.rename(folder)


def _kept(project: Path) -> Path:
    """Where it is: by what it is made of, how, and on what."""
    machine = project / "src" / "sweepfleet" / "machine"
    code = [machine / "head" / "publish.py", *sorted((machine / "environment").iterdir())]
    made_of = [
        file.read_bytes() for file in (project / "uv.lock", project / "pyproject.toml", *code) if file.is_file()
    ]
    digest = hashlib.sha256(b"".join(made_of) + ensure_base().name.encode())
    return CACHE / "environments" / digest.hexdigest()[:16]
