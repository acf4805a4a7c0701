"""What machines do in the bucket within their own process is what `aws` would have done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sweepfleet.machine.aws import AwsError
from sweepfleet.machine.facts import Facts
from sweepfleet.machine.in_process import InProcess, door
from tests.cloud.moto import Moto
from tests.here import bucket_here
from tests.machine.test_machine import MACHINE


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Moto]:
    """A bucket, for what machines do in this process."""
    with bucket_here(monkeypatch, MACHINE.bucket) as moto:
        yield moto


@pytest.fixture
def aws(s3: Moto) -> InProcess:
    found = door(Facts.read(MACHINE.facts()))
    assert isinstance(found, InProcess)
    return found


def test_what_was_put_can_be_listed_and_had_again(aws: InProcess, tmp_path: Path) -> None:
    """Whole, with a mark that changes with the content; and only what is under the prefix."""
    file, back = tmp_path / "a file", tmp_path / "back"
    file.write_bytes(b"one" * 4_000_000)
    for key in ("requests/AROA:i-1/csr.pem", "requests/AROA:i-2/csr.pem", "requestsother/x"):
        aws.put(file, key)
    [first, second] = aws.list("requests/")
    assert [first.key, second.key] == ["requests/AROA:i-1/csr.pem", "requests/AROA:i-2/csr.pem"]
    assert first.size == file.stat().st_size
    aws.get(first.key, back)
    assert back.read_bytes() == file.read_bytes()
    file.write_bytes(b"two")
    aws.put(file, first.key)
    with back.open("rb") as earlier:
        aws.get(first.key, back)
        assert (earlier.read(3), back.read_bytes()) == (b"one", b"two"), "it was written over while it was read"
    again = aws.list("requests/")[0]
    assert again.mark != first.mark
    assert again.changed >= first.changed
    assert aws.exists(first.key)
    assert not aws.exists("requests/AROA:i-1")
    assert aws.list("nothing/") == []


def test_what_is_not_there_leaves_the_file_that_was(aws: InProcess, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("before")
    with pytest.raises(AwsError, match=r"tls/ca\.pem"):
        aws.get("tls/ca.pem", file)
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_of_many_those_that_can_be_had_come_and_the_others_are_named(aws: InProcess, tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"s" * 10)
    large.write_bytes(b"l" * 11)
    aws.put(small, "requests/a/csr.pem")
    aws.put(large, "requests/b/csr.pem")
    folder = tmp_path / "here"
    with pytest.raises(AwsError, match=r"requests/b/csr.pem has 11 bytes; requests/c/csr.pem: "):
        aws.get_all("requests/", ["a/csr.pem", "b/csr.pem", "c/csr.pem"], folder, most_bytes=10)
    assert [file.read_bytes() for file in folder.rglob("*.pem")] == [small.read_bytes()]
    aws.put_all(folder, "certificates/")
    assert [one.key for one in aws.list("certificates/")] == ["certificates/a/csr.pem"]


def test_a_bucket_that_is_not_there_is_an_error_of_aws(s3: Moto, tmp_path: Path) -> None:
    aws = door(Facts.read(MACHINE.facts() | {"SWEEPFLEET_BUCKET": "no-such-bucket"}))
    (tmp_path / "x").touch()
    for call in (
        lambda: aws.list("requests/"),
        lambda: aws.put(tmp_path / "x", "requests/x"),
        lambda: aws.get("requests/x", tmp_path / "y"),
    ):
        with pytest.raises(AwsError):
            call()
