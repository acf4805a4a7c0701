"""Names that live in accounts and states are those of docs/decisions/016, and of no other spelling."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from sweepfleet.account import settings as account
from sweepfleet.infra import layout, settings
from sweepfleet.machine import facts

ROOT = Path(__file__).parents[2]
NOTE = (ROOT / "docs" / "decisions" / "016-names-that-last.md").read_text()
SOURCES = {
    file: file.read_text()
    for room in ("infra", "account")
    for file in sorted((ROOT / "src" / "sweepfleet" / room).glob("*.py"))
}


def row(name: str) -> str:
    """The table's row of this name."""
    (found,) = (line for line in NOTE.splitlines() if line.startswith(f"| {name} |"))
    return found


def test_components_have_these_tokens() -> None:
    given = [
        token for text in SOURCES.values() for token in re.findall(r"super\(\).__init__\(\"([^\"]*:[^\"]*)\"", text)
    ]
    assert sorted(given) == sorted(re.findall(r"`(sweepfleet:\w+:\w+)`", row("Components")))


def test_tags_are_these() -> None:
    tags = {tag for text in SOURCES.values() for tag in re.findall(r"\"(sweepfleet:\w+)\"", text)}
    assert tags == set(re.findall(r"`(sweepfleet:\w+)`", row("Tags")))


def test_projects_path_and_boundary_are_these() -> None:
    assert re.findall(r"`([\w-]+)`", row("Pulumi's projects")) == [settings.PROJECT, account.PROJECT]
    assert re.findall(r"`([^`]+)`", row("Roles of machines")) == [layout.IAM_PATH, layout.BOUNDARY]


def test_the_secret_for_package_indexes_has_this_name() -> None:
    (name,) = re.findall(r"`([^`]+)`", row("A secret of the account"))
    assert name.replace("<stack>", "{stack}") == layout.NETRC_PARAMETER == facts.NETRC_PARAMETER


def test_the_bucket_has_these_prefixes_and_machines_use_no_others() -> None:
    prefixes = {str(one.default) for one in dataclasses.fields(layout.BucketLayout)}
    assert prefixes == set(re.findall(r"`(\w+/)`", row("The bucket's prefixes")))
    keys = [
        *(getattr(facts.KEYS, one.name) for one in dataclasses.fields(facts.Keys)),
        facts.KEYS.first,
        *(getattr(facts.KEYS, name)("x") for name in ("letter", "enclosed", "answer", "ended", "release")),
        *(getattr(facts.KEYS, name)("x") for name in ("release_note", "environment", "environment_hash")),
        *(getattr(facts.KEYS, name)("x") for name in ("request", "certificate")),
    ]
    assert {f"{key.partition('/')[0]}/" for key in keys} <= prefixes


def test_machines_have_these_folders() -> None:
    paths = layout.MachinePaths()
    assert re.findall(r"`(/[\w/]+)`", row("On machines")) == [paths.home, paths.data, paths.config]
    assert str(facts.HOME.path) == paths.home
    assert str(facts.CODE) == layout.MachinePaths.code_of("")[1:]
