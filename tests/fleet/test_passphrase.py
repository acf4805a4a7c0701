"""A stack's passphrase is missed before anything is made, and given to every call; `pulumi` is a script of ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.stack import passphrase
from sweepfleet.fleet.stack.doctor import examine
from sweepfleet.fleet.stack.pulumi_cli import PulumiCli
from sweepfleet.grid.errors import UsageError

SALT = "v1:c2FsdA==:v1:bm9uY2U=:dGV4dA=="
RIGHT = "correct horse"
GIVEN = {passphrase.VARIABLE: RIGHT}
# As the command does it: the file decides, and a wrong passphrase is an error (pkg/secrets/passphrase/manager.go).
CHECK = f"""\
"--non-interactive config set --stack dev --config-file"*"--secret check x")
  grep -q '{SALT}' "$7" || {{ echo "error: no salt" >&2; exit 1; }}
  [ "$PULUMI_CONFIG_PASSPHRASE" = '{RIGHT}' ] || {{ echo "error: incorrect passphrase" >&2; exit 255; }} ;;
"""


@pytest.fixture
def pulumi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., PulumiCli]:
    """A logged-in `pulumi`, by where it keeps its state and what the stack dev's state is encrypted with."""

    def make(*, url: str = "file://~", provider: dict[str, Any] | None = None, stacks: int = 1) -> PulumiCli:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        answers = {
            "version": "v3.260.0",
            "whoami --json": json.dumps({"user": "ada", "url": url}),
            "stack ls --json": json.dumps([{"name": "dev"}] * stacks),
            "stack export --stack dev": json.dumps({"deployment": {"secrets_providers": provider}}),
            "config --json --stack dev": "{}",
        }
        lines = ["#!/bin/sh", 'case "$*" in', CHECK]
        lines += [f"\"--non-interactive {words}\") echo '{answer}' ;;" for words, answer in answers.items()]
        lines += ['*) echo "error: no such question: $*" >&2; exit 1 ;;', "esac"]
        (folder / "pulumi").write_text("\n".join(lines))
        (folder / "pulumi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        for name in (passphrase.VARIABLE, passphrase.FILE_VARIABLE):
            monkeypatch.delenv(name, raising=False)
        return PulumiCli(tmp_path)

    return make


BY_PASSPHRASE = {"type": "passphrase", "state": {"salt": SALT}}


def settings(tmp_path: Path, text: str = "") -> Path:
    file = tmp_path / "Pulumi.dev.yaml"
    if text:
        file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("text", "stand", "salt"),
    [
        (f"encryptionsalt: {SALT}\n", {"provider": BY_PASSPHRASE}, SALT),
        (
            "config:\n  aws:region: us-east-1\n",
            {"provider": BY_PASSPHRASE},
            SALT,
        ),  # a checkout without the file's salt
        (f"encryptionsalt: {SALT}\n", {"url": "https://app.pulumi.com/ada"}, SALT),  # on Pulumi's service, by choice
        ("secretsprovider: awskms://alias/x?region=us-east-1\nencryptedkey: a\n", {"stacks": 0}, None),
        ("", {"provider": {"type": "cloud", "state": {}}}, None),
        ("", {"url": "https://app.pulumi.com/ada", "stacks": 0}, None),
        ("", {"url": "file://~", "stacks": 0}, ""),
        ("", {"url": "s3://bucket?region=us-east-1", "stacks": 0}, ""),
    ],
)
def test_who_needs_a_passphrase_is_known_before_pulumi_asks(
    pulumi: Callable[..., PulumiCli], tmp_path: Path, text: str, stand: dict[str, Any], salt: str | None
) -> None:
    found = passphrase.need(pulumi(**stand), "dev", settings=settings(tmp_path, text))
    assert (found and found.salt) == salt


def test_without_a_terminal_the_lines_to_type_are_said(pulumi: Callable[..., PulumiCli], tmp_path: Path) -> None:
    cli, file = pulumi(provider=BY_PASSPHRASE), settings(tmp_path)
    for environment in ({}, {passphrase.FILE_VARIABLE: ""}):
        with pytest.raises(UsageError) as refused:
            passphrase.unlock(cli, "dev", settings=file, ask=None, environment=environment)
        assert "export PULUMI_CONFIG_PASSPHRASE_FILE=~/.pulumi-passphrase" in str(refused.value)
        assert "change-secrets-provider --stack dev 'awskms://" in str(refused.value)


def test_what_the_shell_has_is_used_and_checked(
    pulumi: Callable[..., PulumiCli], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli, file = pulumi(provider=BY_PASSPHRASE), settings(tmp_path)
    monkeypatch.setenv(passphrase.VARIABLE, RIGHT)
    assert passphrase.unlock(cli, "dev", settings=file, ask=None, environment=GIVEN) is cli
    monkeypatch.setenv(passphrase.VARIABLE, "")
    with pytest.raises(ClusterError, match="PULUMI_CONFIG_PASSPHRASE does not have the passphrase of the stack dev"):
        passphrase.unlock(cli, "dev", settings=file, ask=None, environment={passphrase.VARIABLE: ""})


def answers(*typed: str) -> Callable[[str], str]:
    left: Iterator[str] = iter(typed)
    return lambda question: next(left) if question else ""


def test_it_is_asked_for_until_it_fits_and_then_in_every_calls_environment(
    pulumi: Callable[..., PulumiCli], tmp_path: Path
) -> None:
    cli, file = pulumi(provider=BY_PASSPHRASE), settings(tmp_path)
    unlocked = passphrase.unlock(cli, "dev", settings=file, ask=answers("wrong", RIGHT), environment={})
    assert unlocked.environment == GIVEN
    with pytest.raises(ClusterError, match="stack change-secrets-provider --stack dev passphrase"):
        passphrase.unlock(cli, "dev", settings=file, ask=answers("a", "b", "c"), environment={})


def test_a_new_stacks_is_typed_twice(pulumi: Callable[..., PulumiCli], tmp_path: Path) -> None:
    cli, file = pulumi(stacks=0), settings(tmp_path)
    assert passphrase.unlock(cli, "dev", settings=file, ask=answers("x", "x"), environment={}).environment == {
        passphrase.VARIABLE: "x"
    }
    with pytest.raises(UsageError, match="differ"):
        passphrase.unlock(cli, "dev", settings=file, ask=answers("x", "y"), environment={})


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_doctor_looks_at_it(
    pulumi: Callable[..., PulumiCli], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    pulumi(provider=BY_PASSPHRASE)
    monkeypatch.setenv("HOME", str(tmp_path))

    def said(**environment: str) -> tuple[bool, str]:
        found = next(
            one
            for one in examine(tmp_path, asked_stack="dev", environment=environment)
            if one.subject == "passphrase"
        )
        return found.good, found.said + found.fix

    good, words = said()
    assert (good, "export PULUMI_CONFIG_PASSPHRASE_FILE" in words) == (False, True)
    file = tmp_path / "passphrase"
    file.write_text(RIGHT)
    file.chmod(mode)
    monkeypatch.setenv(passphrase.VARIABLE, RIGHT)  # what our `pulumi` reads
    good, words = said(**{passphrase.FILE_VARIABLE: str(file)})
    assert (good, words.partition(str(file))[0]) == (
        (True, "is set") if mode == 0o600 else (False, "other users can read ")
    )
