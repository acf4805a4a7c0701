"""A folder in a bucket's place, for what machines do with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweepfleet.machine.aws import Aws, AwsError, Stored


@dataclass(frozen=True)
class FolderBucket(Aws):
    """Objects are files below `folder`, at their keys."""

    folder: Path = Path()
    facts: Any = None
    refused: frozenset[str] = frozenset()  # keys that cannot be read

    def get(self, key: str, file: Path) -> None:
        if key in self.refused or not (self.folder / key).exists():
            raise AwsError(f"aws s3 cp {key}: fatal error: 403")
        file.write_bytes((self.folder / key).read_bytes())

    def put(self, file: Path, key: str) -> None:
        (self.folder / key).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / key).write_bytes(file.read_bytes())

    def files(self, prefix: str) -> list[Stored]:
        return [one for one in self.list(prefix) if "/" not in one.key.removeprefix(prefix)]

    def list(self, prefix: str) -> list[Stored]:
        files = (file for file in self.folder.rglob("*") if file.is_file())
        found = {file.relative_to(self.folder).as_posix(): file.stat() for file in files}
        return [
            Stored(name, "", datetime.fromtimestamp(stat.st_mtime, UTC), stat.st_size)
            for name, stat in sorted(found.items())
            if name.startswith(prefix)
        ]

    def delete(self, key: str) -> None:
        (self.folder / key).unlink(missing_ok=True)

    def now(self) -> datetime:
        return datetime.now(UTC)
