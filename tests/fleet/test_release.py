"""Releases: what Git tracks at a commit, no more and no less, in an archive that is named by its content."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

import sweepfleet
from sweepfleet.fleet.code.release import NOTE, Release, make_release
from sweepfleet.grid.errors import UsageError
from sweepfleet.machine.facts import CODE
from tests.locks import PROJECT


def git(root: Path, *words: str) -> str:
    """A git command as somebody, with none of this machine's configuration."""
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "protocol.file.allow=always"]
    nobody = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(
        ["git", "-C", root, *who, *words], capture_output=True, text=True, check=True, env=os.environ | nobody
    )
    return done.stdout.strip()


def repository(root: Path, **files: str) -> Path:
    """A repository with these files, and a uv.lock, committed."""
    root.mkdir(parents=True, exist_ok=True)
    git(root, "init", "-q", "-b", "main")
    for name, text in {**PROJECT, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "First")
    return root


def members(release: Release) -> dict[str, tarfile.TarInfo]:
    """What is in it, by name."""
    with tarfile.open(fileobj=io.BytesIO(release.data)) as archive:
        return {one.name: one for one in archive.getmembers()}


def project_files(release: Release) -> set[str]:
    """What is in it of the project, and its note."""
    return {name for name in members(release) if not name.startswith((f"{CODE}/", ".sweepfleet/environment/"))}


def text_of(release: Release, name: str) -> str:
    """A file in it."""
    with tarfile.open(fileobj=io.BytesIO(release.data)) as archive:
        file = archive.extractfile(name)
        assert file is not None
        return file.read().decode()


def test_it_has_what_git_tracks_and_says_where_it_comes_from(tmp_path: Path) -> None:
    root = repository(tmp_path, **{"fit.py": "1\n", "a b/ä\n.txt": "2\n", ".hidden": "3\n"})
    (root / "untracked.txt").write_text("not this")
    release = make_release(root, dirty=False)
    assert project_files(release) == {*PROJECT, "fit.py", "a b/ä\n.txt", ".hidden", NOTE}
    note = json.loads(text_of(release, NOTE))
    assert (note["commit"], note["dirty"]) == (git(root, "rev-parse", "HEAD"), False)
    assert release.sha256 == hashlib.sha256(release.data).hexdigest()


def test_it_has_this_package_whole(tmp_path: Path) -> None:
    """Machines run the code of whoever made the release, whatever version is among what they install."""
    release = make_release(repository(tmp_path), dirty=False)
    package = Path(sweepfleet.__file__).parent
    expected = {
        f"{CODE}/sweepfleet/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in members(release) if name.startswith(f"{CODE}/")} == expected
    assert f"{CODE}/sweepfleet/machine/units/sweepfleet-run@.service" in expected
    assert text_of(release, f"{CODE}/sweepfleet/slot/child.py") == (package / "slot" / "child.py").read_text()


def test_the_same_commit_makes_the_same_archive_wherever_and_whenever_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = repository(tmp_path / "here", **{"fit.py": "1\n", "run.sh": "2\n"})
    git(tmp_path, "clone", "-q", str(here), "there")
    there = tmp_path / "there"
    os.utime(there / "fit.py", (1, 1))
    (there / "fit.py").chmod(0o600)  # what Git does not record
    first = make_release(here, dirty=False)
    monkeypatch.setattr(time, "time", lambda: 1e9)
    assert make_release(there, dirty=False) == first


def test_links_and_programs_stay_what_they_are(tmp_path: Path) -> None:
    root = repository(tmp_path, **{"run.sh": "#!/bin/sh\n"})
    (root / "run.sh").chmod(0o755)
    (root / "link").symlink_to("run.sh")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "A link")
    found = members(make_release(root, dirty=False))
    assert found["run.sh"].mode == 0o755
    assert found["uv.lock"].mode == 0o644
    assert found["link"].issym()
    assert found["link"].linkname == "run.sh"
    assert {one.uid for one in found.values()} == {0}


def test_changed_files_are_refused_by_name(tmp_path: Path) -> None:
    root = repository(tmp_path, **{"fit ä.py": "1\n", "old.py": "2\n", "gone.py": "3\n"})
    (root / "fit ä.py").write_text("2\n")
    git(root, "mv", "old.py", "new.py")
    (root / "gone.py").unlink()
    with pytest.raises(UsageError, match=r"not committed: fit ä\.py, gone\.py, new\.py, old\.py\. Commit"):
        make_release(root, dirty=False)


def test_many_changed_files_are_counted(tmp_path: Path) -> None:
    root = repository(tmp_path, **{f"{number:02}.py": "1\n" for number in range(11)})
    for file in root.glob("*.py"):
        file.write_text("2\n")
    with pytest.raises(UsageError, match=r"07\.py, and 3 more\."):
        make_release(root, dirty=False)


def test_they_ship_as_they_are_when_said_and_the_release_says_so(tmp_path: Path) -> None:
    root = repository(tmp_path, **{"fit.py": "1\n", "gone.py": "3\n"})
    clean = make_release(root, dirty=True)
    assert not clean.dirty
    (root / "fit.py").write_text("2\n")
    (root / "gone.py").unlink()
    release = make_release(root, dirty=True)
    assert release.dirty
    assert release.label.endswith(" with changes")
    assert text_of(release, "fit.py") == "2\n"
    assert "gone.py" not in members(release)
    assert json.loads(text_of(release, NOTE))["dirty"] is True
    assert release.sha256 != clean.sha256


def test_a_project_in_a_folder_of_a_larger_repository_is_that_folder(tmp_path: Path) -> None:
    """What changes elsewhere in the repository is none of its business."""
    repository(
        tmp_path,
        **{f"project/{name}": text for name, text in {**PROJECT, "fit.py": "1\n"}.items()},
        **{"other.py": "1\n"},
    )
    (tmp_path / "other.py").write_text("2\n")
    release = make_release(tmp_path / "project", dirty=False)
    assert project_files(release) == {*PROJECT, "fit.py", NOTE}


def test_a_submodules_files_come_along(tmp_path: Path) -> None:
    library = repository(tmp_path / "library", **{"model.py": "1\n"})
    root = repository(tmp_path / "project")
    git(root, "submodule", "--quiet", "add", str(library), "models")
    git(root, "commit", "-q", "-m", "A library")
    assert {"models/model.py", ".gitmodules"} <= set(members(make_release(root, dirty=False)))
    (root / "models" / "model.py").write_text("2\n")
    with pytest.raises(UsageError, match="Changed and not committed: models"):
        make_release(root, dirty=False)


def test_without_a_lock_there_is_nothing_to_install_from(tmp_path: Path) -> None:
    root = repository(tmp_path)
    git(root, "rm", "-q", "uv.lock")
    git(root, "commit", "-q", "-m", "No lock")
    (root / "uv.lock").write_text("not tracked")
    with pytest.raises(UsageError, match=r"Git has no uv\.lock.*uv lock && git add uv.lock"):
        make_release(root, dirty=False)


@pytest.mark.parametrize("empty", [True, False])
def test_without_a_commit_there_is_nothing_to_ship(tmp_path: Path, *, empty: bool) -> None:
    if empty:
        git(tmp_path, "init", "-q")
    with pytest.raises(UsageError, match="is not a Git repository with a commit"):
        make_release(tmp_path, dirty=False)
