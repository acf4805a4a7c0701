"""The head's signer: each machine gets its own certificate, and what one of them sends harms no other."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.machine.aws import Aws, AwsError, Stored
from sweepfleet.machine.certificates import make_ca, make_request
from sweepfleet.machine.facts import KEYS, Tls
from sweepfleet.machine.head import signer

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Bucket(Aws):
    """A bucket of the signer's: what is in it, and what cannot be read."""

    facts: Any = None
    objects: dict[str, bytes] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)
    puts: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def list(self, prefix: str) -> list[Stored]:
        self.calls.append("list")
        found = [(key, data) for key, data in self.objects.items() if key.startswith(prefix)]
        return [Stored(key, str(hash(data)), NOON, len(data)) for key, data in found]

    def get_all(self, prefix: str, names: Iterable[str], folder: Path, *, most_bytes: int) -> None:
        self.calls.append("get")
        refused = []
        for key in (f"{prefix}{name}" for name in names):
            if key in self.unreadable or len(self.objects[key]) > most_bytes:
                refused.append(key)
                continue
            file = folder / key.removeprefix(prefix)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.objects[key])
        if refused:
            raise AwsError(f"aws s3 cp: AccessDenied: {refused}")

    def put_all(self, folder: Path, prefix: str) -> None:
        self.calls.append("put")
        for file in folder.rglob("*.*"):
            key = f"{prefix}{file.relative_to(folder)}"
            self.objects[key] = file.read_bytes()
            self.puts.append(key)


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    made = Tls(tmp_path / "head")
    make_ca(made, name="cluster")
    return made


def a_request(tmp_path: Path, *, subject: str) -> bytes:
    return make_request(Tls(tmp_path / subject.replace(":", "-")), "worker", subject=subject).read_bytes()


def subject_of(certificate: bytes) -> str:
    shown = ["openssl", "x509", "-noout", "-subject"]
    return subprocess.run(shown, input=certificate, capture_output=True, check=True).stdout.decode().strip()


def with_another_name(request: bytes) -> bytes:
    """A request whose signature is of another text."""
    first, *body, last = request.splitlines(keepends=True)
    return first + base64.encodebytes(base64.b64decode(b"".join(body)).replace(b"worker-1", b"worker-2")) + last


def test_a_machine_gets_its_own_name_whatever_it_asks_for(tmp_path: Path, tls: Tls) -> None:
    bucket = Bucket(objects={KEYS.request("AROA:i-1"): a_request(tmp_path, subject="AROA:i-2")})
    signer.look(bucket, tls, {})
    assert subject_of(bucket.objects[KEYS.certificate("AROA:i-1")]) == "subject=CN = AROA:i-1"
    assert KEYS.certificate("AROA:i-2") not in bucket.objects


def test_what_is_no_request_stops_no_other(tmp_path: Path, tls: Tls, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing, rubbish, a gigabyte's beginning, a forged request, one that cannot be read; and then a good one."""
    good = a_request(tmp_path, subject="worker-1")
    forged = with_another_name(good)
    sent = [b"", b"rubbish", b"\0" * 10 * signer.MOST_BYTES, forged, b"unreadable", good]
    bucket = Bucket(objects={KEYS.request(f"AROA:i-{number}"): data for number, data in enumerate(sent)})
    bucket.unreadable.add(KEYS.request("AROA:i-4"))
    marks: dict[str, str] = {}
    signer.look(bucket, tls, marks)
    made = [key for key in bucket.objects if key.startswith(KEYS.certificates)]
    assert made == [KEYS.certificate("AROA:i-5")]
    said = capsys.readouterr().out
    assert all(f"AROA:i-{number}: " in said for number in range(6))
    assert "self-signature" in said
    bucket.unreadable.clear()
    bucket.objects[KEYS.request("AROA:i-4")] = good
    signer.look(bucket, tls, marks)
    assert KEYS.certificate("AROA:i-4") in bucket.objects, "what could not be read is tried again"
    assert len(bucket.puts) == 2, "and what was answered is not answered again"
    bucket.calls.clear()
    signer.look(bucket, tls, marks)
    assert bucket.calls == ["list"], "nor is what can never be one asked for again"


def test_a_request_that_grew_since_it_was_listed_does_not_fill_the_disk(
    tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, marks = KEYS.request("AROA:i-1"), dict[str, str]()
    bucket = Bucket(objects={key: b"\0" * 2 * signer.MOST_BYTES})
    monkeypatch.setattr(Bucket, "list", lambda *_: [Stored(key, "small", NOON, 400)])
    signer.look(bucket, tls, marks)
    assert marks == {}, "it was not read, and is looked at again"


def test_many_requests_take_as_many_calls_as_one(tmp_path: Path, tls: Tls) -> None:
    """Each call of `aws` takes the head a second, and all workers of a fleet ask at once."""
    requests = {KEYS.request(f"AROA:i-{number}"): a_request(tmp_path, subject=f"w-{number}") for number in range(30)}
    bucket = Bucket(objects=dict(requests))
    signer.look(bucket, tls, {})
    assert bucket.calls == ["list", "get", "put"]
    for number in range(30):
        assert subject_of(bucket.objects[KEYS.certificate(f"AROA:i-{number}")]) == f"subject=CN = AROA:i-{number}"


def test_what_could_not_be_stored_is_stored_later(
    tmp_path: Path, tls: Tls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> None:
        raise AwsError("aws s3 cp: SlowDown")

    bucket, marks = Bucket(objects={KEYS.request("AROA:i-1"): a_request(tmp_path, subject="w")}), dict[str, str]()
    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "put_all", refuse)
        signer.look(bucket, tls, marks)
    assert "AROA:i-1: aws s3 cp: SlowDown" in capsys.readouterr().out
    signer.look(bucket, tls, marks)
    assert bucket.puts == [KEYS.certificate("AROA:i-1")]


def test_nothing_but_a_request_is_looked_at(tmp_path: Path, tls: Tls) -> None:
    bucket = Bucket(objects={f"{KEYS.requests}AROA:i-1/other.pem": a_request(tmp_path, subject="x")})
    signer.look(bucket, tls, {})
    assert bucket.calls == ["list"]


def test_a_signer_that_starts_anew_signs_no_request_again() -> None:
    """But those without a certificate, and those that were made anew after theirs: as when the CA is another one."""
    minute = timedelta(minutes=1)
    requests = [Stored(KEYS.request(me), me, NOON, 400) for me in ("done", "new", "again", "same second")]
    certificates = [
        Stored(KEYS.certificate("done"), "", NOON + minute, 900),
        Stored(KEYS.certificate("again"), "", NOON - minute, 900),
        Stored(KEYS.certificate("same second"), "", NOON, 900),  # which of the two came first, nobody knows
    ]
    assert signer.answered(requests, certificates) == {KEYS.request("done"): "done"}
