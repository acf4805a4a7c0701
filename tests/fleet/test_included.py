"""Data files that Git does not track: which ones travel, what is refused, and that they come as they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sweepfleet.fleet.code import included
from sweepfleet.fleet.code.included import pack
from sweepfleet.fleet.code.release import NOTE, Release, make_release
from sweepfleet.grid.errors import UsageError
from sweepfleet.machine.data_files import LIST, Part, from_json
from tests.fleet.test_release import git, members, project_files, repository, text_of
from tests.locks import SETTINGS


def project(root: Path, settings: str, **files: str) -> Path:
    """A repository with settings, and with files that Git ignores."""
    repository(
        root, **{"pyproject.toml": f"{SETTINGS}\n[tool.sweepfleet]\n{settings}\n", ".gitignore": "data/\n*.bin\n"}
    )
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def commit(root: Path, **files: str) -> None:
    for name, text in files.items():
        (root / name).write_text(text)
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "More")


def names(release: Release) -> dict[str, list[str]]:
    return {part.entry: sorted([*part.files, *part.links]) for part in release.parts}


DATA = {"data/a.csv": "1\n", "data/deep/b ä.csv": "22\n", "models/m.bin": "333", "models/m.txt": "4"}


def test_what_is_included_travels_beside_the_code_ignored_or_not(tmp_path: Path) -> None:
    """A part for each entry, which the release lists; the archive of the code has none of it."""
    root = project(tmp_path, 'include = ["data/", "models/*.bin"]', **DATA)
    release = make_release(root, dirty=False)
    assert names(release) == {"data/": ["data/a.csv", "data/deep/b ä.csv"], "models/*.bin": ["models/m.bin"]}
    assert [part.size for part in release.parts] == [5, 3]
    assert project_files(release) == {"uv.lock", "pyproject.toml", ".gitignore", NOTE, LIST.as_posix()}
    assert from_json(text_of(release, LIST.as_posix())) == release.parts
    assert set(json.loads(text_of(release, NOTE))["data"]) == {"data/", "models/*.bin"}


def test_what_git_tracks_is_the_codes_and_what_two_entries_name_travels_once(tmp_path: Path) -> None:
    root = project(tmp_path, 'include = ["models", "models/*.bin", "models/"]', **DATA)
    commit(root)
    release = make_release(root, dirty=False)
    assert names(release) == {"models": ["models/m.bin"]}
    assert "models/m.txt" in members(release)


def test_without_settings_nothing_but_what_git_tracks_travels(tmp_path: Path) -> None:
    root = project(tmp_path, "", **DATA)
    release = make_release(root, dirty=False)
    assert release.parts == ()
    assert LIST.as_posix() not in members(release)
    assert "data" not in json.loads(text_of(release, NOTE))


def test_the_data_are_part_of_what_a_release_is(tmp_path: Path) -> None:
    """Another content is another release and another part; a commit is another release with the same part."""
    root = project(tmp_path, 'include = ["data/"]', **DATA)
    first = make_release(root, dirty=False)
    os.utime(root / "data" / "a.csv", (1, 1))
    assert make_release(root, dirty=False) == first
    commit(root, **{"fit.py": "1\n"})
    second = make_release(root, dirty=False)
    assert second.sha256 != first.sha256
    assert [part.id for part in second.parts] == [part.id for part in first.parts]
    (root / "data" / "a.csv").write_text("2\n")
    third = make_release(root, dirty=False)
    assert not third.dirty
    assert third.sha256 != second.sha256
    assert [part.id for part in third.parts] != [part.id for part in second.parts]


def test_links_between_files_that_travel_stay_links(tmp_path: Path) -> None:
    root = project(tmp_path, 'include = ["data/"]', **DATA)
    (root / "data" / "latest.csv").symlink_to("deep/b ä.csv")
    (root / "data" / "lock").symlink_to("../uv.lock")
    (root / "data" / "all").symlink_to("deep")
    (part,) = make_release(root, dirty=False).parts
    assert part.links == {"data/latest.csv": "deep/b ä.csv", "data/lock": "../uv.lock", "data/all": "deep"}


def test_all_that_cannot_travel_is_said_at_once(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.csv").write_text("1")
    entries = ["gone/", "none/*.bin", "/etc/hosts", "../outside", "away", ".git", "data", "empty"]
    root = project(tmp_path / "project", f"include = {json.dumps(entries)}", **DATA)
    (root / "empty").mkdir()
    (root / "away").symlink_to(outside)
    (root / "data" / "far").symlink_to(outside / "x.csv")
    (root / "data" / "untracked").symlink_to("../models/m.txt")
    (root / "data" / "own").symlink_to(root / "data" / "a.csv")
    os.mkfifo(root / "data" / "pipe")
    with pytest.raises(UsageError) as error:
        make_release(root, dirty=False)
    said = str(error.value).splitlines()
    assert said[0] == "pyproject.toml, [tool.sweepfleet] include cannot be used; nothing was sent."
    assert said[-1].startswith("Correct `include` in pyproject.toml")
    assert sorted(line.strip() for line in said[1:-1]) == sorted(
        [
            f"gone/: does not exist in {root}.",
            f"none/*.bin: matches no file in {root}.",
            "/etc/hosts: is outside the project. Copy the files into it.",
            "../outside: is outside the project. Copy the files into it.",
            f"away: is a link to {outside}. Put the folder itself in its place.",
            ".git: is never sent.",
            f"data/far: is a link to {outside}/x.csv, which does not travel. Put the file itself in its place.",
            "data/untracked: is a link to ../models/m.txt, which does not travel. Put the file itself in its place.",
            f"data/own: is a link to {root}/data/a.csv, which does not travel. Put the file itself in its place.",
            "data/pipe: is not a file.",
            f"empty: has no files in {root}.",
        ]
    )


def test_a_folder_of_everything_brings_neither_gits_own_nor_ours(tmp_path: Path) -> None:
    root = project(tmp_path, 'include = ["."]', **DATA, **{".sweepfleet/dev/outputs.json": "{}"})
    assert names(make_release(root, dirty=False)) == {".": sorted(DATA)}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('include = "data/"', r"include is 'data/'\. It is a list of paths and patterns"),
        ("include = [1]", r"include is \[1\]\. It is a list"),
        ('include = [""]', r"include is \[''\]\. It is a list"),
        ("max_mb = 0", r"max_mb is 0\. It is a number of megabytes above 0, e\.g\. 500\."),
        ("max_mb = true", r"max_mb is True"),
        ('inclde = ["data/"]', r"inclde: nothing reads it\. Did you mean `include`\?"),
        ("include = [", r"pyproject\.toml cannot be read: Invalid value"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(tmp_path: Path, settings: str, said: str) -> None:
    root = project(tmp_path, settings, **DATA)
    with pytest.raises(UsageError, match=said):
        make_release(root, dirty=False)


def test_what_is_too_large_for_every_worker_is_refused_with_the_largest(tmp_path: Path) -> None:
    """Tracked files count, too."""
    root = project(tmp_path, 'include = ["data/"]\nmax_mb = 0.01', **DATA)
    make_release(root, dirty=False)
    (root / "data" / "large.csv").write_text("x" * 9_000)
    commit(root, **{"tracked.csv": "y" * 2_000})
    with pytest.raises(UsageError) as error:
        make_release(root, dirty=False)
    said = str(error.value)
    assert "and the limit is 0.01 MB. Nothing was sent." in said
    assert "0.0 MB  data/large.csv\n  0.0 MB  tracked.csv\n" in said
    assert "max_mb = 2" in said


def test_a_file_that_changes_while_it_is_packed_is_no_release(tmp_path: Path) -> None:
    root = project(tmp_path, 'include = ["data/"]', **DATA)
    (part,) = make_release(root, dirty=False).parts
    for text in ("2\n", ""):
        (root / "data" / "a.csv").write_text(text)
        with pytest.raises(UsageError, match=r"data/a\.csv was changed while it was packed"):
            pack(part, root, tmp_path / "archive")


def test_the_same_files_make_the_same_archive(tmp_path: Path) -> None:
    part: Part
    (part,) = make_release(project(tmp_path, 'include = ["data/"]', **DATA), dirty=False).parts
    first = pack(part, tmp_path, tmp_path / "one")
    os.utime(tmp_path / "data" / "a.csv", (1, 1))
    assert pack(part, tmp_path, tmp_path / "other") == first
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_the_default_limit_is_said_where_it_is() -> None:
    docs = Path(__file__).parents[2] / "docs" / "cluster.md"
    assert f"max_mb = {included.MOST_MB}" in docs.read_text()
