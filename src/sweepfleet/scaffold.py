"""The files of a project of one's own: what `sweepfleet init` writes, and whether they are there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# The wheel has them in `template/`. In a checkout they are the repository's own: it is such a project itself.
_PACKAGE = Path(__file__).parent
_TEMPLATE = _PACKAGE / "template" if (_PACKAGE / "template").is_dir() else _PACKAGE.parents[1]
PLAIN = ("sweeps/hello/grid.yaml", "sweeps/hello/fit.py")
CLUSTER = ("Pulumi.yaml", "infra/__main__.py", "worker/README.md")
ACCOUNT = ("account/Pulumi.yaml", "account/__main__.py", ".pulumi.version")  # what a pipeline needs of an AWS account
_WORKFLOWS = ("pull-request", "deploy", "results", "nightly")
PIPELINES = {  # by forge: files of a project, with the template of each
    "github": {
        name: name for name in (*(f".github/workflows/{one}.yml" for one in _WORKFLOWS), ".github/dependabot.yml")
    },
    "gitlab": {".gitlab-ci.yml": "docs/examples/gitlab-ci.yml"},
}
IGNORED = ("/runs/", ".sweepfleet/")  # lines of .gitignore
TASKS = '''"""`inv --list`: sweepfleet's tasks, and your own."""

from sweepfleet.tasks import ns
'''
PYPROJECT = """[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["sweepfleet{extra}"]

[tool.sweepfleet]
"""
TASKS_LINE = "from sweepfleet.tasks import ns"
OUR_TASKS = re.compile(r"^\s*(?:from|import) sweepfleet\b", re.MULTILINE)  # whatever they are called there


@dataclass(frozen=True, slots=True)
class File:
    """One file of a project, as it is to be and as it is."""

    name: str
    state: Literal["new", "as written", "changed", "to be extended", "without our tasks"]
    content: bytes = b""  # to be written, or to be added at its end

    @property
    def is_written(self) -> bool:
        """Whether `write` does something to it."""
        return self.state in ("new", "to be extended")


def template(name: str, *, forge: str = "") -> bytes:
    """A file as `init` writes it; of a pipeline's, by its forge."""
    return (_TEMPLATE / PIPELINES.get(forge, {}).get(name, name)).read_bytes()


def files(root: Path, *, cluster: bool, pipeline: str = "") -> list[File]:
    """What a project at `root` has of what it is to have; reads only.

    Args:
        root: the project's.
        cluster: whether it is to have a cluster.
        pipeline: the forge where clusters and sweeps come by pull request; empty for none.
    """
    return list(_files(root, cluster=cluster, pipeline=pipeline))


def _files(root: Path, *, cluster: bool, pipeline: str) -> Iterator[File]:
    names = PLAIN + (CLUSTER if cluster else ()) + (ACCOUNT if pipeline else ())
    for name in (*names, *PIPELINES.get(pipeline, ())):
        yield _file(root, name, template(name, forge=pipeline))
    if cluster:
        yield _tasks(root)
    yield _pyproject(root, cluster=cluster)
    yield _ignored(root)


def _file(root: Path, name: str, content: bytes) -> File:
    path = root / name
    if not path.exists():
        return File(name, "new", content)
    return File(name, "as written" if path.read_bytes() == content else "changed")


def _tasks(root: Path) -> File:
    found = _file(root, "tasks.py", TASKS.encode())
    if found.state == "changed" and not OUR_TASKS.search((root / "tasks.py").read_text(errors="replace")):
        return File(found.name, "without our tasks")
    return found


def _pyproject(root: Path, *, cluster: bool) -> File:
    """Where it is, it is the user's; where it is not, it says that here is a project."""
    if (root / "pyproject.toml").exists():
        return File("pyproject.toml", "as written")
    name = re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-") or "sweeps"
    return File("pyproject.toml", "new", PYPROJECT.format(name=name, extra="[cluster]" if cluster else "").encode())


def _ignored(root: Path) -> File:
    path = root / ".gitignore"
    text = path.read_text(errors="replace") if path.exists() else ""
    there = {line.strip().strip("/") for line in text.splitlines()}
    missing = [line for line in IGNORED if line.strip("/") not in there]
    if not missing:
        return File(path.name, "as written")
    begin = "\n" if text and not text.endswith("\n") else ""
    added = (begin + "".join(f"{line}\n" for line in missing)).encode()
    return File(path.name, "to be extended" if text else "new", added)


def write(root: Path, found: Sequence[File]) -> None:
    """Write what is new, and extend what is to be; nothing that is there is overwritten.

    Raises:
        OSError: a file cannot be written, or has come into being since it was looked at.
    """
    for one in found:
        if one.is_written:
            path = root / one.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb" if one.state == "new" else "ab") as file:
                file.write(one.content)
