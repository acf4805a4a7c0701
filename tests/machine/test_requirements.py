"""What machines install for this package's own sake."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from sweepfleet.machine.environment.note import OWN
from sweepfleet.machine.environment.requirements import entries

ROOT = Path(__file__).parents[2]
FRONT_DOOR = ("invoke",)  # which no code on machines imports


def test_machines_need_what_the_package_declares_and_the_machines_group() -> None:
    """At the same versions, so that an environment here is one there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = [*project["project"]["dependencies"], *project["dependency-groups"]["machines"]]
    expected = {one for one in declared if not one.startswith(FRONT_DOOR)}
    assert {one.text for one in entries(OWN.read_text())} == expected


@pytest.mark.parametrize(
    ("line", "name", "local"),
    [
        ("six==1.16.0 ; python_version < '4'  # why", "six", None),
        ("Zope.Interface[test]>=5", "zope-interface", None),
        ("lib @ git+https://example.org/lib.git@abc", "lib", None),
        ("lib @ https://example.org/lib-1.0.tar.gz", "lib", None),
        ("lib @ file:///srv/lib", "lib", "/srv/lib"),
        ("lib @ file:../lib", "lib", "../lib"),
        ("-e .", "", "."),
        ("--editable=./lib[fast]", "", "lib"),
        ("./vendor/lib-1.0-py3-none-any.whl ; python_version > '3'", "", "vendor/lib-1.0-py3-none-any.whl"),
        ("vendor/lib-1.0-py3-none-any.whl", "", "vendor/lib-1.0-py3-none-any.whl"),
        ("../lib", "", "../lib"),
        ("--extra-index-url https://example.org/simple", "", None),
    ],
)
def test_a_line_of_a_requirements_file_is_understood(line: str, name: str, local: str | None) -> None:
    [one] = entries(line)
    assert one.name == name
    assert one.local == (Path(local) if local else None)


def test_a_requirement_on_several_lines_keeps_its_hashes() -> None:
    [one] = entries("# a comment\nsix==1.16.0 \\\n    --hash=sha256:ab \\\n    --hash=sha256:cd\n    # via acme\n\n")
    assert (one.text, one.hashes) == ("six==1.16.0", ("--hash=sha256:ab", "--hash=sha256:cd"))
    assert entries(one.lines) == [one]
