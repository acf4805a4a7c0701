"""An upgrade of the package changes no user's file: the doctor says which one lacks what this version needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sweepfleet.fleet.stack.doctor import Finding
from sweepfleet.fleet.stack.project_age import examine_project
from sweepfleet.scaffold import PIPELINES, files, write
from sweepfleet.tasks import ns

HERE = Path(__file__).parents[2]


@pytest.fixture(params=list(PIPELINES))
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """As `init` writes it."""
    write(tmp_path, files(tmp_path, cluster=True, pipeline=request.param))
    return tmp_path


def bad(root: Path) -> dict[str, Finding]:
    return {one.subject: one for one in examine_project(root, tasks=ns.task_names) if not one.good}


def change(file: Path, old: str, new: str = "") -> None:
    text = file.read_text()
    assert re.search(old, text, re.MULTILINE), old
    file.write_text(re.sub(old, new, text, count=1, flags=re.MULTILINE))


def test_what_init_writes_has_all_and_so_has_this_repository(project: Path) -> None:
    assert bad(project) == {}
    assert bad(HERE) == {}
    (found,) = examine_project(HERE, tasks=ns.task_names)
    assert found.said == "9 files with all that this version needs"


def test_what_a_user_adds_and_how_it_is_laid_out_is_nobodys_affair(project: Path) -> None:
    """Settings, resources and jobs of their own, other names, arguments by keyword, tasks in a collection."""
    change(project / "Pulumi.yaml", "^config:\n", "config:\n  mine: {type: string}\n")
    program = project / "infra" / "__main__.py"
    change(program, "^head = .*", "the_head = Head(setup=setup, **rest)\nMine('x')")
    change(program, "import Firewall,", "import Firewall as Firewall,")
    (project / "tasks.py").write_text(
        "from invoke.collection import Collection\nfrom sweepfleet.tasks import ns as fleet\n"
        "ns = Collection()\nns.add_collection(fleet, 'fleet')\n"
    )
    for file in (*project.glob(".github/workflows/*.yml"), project / ".gitlab-ci.yml"):
        if file.exists():
            file.write_text(file.read_text().replace("inv ci.", "inv fleet.ci.") + "# mine\n")
    assert bad(project) == {}


def test_all_parts_in_one_line_are_all_parts(project: Path) -> None:
    (project / "infra" / "__main__.py").write_text(
        "from sweepfleet.infra.cluster import Cluster, Setup\n\nCluster.declare(Setup.read())\n"
    )
    assert bad(project) == {}


CASES: list[tuple[str, Callable[[Path], None], list[str]]] = [
    ("Pulumi.yaml", lambda file: change(file, r"^main: infra\n"), ["Add: main: infra"]),
    ("Pulumi.yaml", lambda file: change(file, r"^name: sweepfleet$", "name: mine"), ["Write: name: sweepfleet"]),
    ("Pulumi.yaml", lambda file: change(file, r"^    toolchain: uv$", "    other: 1"), ["    toolchain: uv"]),
    ("Pulumi.yaml", lambda file: change(file, r"^runtime:\n(  .*\n)+", "runtime: python\n"), ["    toolchain: uv"]),
    (
        "Pulumi.yaml",
        lambda file: change(file, r"^  maxWorkers:\n(    .*\n)+"),
        ["config has no maxWorkers. Add to it:", "  maxWorkers:\n    type: integer\n", "    default: 10"],
    ),
    ("Pulumi.yaml", lambda file: file.write_text("a: b: c\n"), ["Pulumi.yaml cannot be read"]),
    (
        "infra/__main__.py",
        lambda file: (change(file, r"^key = .*\n"), change(file, "KeyPair, ")),  # type: ignore[arg-type, return-value]
        ["It does not declare KeyPair. Import it from sweepfleet.infra.cluster, and add: key = KeyPair(setup)"],
    ),
    (
        "infra/__main__.py",
        lambda file: change(file, r"^head = .*", "head = Head(setup, network)"),
        ["Head is given 2 of 6 parts. Write: head = Head(setup, network, firewall, key, storage, workers)"],
    ),
    (
        "infra/__main__.py",
        lambda file: change(file, "import Firewall,", "import Firewall, Spindle,"),
        ["__main__.py, line 3: this version has no Spindle in sweepfleet.infra.cluster."],
    ),
    ("infra/__main__.py", lambda file: file.unlink(), ["sweepfleet init --cluster"]),
    (
        "tasks.py",
        lambda file: file.write_text("from sweepfleet.jobs import everything\n"),
        ["tasks.py, line 1: this version has no everything in sweepfleet.jobs."],
    ),
    ("account/Pulumi.yaml", lambda file: change(file, r"^  forge:\n(    .*\n)+"), ["config has no forge."]),
    (".pulumi.version", lambda file: file.write_text("3.100.0\n"), ["It is too old: Pulumi 3.252 is needed."]),
    (".pulumi.version", lambda file: file.unlink(), ["It does not exist, and workflows read it."]),
]


@pytest.mark.parametrize(("name", "spoil", "fixes"), CASES)
def test_what_is_missing_is_said_with_what_to_write(
    tmp_path: Path, name: str, spoil: Callable[[Path], None], fixes: list[str]
) -> None:
    write(tmp_path, files(tmp_path, cluster=True, pipeline="github"))
    spoil(tmp_path / name)
    found = bad(tmp_path)
    assert set(found) == {name}
    for fix in fixes:
        assert fix in found[name].fix


def test_a_project_without_a_cluster_is_told_how_to_have_one(tmp_path: Path) -> None:
    (found,) = bad(tmp_path).values()
    assert found.fix == "sweepfleet init --cluster"


def test_a_project_without_a_pipeline_needs_none(tmp_path: Path) -> None:
    write(tmp_path, files(tmp_path, cluster=True))
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    (tmp_path / ".github" / "workflows" / "tests.yml").write_text("on: push\njobs: {a: {steps: [{run: pytest}]}}\n")
    assert bad(tmp_path) == {}


def test_a_pipeline_that_lacks_a_job_a_right_or_has_a_job_of_another_version_is_of_another_kind(
    tmp_path: Path,
) -> None:
    write(tmp_path, files(tmp_path, cluster=True, pipeline="github"))
    place = tmp_path / ".github" / "workflows"
    (place / "nightly.yml").unlink()
    change(place / "pull-request.yml", r"pull-requests: write", "pull-requests: read")
    change(place / "deploy.yml", r"inv ci\.sweeps", "inv ci.hoover")
    found = bad(tmp_path)
    assert found[".github/workflows/nightly.yml"].fix.splitlines() == [
        "No job calls ci.audit. Write it: sweepfleet init --pipeline github",
        "No job calls ci.drift. Write it: sweepfleet init --pipeline github",
    ]
    assert "No job has the permission pull-requests: write." in found[".github/workflows/pull-request.yml"].fix
    deploy = found[".github/workflows/deploy.yml"].fix
    assert "No job calls ci.sweeps. Rename it, then: sweepfleet init --pipeline github" in deploy
    said = "\n".join(one.fix for one in found.values())
    assert "A job calls ci.hoover, which this version does not have." in said


def test_gitlabs_pipeline_too(tmp_path: Path) -> None:
    write(tmp_path, files(tmp_path, cluster=True, pipeline="gitlab"))
    change(tmp_path / ".gitlab-ci.yml", r"inv ci\.drift", "true")
    (found,) = bad(tmp_path).values()
    assert found.subject == ".gitlab-ci.yml"
    assert "No job calls ci.drift. Rename it, then: sweepfleet init --pipeline gitlab" in found.fix
