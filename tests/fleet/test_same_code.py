"""The code that runs is the code that is meant: a sweep and a push say which other code and whose the cluster has."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from invoke.exceptions import Exit

from sweepfleet.fleet.code import release, same_code
from sweepfleet.fleet.code.push import Pushed, current_release, releases, replaced, since
from sweepfleet.fleet.code.pusher import Pusher, pusher
from sweepfleet.fleet.code.release import make_release
from sweepfleet.fleet.code.same_code import difference
from sweepfleet.fleet.errors import NothingToDo
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.fleet.stack.gone import DownError
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.load import load
from sweepfleet.infra.layout import BucketLayout
from sweepfleet.tasks import asking, pushing
from tests.cloud.moto import Moto
from tests.locks import PROJECT

pytest_plugins = ["tests.cloud.fixtures"]
HERE = Path(__file__).parents[2]
REGION, BUCKET = "eu-west-1", "sweepfleet-dev-0123"
ADA = Pusher(aws="arn:aws:sts::1:assumed-role/Dev/ada", git="Ada <ada@example.org>")
BOB = Pusher(aws="arn:aws:sts::1:assumed-role/Dev/bob", git="Bob <bob@example.org>")
FILES = {
    **PROJECT,
    "README.md": "read",
    "grid/engine.py": "",
    "common/__init__.py": "",
    "common/maths.py": "from . import deep\n",
    "common/deep.py": "",
    "common/apart.py": "",
    "trial/fit.py": "import os\nfrom common.maths import deep\nimport trial.near\ndef fit(i): return {'v': i}\n",
    "trial/near.py": "",
    "trial/data/table.csv": "1",
    "trial/notes.md": "",
    "trial/grid.yaml": "name: t\nrun: trial.fit:fit\npoints: points.csv\n",
    "trial/other.yaml": "name: o\nrun: trial.fit:fit\nparameters: {i: [1]}\n",
    "trial/config.yaml": "depth: 1\n",
    "trial/points.csv": "i\n1\n",
    "tools/run.sh": "#!/bin/sh\n",
    "tools/grid.yaml": "name: c\ncommand: [python, tools/go.py, '{i}']\nparameters: {i: [1]}\n",
    "tools/go.py": "import common.apart\n",
}


class Project:
    """A checkout whose release the cluster runs, and the bucket that has it."""

    def __init__(self, root: Path, moto: Moto) -> None:
        self.root = root
        self.cloud = Cloud(REGION, endpoint_url=moto.endpoint)
        self.s3 = moto.client("s3", REGION)
        self.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        outputs: Any = SimpleNamespace(bucket=BUCKET, stack="dev", region=REGION)
        self.fleet = Fleet(root, outputs, self.cloud)
        self.write(**FILES)
        self.git("init", "-q", "-b", "main")
        self.commit()

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        done = subprocess.run(["git", "-C", str(self.root), *who, *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)

    def commit(self, **files: str) -> str:
        self.write(**files)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "more")
        return self.git("rev-parse", "HEAD")

    def push(self, *, by: Pusher | None = ADA, dirty: bool = False) -> Pushed:
        """What the head stores of a push."""
        release = make_release(self.root, dirty=dirty)
        with tarfile.open(fileobj=io.BytesIO(release.data)) as archive:
            note = json.load(archive.extractfile("release.json"))  # type: ignore[arg-type]
        note |= {"engine": "e", "lock": "l", "pushed": 1e9}
        note["release"] = {"key": f"releases/{release.sha256}.tar.gz", "sha256": release.sha256}
        if by is not None:
            note["pushed_by"] = json.loads(by.to_json())
        self.s3.put_object(Bucket=BUCKET, Key=f"releases/{release.sha256}.tar.gz", Body=release.data)
        for key in (f"releases/{release.sha256}.json", BucketLayout().current):
            self.s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(note).encode())
        return self.release

    @property
    def release(self) -> Pushed:
        return self.fleet.release()

    def differing(self, grid: str = "trial/grid.yaml") -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        found = difference(self.fleet, load(self.root / grid), self.release)
        return found and (found.target, found.others)


@pytest.fixture
def project(tmp_path: Path, moto: Moto, no_credentials: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    made = Project(tmp_path, moto)
    monkeypatch.chdir(tmp_path)
    made.push()
    return made


# Which files differ


def test_the_same_commit_is_the_same_code_and_fetches_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweepfleet.fleet.code.same_code.get_bytes", lambda *_, **__: pytest.fail("fetched"))
    assert project.differing() is None
    (project.root / "new.py").write_text("")  # not Git's: no push would take it along
    assert project.differing() is None


def test_another_version_of_this_package_is_one_difference_and_the_targets(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It runs every target, and its files mean nothing to whoever has none of them."""
    project.commit(**{"README.md": "more"})
    assert project.differing() == ((), ("README.md",))
    newer = {**same_code.carried(), ".sweepfleet/code/sweepfleet/slot/newer.py": project.root / "README.md"}
    monkeypatch.setattr(same_code, "carried", lambda: newer)
    assert project.differing() == (("sweepfleet itself",), ("README.md",))


def test_another_version_of_this_package_is_noticed_at_the_same_commit(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop's environment was upgraded, or another's was not."""
    newer = {**release.carried(), ".sweepfleet/code/sweepfleet/slot/newer.py": project.root / "README.md"}
    for module in (release, same_code):
        monkeypatch.setattr(module, "carried", lambda: newer)
    monkeypatch.setattr(same_code, "version", lambda: "9.9")
    found = project.differing()
    assert found is not None
    assert found[0][0].startswith("sweepfleet itself (9.9 here, ")


def test_a_file_of_the_projects_package_is_every_targets(project: Project) -> None:
    """The package is installed: where the grid is says nothing about what it imports of it. Its data count, too."""
    backend = '[build-system]\nrequires = ["uv_build>=0.9,<1"]\nbuild-backend = "uv_build"\n'
    package = {"src/theirs/__init__.py": "", "src/theirs/fit.py": "x = 1\n", "src/theirs/data/table.csv": "1\n"}
    lock = FILES["uv.lock"].replace("virtual", "editable")
    project.commit(**package, **{"pyproject.toml": FILES["pyproject.toml"] + backend, "uv.lock": lock})
    project.push()
    project.write(**dict.fromkeys(("src/theirs/fit.py", "src/theirs/data/table.csv", "README.md"), "x = 2\n"))
    assert project.differing() == (("src/theirs/data/table.csv", "src/theirs/fit.py"), ("README.md",))


@pytest.mark.parametrize(
    ("file", "grid"),
    [
        ("trial/fit.py", "trial/grid.yaml"),  # the target
        ("trial/near.py", "trial/grid.yaml"),  # what it imports, in a folder that is no package
        ("common/__init__.py", "trial/grid.yaml"),  # the package that it imports from
        ("common/deep.py", "trial/grid.yaml"),  # what that imports in turn, as a part of its package
        ("trial/data/table.csv", "trial/grid.yaml"),  # what it may read
        ("trial/config.yaml", "trial/grid.yaml"),
        ("uv.lock", "trial/grid.yaml"),  # what is installed
        ("tools/go.py", "tools/grid.yaml"),  # the file that a command's words name
        ("common/apart.py", "tools/grid.yaml"),  # and its imports
    ],
)
def test_a_changed_file_of_the_target_is_found(project: Project, file: str, grid: str) -> None:
    """Committed, or changed in the tree; also where the other side has none."""
    project.write(**{file: FILES[file] + "\n# changed\n"})
    assert project.differing(grid) == ((file,), ())
    project.commit()
    assert project.differing(grid) == ((file,), ())


def test_what_travels_and_what_no_target_reads_is_no_difference_of_the_target(project: Project) -> None:
    """The grid and its points go with the sweep. Other grids, texts and this project's own code are only said."""
    project.write(**{name: FILES[name] + "\n" for name in ("trial/grid.yaml", "trial/points.csv")})
    assert project.differing() is None
    project.commit()
    assert project.differing() is None, "another commit of the same code"
    others = ("README.md", "common/apart.py", "grid/engine.py", "tools/run.sh", "trial/notes.md", "trial/other.yaml")
    project.commit(**{name: FILES[name] + "\n" for name in others})
    assert project.differing() == ((), others)


def test_a_grid_at_the_top_does_not_make_every_file_its_targets(project: Project) -> None:
    """Settings of stacks, of Git and of pipelines are read by no target."""
    others = (".github/workflows/sweeps.yml", ".gitignore", "Pulumi.dev.yaml")
    project.commit(
        **{"top.yaml": "name: top\nrun: trial.fit:fit\nparameters: {i: [1]}\n"} | dict.fromkeys(others, "a")
    )
    project.push()
    project.commit(**dict.fromkeys(others, "b"), **{"setting.json": "1", "src/own/table.csv": "1"})
    assert project.differing("top.yaml") == (("setting.json", "src/own/table.csv"), others)


def test_a_file_that_is_no_python_is_looked_at_no_further(project: Project) -> None:
    project.commit(**{"common/maths.py": "def half(\n"})
    assert project.differing() == (("common/maths.py",), ())


def test_a_file_that_is_new_gone_or_a_link_elsewhere_differs(project: Project) -> None:
    project.commit(**{"trial/new.py": ""})
    (project.root / "trial/near.py").unlink()
    (project.root / "trial/data/table.csv").unlink()
    (project.root / "trial/data/table.csv").symlink_to("../points.csv")
    project.commit()
    assert project.differing() == (("trial/data/table.csv", "trial/near.py", "trial/new.py"), ())


def test_a_release_of_changed_files_is_compared_as_it_was_shipped(project: Project) -> None:
    """Its commit says nothing about it."""
    project.write(**{"trial/fit.py": "# changed\n"})
    project.push(dirty=True)
    assert project.differing() is None
    project.git("checkout", "-q", ".")
    assert project.differing() == (("trial/fit.py",), ())


DATA = {"pyproject.toml": "[tool.sweepfleet]\ninclude = ['data/']\n", ".gitignore": "data/\n"}


def test_data_files_that_are_not_as_they_were_pushed_are_the_targets(project: Project) -> None:
    """Wherever they are, and though Git knows nothing of them: at the same commit, too."""
    project.commit(**DATA, **{"data/table.csv": "1", "data/old.csv": "1"})
    assert project.differing() == (("data/old.csv", "data/table.csv"), (".gitignore", "pyproject.toml"))
    project.push()
    assert project.differing() is None
    project.write(**{"data/table.csv": "2", "data/new.csv": "1"})
    (project.root / "data/old.csv").unlink()
    assert project.differing() == (("data/new.csv", "data/old.csv", "data/table.csv"), ())
    project.commit(**{"README.md": "more"})
    assert project.differing() == (("data/new.csv", "data/old.csv", "data/table.csv"), ("README.md",))
    project.push()
    assert project.differing() is None


def test_another_persons_data_are_not_replaced_unasked(project: Project) -> None:
    project.commit(**DATA, **{"data/table.csv": "1"})
    project.push(by=BOB)
    mine = make_release(project.root, dirty=False)
    assert replaced(project.release, ADA, root=project.root, parts=mine.parts) is None
    project.write(**{"data/table.csv": "2"})
    mine = make_release(project.root, dirty=False)
    concern = replaced(project.release, ADA, root=project.root, parts=mine.parts)
    assert concern is not None
    assert (
        "This checkout does not contain its data files (data/): after a push, new sweeps run without them." in concern
    )
    assert replaced(project.release, BOB, root=project.root, parts=mine.parts) is None


def test_what_runs_there_what_is_here_and_what_differs_is_said(project: Project) -> None:
    old = project.release
    new = project.commit(**{"trial/fit.py": "# changed\n", "README.md": "more"})
    found = difference(project.fleet, load(project.root / "trial/grid.yaml"), old)
    assert found is not None
    assert found.lines == [
        f"The release on stack dev is {old.commit[:10]}, {since(old)}.",
        f"This checkout is {new[:10]}. Files of the target that differ: trial/fit.py. Others that differ: README.md.",
    ]
    assert since(old).endswith("by Ada <ada@example.org> (assumed-role/Dev/ada)")
    assert replace(found, target=()).lines[1].endswith("1 file differs, none of the target's: README.md.")


# What a sweep does about it


class Asked:
    """The head and the person at the terminal, as the commands meet them."""

    def __init__(self, project: Project, monkeypatch: pytest.MonkeyPatch, *, me: Pusher = ADA) -> None:
        self.project, self.me = project, me
        self.said: list[str] = []
        self.pushed: list[str] = []
        monkeypatch.setattr("sweepfleet.fleet.code.agreed.push", self.push)
        monkeypatch.setattr("sweepfleet.fleet.code.agreed.pusher", lambda *_: self.me)
        monkeypatch.setattr(Fleet, "head", self.head)
        monkeypatch.setattr(Fleet, "require_head", lambda _: self.require_head())
        self.is_down = False

    def require_head(self) -> None:
        if self.is_down:
            raise DownError("taken down elsewhere")

    @contextmanager
    def head(self, **_: Any) -> Iterator[None]:
        yield None

    def push(self, _head: None, release: Any, *, by: Pusher, **_: Any) -> None:
        self.pushed.append(release.commit)
        self.project.push(by=by)

    def sweep(self, *, push: bool = False, as_pushed: bool = False) -> Pushed:
        checked = load(self.project.root / "trial/grid.yaml")
        found: Pushed = pushing.release_for(
            self.project.fleet, checked, push=push, as_pushed=as_pushed, patience_s=1, say=self.said.append
        )
        return found


@pytest.fixture
def asked(project: Project, monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(project, monkeypatch)


def answer(monkeypatch: pytest.MonkeyPatch, line: str) -> list[str]:
    """A person who types this; the questions."""
    questions: list[str] = []
    monkeypatch.setattr(asking, "can_ask", lambda: True)
    monkeypatch.setattr(asking, "agreed", lambda question: questions.append(question) or line == "y")
    return questions


def test_a_sweep_of_other_code_is_refused_where_nobody_can_be_asked(project: Project, asked: Asked) -> None:
    """With what differs, and both commands; each does what it says."""
    old = project.release
    new = project.commit(**{"trial/fit.py": "# changed\n"})
    with pytest.raises(UsageError) as refused:
        asked.sweep()
    said = str(refused.value)
    for part in (old.commit[:10], new[:10], "trial/fit.py", "inv sweep --push", "inv sweep --as-pushed"):
        assert part in said
    assert asked.sweep(as_pushed=True) == old
    assert asked.pushed == []
    assert asked.sweep(push=True).commit == new
    assert asked.pushed == [new]
    assert asked.sweep(push=True).commit == new
    assert asked.pushed == [new], "what is there already is not pushed again"


def test_at_a_terminal_a_sweep_of_other_code_asks(
    project: Project, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = project.commit(**{"trial/fit.py": "# changed\n"})
    questions = answer(monkeypatch, "n")
    with pytest.raises(Exit, match="Nothing was run") as no:
        asked.sweep()
    assert (no.value.code, asked.pushed) == (2, [])
    assert "Files of the target that differ: trial/fit.py." in questions[0]
    answer(monkeypatch, "y")
    assert asked.sweep().commit == new
    assert asked.pushed == [new]


def test_a_difference_that_is_not_the_targets_is_said_and_the_sweep_runs(project: Project, asked: Asked) -> None:
    old = project.release
    project.commit(**{"README.md": "more"})
    assert asked.sweep() == old
    assert "1 file differs, none of the target's: README.md." in asked.said[0]


def test_changed_files_are_not_pushed_by_a_sweep(project: Project, asked: Asked) -> None:
    project.write(**{"trial/fit.py": "# changed\n"})
    with pytest.raises(UsageError, match=r"trial/fit.py. Commit them, .* inv push --dirty"):
        asked.sweep(push=True)
    assert asked.pushed == []


def test_a_first_sweep_may_bring_its_code(project: Project, asked: Asked) -> None:
    project.s3.delete_object(Bucket=BUCKET, Key=BucketLayout().current)
    with pytest.raises(UsageError, match="The cluster has no code yet"):
        asked.sweep()
    assert asked.sweep(push=True).commit == project.git("rev-parse", "HEAD")


def test_a_stack_that_is_down_is_said_before_its_release_is_compared_or_named(project: Project, asked: Asked) -> None:
    """Its bucket has a release still: neither a push nor a sweep takes that for a cluster."""
    asked.is_down = True
    with pytest.raises(DownError):
        pushing.push_checkout(project.fleet, dirty=False, yes=False, patience_s=1, say=print)
    project.commit(**{"trial/fit.py": "# changed\n"})
    for words in ({}, {"push": True}):
        with pytest.raises(DownError):
            asked.sweep(**words)
    assert asked.pushed == []


# Whose release a push replaces


def test_a_push_that_takes_another_persons_newer_code_away_asks_first(
    project: Project, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = project.git("rev-parse", "HEAD")
    theirs = project.commit(**{"common/deep.py": "# theirs\n"})
    project.push(by=BOB)
    project.git("reset", "-q", "--hard", base)
    mine = project.commit(**{"trial/fit.py": "# mine\n"})
    push: Any = lambda **more: pushing.push_checkout(  # noqa: E731
        project.fleet, dirty=False, patience_s=1, say=print, **{"yes": False, **more}
    )
    with pytest.raises(UsageError) as refused:
        push()
    for part in (theirs[:10], "by Bob <bob@example.org> (assumed-role/Dev/bob)", "git pull", "inv push --yes"):
        assert part in str(refused.value)
    questions = answer(monkeypatch, "n")
    with pytest.raises(Exit, match="Nothing was pushed"):
        push()
    assert questions[0].startswith(str(refused.value)[:40])
    assert asked.pushed == []
    push(yes=True)
    assert asked.pushed == [mine]
    assert current_release(project.cloud, project.fleet.outputs).by == ADA  # type: ignore[union-attr]
    with pytest.raises(NothingToDo):
        push()
    assert [one.by for one in releases(project.cloud, project.fleet.outputs) if one.current] == [ADA]


def test_nobody_is_asked_about_code_of_ones_own_or_that_the_checkout_contains(project: Project) -> None:
    """What another shipped without committing is in no checkout; an older note does not say who it was."""
    base = project.release
    assert replaced(None, ADA, root=project.root) is None
    assert replaced(replace(base, by=BOB), ADA, root=project.root) is None
    assert replaced(replace(base, by=None), ADA, root=project.root) is None
    elsewhere = replace(base, commit="0123456789" * 4, by=BOB)
    assert replaced(replace(elsewhere, by=ADA), ADA, root=project.root) is None
    assert "its commit 0123456789" in str(replaced(elsewhere, ADA, root=project.root))
    shipped = replace(base, dirty=True, by=BOB)
    assert "which were not committed" in str(replaced(shipped, ADA, root=project.root))
    assert "did not record who" in str(replaced(replace(elsewhere, by=None), ADA, root=project.root))


def test_who_pushes_is_what_aws_and_git_say(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same person with another session is the same; two without a name in Git are told apart by their roles."""
    project.git("config", "user.name", "Ada")
    project.git("config", "user.email", "ada@example.org")
    me = pusher(project.cloud, project.root)
    assert me.git == "Ada <ada@example.org>"
    assert me.aws.startswith("arn:aws:")
    assert replace(me, aws="arn:aws:sts::1:assumed-role/Dev/botocore-session-1").is_same(me)
    assert not replace(me, git=BOB.git).is_same(me)
    pipeline = Pusher(aws="arn:aws:sts::1:assumed-role/deploy/run-1")
    assert str(pipeline) == "assumed-role/deploy/run-1"
    assert not pipeline.is_same(me)
    assert not Pusher().is_same(Pusher())
    monkeypatch.setenv("AWS_PROFILE", "not-there")
    assert pusher(project.cloud, project.root) == Pusher(git=me.git)
