"""The bucket for processes of the release, which have its environment: no start of `aws` for each call.

That takes half a second of processor time, and some of them look every two seconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sweepfleet.machine.aws import DEADLINE_S, Aws, AwsError, Stored
from sweepfleet.machine.facts import Facts

SILENCE_S = 60  # within a request, after which it is tried again; an environment may take DEADLINE_S as a whole
RETRIES = 10  # of one request, with longer and longer pauses: S3 may say "slow down"


@cache
def bucket(name: str) -> Any:
    """The bucket as obstore has it, with this machine's role; region and endpoint are in the environment.

    Raises:
        ImportError: this Python has no obstore.
    """
    from obstore.store import S3Store

    plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    return S3Store(
        name,
        client_options={"allow_http": plain, "timeout": f"{DEADLINE_S}s", "read_timeout": f"{SILENCE_S}s"},
        retry_config={"max_retries": RETRIES},
    )


def door(facts: Facts) -> Aws:
    """The way to AWS: within this process as far as it goes, else by the command alone."""
    try:
        bucket(facts.bucket)
    except ImportError:  # of a release before it had any
        return Aws(facts)
    return InProcess(facts)


@dataclass(frozen=True, slots=True)
class InProcess(Aws):
    """Likewise, but what concerns single objects is done by this process itself."""

    def get(self, key: str, file: Path) -> None:
        """Download an object; the file appears whole."""
        import obstore

        new = file.with_name(f".{file.name}.new")
        try:
            with new.open("wb") as opened:
                for chunk in self._done(obstore.get, key).stream():
                    opened.write(chunk)
            new.replace(file)
        except _errors() as error:
            raise AwsError(f"{key}: {reason_of(error)}") from None
        finally:
            new.unlink(missing_ok=True)

    def put(self, file: Path, key: str) -> None:
        """Upload a file."""
        import obstore

        self._done(obstore.put, key, file)

    def get_all(self, prefix: str, names: Iterable[str], folder: Path, *, most_bytes: int) -> None:
        """Download small objects of these names under a prefix.

        Raises:
            AwsError: some could not be had, or were larger than that; the others are there.
        """
        import obstore

        missing = []
        for name in names:
            try:
                found = self._done(obstore.get, prefix + name)
                if found.meta["size"] > most_bytes:
                    missing.append(f"{prefix}{name} has {found.meta['size']} bytes")
                    continue
                place = folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(found.bytes())
            except AwsError as error:
                missing.append(str(error))
            except _errors() as error:
                missing.append(f"{prefix}{name}: {reason_of(error)}")
        if missing:
            raise AwsError("; ".join(missing))

    def put_all(self, folder: Path, prefix: str) -> None:
        """Upload a folder's files."""
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.put(file, prefix + file.relative_to(folder).as_posix())

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is none."""
        import obstore

        self._done(obstore.delete, key)

    def exists(self, key: str) -> bool:
        """Whether an object is there; only for a role that may list."""
        import obstore

        try:
            obstore.head(bucket(self.facts.bucket), key)
        except FileNotFoundError:
            return False
        except _errors() as error:
            raise AwsError(f"{key}: {reason_of(error)}") from None
        return True

    def files(self, prefix: str) -> list[Stored]:
        """The objects under a prefix, which ends with a slash, without those in folders there."""
        import obstore

        try:
            found = obstore.list_with_delimiter(bucket(self.facts.bucket), prefix)
        except _errors() as error:
            raise AwsError(f"{prefix}: {reason_of(error)}") from None
        return [_stored(one) for one in found["objects"]]

    def list(self, prefix: str) -> list[Stored]:
        """The objects under a prefix, which ends with a slash."""
        import obstore

        try:
            pages = list(obstore.list(bucket(self.facts.bucket), prefix=prefix))
        except _errors() as error:
            raise AwsError(f"{prefix}: {reason_of(error)}") from None
        return [_stored(one) for page in pages for one in page]

    def _done(self, call: Any, key: str, *more: Any) -> Any:
        try:
            return call(bucket(self.facts.bucket), key, *more)
        except _errors() as error:
            raise AwsError(f"{key}: {reason_of(error)}") from None


def _stored(one: Any) -> Stored:
    return Stored(one["path"], one["e_tag"] or "", one["last_modified"], one["size"])


def reason_of(error: Exception) -> str:
    """What obstore says, on one line, without its own insides."""
    return " ".join(str(error).partition("Debug source:")[0].split())


def _errors() -> tuple[type[Exception], ...]:
    from obstore.exceptions import BaseError

    return (BaseError, OSError, ValueError)
