"""The password of a package index: read by the head when it builds, kept in memory, and gone after it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from sweepfleet.machine.aws import Aws, AwsError
from sweepfleet.machine.facts import Facts
from sweepfleet.machine.head import publish

AWS = """#!/bin/sh
echo "$@" >> "$ASKED"
[ -e "$ANSWERS/error" ] && { cat "$ANSWERS/error" >&2; exit 254; }
cat "$ANSWERS/value"
"""


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """A head's, whose `aws` notes what it is asked, and says what the test has it say."""
    program = tmp_path / "bin" / "aws"
    program.parent.mkdir()
    program.write_text(AWS)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setenv("ANSWERS", str(tmp_path))
    monkeypatch.setattr(publish, "MEMORY", tmp_path)
    return Aws(Facts("head", "dev", "b", "AROA", "10.0.0.1", "", "us-east-1", "", str(tmp_path / "data"), "one"))


def test_the_secret_is_a_file_for_the_build_alone(aws: Aws, tmp_path: Path) -> None:
    (tmp_path / "value").write_text(json.dumps('machine pypi.example.org\n login ada password "x'))
    with publish.secret_for_indexes(aws) as file:
        assert file is not None
        assert file.read_text() == 'machine pypi.example.org\n login ada password "x\n'
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not file.exists()
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("ssm get-parameter --name /sweepfleet/dev/netrc --with-decryption ")


def test_without_one_nothing_is_made(aws: Aws, tmp_path: Path) -> None:
    (tmp_path / "error").write_text("An error occurred (ParameterNotFound) when calling the GetParameter operation:")
    with publish.secret_for_indexes(aws) as file:
        assert file is None


def test_a_head_that_may_not_read_it_builds_without_and_says_so(
    aws: Aws, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "error").write_text("An error occurred (AccessDeniedException) when calling GetParameter")
    with publish.secret_for_indexes(aws) as file:
        assert file is None
    assert "Let it, with: inv up." in capsys.readouterr().out


def test_while_aws_is_away_nothing_is_built(aws: Aws, tmp_path: Path) -> None:
    (tmp_path / "error").write_text("Could not connect to the endpoint URL")
    with pytest.raises(AwsError, match="Could not connect"), publish.secret_for_indexes(aws):
        pytest.fail("built without its password")
