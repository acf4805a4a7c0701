"""A project's environment, from its files to an installed one: declared, carried in a release, built as on a head.

Real uv, and packages of a few kilobytes from the index that uv is configured for.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sweepfleet.fleet.code.environment import carry as carrying
from sweepfleet.fleet.code.environment import locked
from sweepfleet.fleet.code.environment.plan import POETRY, plan
from sweepfleet.fleet.code.release import make_release
from sweepfleet.grid.errors import UsageError
from sweepfleet.machine.environment.build import Builder, BuildError
from sweepfleet.machine.environment.note import NOTE, OWN, REQUIREMENTS, Environment, identity
from sweepfleet.machine.environment.requirements import entries
from sweepfleet.machine.facts import CODE
from sweepfleet.slot.own_packages import NAMES, SITE
from sweepfleet.slot.project_files import Names

BACKEND = '[build-system]\nrequires = ["uv_build>=0.9,<1"]\nbuild-backend = "uv_build"\n'
MODULE = "import six\n\ndef answer():\n    return six.__version__\n"
OWN_IN_RELEASE = CODE / "sweepfleet" / "machine" / "environment" / OWN.name


def settings(name: str = "acme", *needs: str, more: str = "", backend: str = BACKEND) -> str:
    """A pyproject.toml."""
    return (
        f'[project]\nname = "{name}"\nversion = "1.0"\nrequires-python = ">=3.11"\n'
        f"dependencies = {json.dumps(needs)}\n{backend}{more}"
    )


class Project:
    """A user's repository."""

    def __init__(self, root: Path, **files: str) -> None:
        self.root = root
        root.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        self.write(**files)

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        done = subprocess.run(["git", "-C", self.root, *who, *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)

    def uv(self, *words: str, folder: str = ".") -> None:
        uv("--quiet", *words, folder=self.root / folder)

    def release(self, folder: Path, *, member: str = ".", dirty: bool = False) -> Path:
        """Commit everything, and have the release unpacked as on a head."""
        if not dirty:
            self.git("add", "-A")
            self.git("commit", "-q", "--allow-empty", "-m", "More")
        made = make_release(self.root / member, dirty=dirty)
        place = folder / made.sha256
        with tarfile.open(fileobj=io.BytesIO(made.data)) as archive:
            archive.extractall(place, filter="tar")
        (place / OWN_IN_RELEASE).write_text("iniconfig>=2\n")  # in the place of some 40 packages, which take a minute
        return place


def uv(*words: str, folder: Path) -> str:
    inside = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(["uv", *words], cwd=folder, capture_output=True, text=True, check=False, env=inside)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Head:
    """A head's way of building, with this machine's Python and uv's own cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "work").mkdir()
        self.said: list[str] = []
        self.builder = Builder(
            uv=Path(str(shutil.which("uv"))),
            cache=Path(uv("cache", "dir", folder=folder).strip()),
            work=folder / "work",
            index=os.environ.get("UV_DEFAULT_INDEX", "https://pypi.org/simple"),
            python=sys.executable,
            say=self.said.append,
        )

    def build(self, release: Path, resolved: str = "") -> str:
        return self.builder.build(release, self.environment, resolved=resolved)

    @property
    def environment(self) -> Path:
        return self.folder / "environment"

    def python(self, release: Path, code: str) -> str:
        """What Python says in the environment, from a folder that is nobody's, as a run's child has it."""
        found = {"PYTHONPATH": str(release / SITE), "PATH": f"{release / SITE}/bin:{self.environment}/bin"}
        words = [self.environment / "bin" / "python", "-c", code]
        done = subprocess.run(words, cwd="/", env=found, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def installed(self) -> set[str]:
        return {
            path.name.partition("-")[0] for path in self.environment.glob("lib/python*/site-packages/*.dist-info")
        }


@pytest.fixture
def head(tmp_path: Path) -> Head:
    return Head(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A package in a src folder that needs one package of the index, and others for its developers."""
    groups = '[dependency-groups]\ndev = ["tomli"]\nplot = ["toolz"]\n'
    files = {"pyproject.toml": settings("acme", "six==1.16.0", more=groups), "src/acme/__init__.py": MODULE}
    return Project(tmp_path / "project", **files)


ANSWER = "import acme, iniconfig; print(acme.answer(), acme.__file__)"


def lock_with_uv(project: Project) -> None:
    project.uv("lock")


def lock_with_pylock(project: Project) -> None:
    project.uv("lock")
    project.uv("export", "--no-default-groups", "--format", "pylock.toml", "-o", "pylock.toml")
    (project.root / "uv.lock").unlink()


CONTENT_HASH = (
    "from pathlib import Path\nfrom poetry.factory import Factory\n"
    "print(Factory().create_poetry(Path.cwd()).locker._get_content_hash())"
)


def lock_with_poetry(project: Project) -> None:
    """As `poetry lock` writes it, which asks PyPI itself."""
    project.uv("lock")
    packages = tomllib.loads((project.root / "uv.lock").read_text())["package"]
    text = "# This file is automatically @generated by Poetry 2.5.1 and should not be changed by hand.\n"
    for one in (one for one in packages if "wheels" in one):
        files = ", ".join(f'{{file = "{Path(each["url"]).name}", hash = "{each["hash"]}"}}' for each in one["wheels"])
        group = {"six": "main", "tomli": "dev"}.get(one["name"], "plot")
        text += f'\n[[package]]\nname = "{one["name"]}"\nversion = "{one["version"]}"\ndescription = ""\n'
        text += f'optional = false\npython-versions = "*"\ngroups = ["{group}"]\nfiles = [{files}]\n'
    content = uv("tool", "run", "--from", POETRY[0], "python", "-c", CONTENT_HASH, folder=project.root).strip()
    about = f'lock-version = "2.1"\npython-versions = ">=3.11"\ncontent-hash = "{content}"\n'
    project.write(**{"poetry.lock": f"{text}\n[metadata]\n{about}"})
    (project.root / "uv.lock").unlink()


def write_requirements(project: Project) -> None:
    """What the project's own metadata requires need not be written twice, and sweepfleet comes by itself."""
    more = {"requirements/base.txt": "-e .\n", "requirements-dev.txt": "tomli\n"}
    project.write(**{"requirements.txt": "sweepfleet[cluster]  # beside it\n-r requirements/base.txt\n"}, **more)


@pytest.mark.parametrize("lock", [lock_with_uv, lock_with_pylock, lock_with_poetry, write_requirements])
def test_from_each_kind_of_lock_the_project_and_what_it_needs_are_installed(
    lock: object, project: Project, head: Head, tmp_path: Path
) -> None:
    """With what sweepfleet itself needs, whatever the project declares, and with nothing for its developers."""
    lock(project)  # type: ignore[operator]
    release = project.release(tmp_path)
    head.build(release)
    assert head.python(release, ANSWER) == f"1.16.0 {release / SITE}/acme/__init__.py"
    assert head.installed == {"six", "iniconfig"}
    assert head.python(release, "from importlib.metadata import version; print(version('acme'))") == "1.0"


def test_groups_and_extras_that_are_named_come_along(project: Project, head: Head, tmp_path: Path) -> None:
    more = '[project.optional-dependencies]\nfast = ["tomlkit"]\n[tool.sweepfleet]\ngroups = ["plot"]\n'
    text = (project.root / "pyproject.toml").read_text()
    project.write(**{"pyproject.toml": text + more + 'extras = ["fast"]\n'})
    lock_with_uv(project)
    head.build(project.release(tmp_path))
    assert head.installed == {"six", "iniconfig", "toolz", "tomlkit"}


def test_a_member_of_a_workspace_has_the_workspaces_lock_and_its_other_member(head: Head, tmp_path: Path) -> None:
    """And a wheel that lies in the repository, a package beside the repository, and a program of its own."""
    Project(tmp_path / "beside", **{"pyproject.toml": settings("beside"), "src/beside/__init__.py": ""})
    vendored = Project(
        tmp_path / "vendored", **{"pyproject.toml": settings("vendored"), "src/vendored/__init__.py": ""}
    )
    vendored.uv("build", "--wheel", "--out-dir", str(tmp_path / "built"))
    sources = (
        "[tool.uv.sources]\nlib = {workspace = true}\nbeside = {path = '../../beside'}\n"
        "vendored = {path = '../vendor/vendored-1.0-py3-none-any.whl'}\n[project.scripts]\nfit = 'app:fit'\n"
    )
    project = Project(
        tmp_path / "project",
        **{
            "pyproject.toml": "[tool.uv.workspace]\nmembers = ['app', 'lib']\n",
            "app/pyproject.toml": settings("app", "lib", "beside", "vendored", more=sources),
            "app/src/app/__init__.py": "import lib, beside, vendored\n\ndef fit():\n    print('fits', lib.six())\n",
            "lib/pyproject.toml": settings("lib", "six==1.16.0"),
            "lib/src/lib/__init__.py": "def six():\n    import six\n    return six.__version__\n",
            "vendor/.gitignore": "",
        },
    )
    shutil.copy(next((tmp_path / "built").glob("*.whl")), project.root / "vendor")
    project.uv("lock")
    beside = Project.__new__(Project)
    beside.root = tmp_path / "beside"
    beside.git("add", "-A")
    beside.git("commit", "-q", "-m", "Beside")
    release = project.release(tmp_path, member="app")
    head.build(release)
    assert head.python(release, "import os; os.system('fit')") == "fits 1.16.0"
    assert head.installed == {"six", "iniconfig", "vendored"}
    outside = json.loads((release / "release.json").read_text())["outside"]
    assert set(outside) == {"../lib", "../uv.lock", "../../beside"}
    project.write(**{"lib/src/lib/more.py": ""})
    project.git("add", "-A")
    with pytest.raises(UsageError, match=r"Changed and not committed: \.\./lib/src/lib/more\.py\. Commit"):
        make_release(project.root / "app", dirty=False)
    dirty = project.release(tmp_path, member="app", dirty=True)
    assert (dirty / SITE / "lib" / "more.py").exists()
    assert json.loads((dirty / "release.json").read_text())["outside"]["../lib"] != outside["../lib"]


def test_a_packages_files_have_the_names_that_they_have_on_a_laptop(project: Project, tmp_path: Path) -> None:
    """So a row's code is the same in both places."""
    lock_with_uv(project)
    release = project.release(tmp_path)
    assert json.loads((release / NAMES).read_text()) == {f"{SITE}/acme/__init__.py": "src/acme/__init__.py"}
    here, there = (Names(folder=str(root), root=str(root)) for root in (project.root, release))
    name = here.name_of_module(str(project.root / "src" / "acme" / "__init__.py"))
    assert name == there.name_of_module(str(release / SITE / "acme" / "__init__.py")) == "src/acme/__init__.py"


def test_a_package_is_built_from_what_is_committed_and_always_the_same(project: Project, tmp_path: Path) -> None:
    """An edit of the code changes the release, and not the environment."""
    lock_with_uv(project)
    first = project.release(tmp_path)
    project.write(**{"src/acme/untracked.py": ""})
    assert make_release(project.root, dirty=False).sha256 == first.name
    assert not (first / SITE / "acme" / "untracked.py").exists()
    project.write(**{"src/acme/__init__.py": MODULE + "# more\n"})
    second = project.release(tmp_path)
    assert second.name != first.name
    assert identity(second) == identity(first)


def test_what_was_resolved_once_is_installed_again(project: Project, head: Head, tmp_path: Path) -> None:
    """A release has one environment, whatever the index has by then."""
    project.write(**{"pyproject.toml": settings("acme", "six"), "requirements.txt": ""})
    release = project.release(tmp_path)
    before = head.build(release)
    assert "six==1.16.0" not in before
    shutil.rmtree(head.environment)
    hashed = uv("export", "--quiet", "--no-emit-project", "--no-default-groups", folder=six_1_16(tmp_path))
    again = "".join(line for line in before.splitlines(keepends=True) if "iniconfig" in line or "--hash" in line)
    assert "iniconfig" in again
    head.build(release, hashed)
    assert head.python(release, "import six; print(six.__version__)") == "1.16.0"


def six_1_16(tmp_path: Path) -> Path:
    """A project whose lock has it."""
    older = Project(tmp_path / "older", **{"pyproject.toml": settings("older", "six==1.16.0", backend="")})
    older.uv("lock")
    return older.root


@contextmanager
def private_index(folder: Path) -> Iterator[str]:
    """The address of an index with one package, for who has a password."""
    wheel = folder / "hidden-1.0-py3-none-any.whl"
    about = "Metadata-Version: 2.1\nName: hidden\nVersion: 1.0\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("hidden.py", "VALUE = 7\n")
        archive.writestr("hidden-1.0.dist-info/METADATA", about)
        archive.writestr(
            "hidden-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("hidden-1.0.dist-info/RECORD", "")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    pages = {
        "/simple/hidden/": f'<a href="/{wheel.name}#sha256={sha256}">{wheel.name}</a>'.encode(),
        f"/{wheel.name}": wheel.read_bytes(),
    }
    password = "Basic " + base64.b64encode(b"ada:open-sesame").decode()

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            let_in = self.headers.get("Authorization") == password
            page = pages.get(self.path)
            self.send_response(401 if not let_in else 404 if page is None else 200)
            if not let_in:
                self.send_header("WWW-Authenticate", "Basic")
            body = page if let_in and page else b""
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the name that http.server asks for

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple"
        finally:
            server.shutdown()


def test_a_private_index_is_read_with_the_password_and_nothing_else_has_it(head: Head, tmp_path: Path) -> None:
    with private_index(tmp_path) as index:
        more = f'[[tool.uv.index]]\nname = "ours"\nurl = "{index}"\n'
        files = {"pyproject.toml": settings("acme", backend="", more=more), "requirements.txt": "hidden==1.0\n"}
        release = Project(tmp_path / "project", **files).release(tmp_path)
        with pytest.raises(BuildError, match="hidden"):
            head.build(release)
        shutil.rmtree(head.environment, ignore_errors=True)
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login ada password open-sesame\n")
        head.builder = replace(head.builder, netrc=netrc)
        resolved = head.build(release)
    assert head.python(release, "import hidden; print(hidden.VALUE)") == "7"
    assert "open-sesame" not in "\n".join([resolved, *head.said])
    grep = subprocess.run(["grep", "-rl", "open-sesame", release, head.environment], capture_output=True, check=False)
    assert grep.stdout == b""


def test_a_conflict_with_what_sweepfleet_needs_names_both(head: Head, tmp_path: Path) -> None:
    project = Project(tmp_path / "project", **{"pyproject.toml": settings("acme", "iniconfig==1.1.1", backend="")})
    project.uv("lock")
    release = project.release(tmp_path)
    with pytest.raises(BuildError) as refused:
        head.build(release)
    said = " ".join(str(refused.value).split())
    assert "uv.lock and what sweepfleet itself needs on machines cannot be installed together" in said
    assert "iniconfig>=2" in said
    assert "iniconfig==1.1.1" in said
    assert "uv lock --upgrade-package NAME" in said


def test_a_package_that_both_need_is_the_file_that_the_lock_has(head: Head, tmp_path: Path) -> None:
    """The index's own word for its hash does not count."""
    project = Project(tmp_path / "project", **{"pyproject.toml": settings("acme", "iniconfig", backend="")})
    project.uv("lock")
    lock = (project.root / "uv.lock").read_text()
    project.write(**{"uv.lock": re.sub(r"sha256:\w{8}", "sha256:" + "0" * 8, lock)})
    release = project.release(tmp_path)
    with pytest.raises(BuildError, match=r"(?s)ash mismatch.*iniconfig"):
        head.build(release)


def test_a_dependency_in_git_is_fetched_at_its_commit(head: Head, tmp_path: Path) -> None:
    library = Project(tmp_path / "library", **{"pyproject.toml": settings("lib"), "src/lib/__init__.py": "x = 1\n"})
    library.git("add", "-A")
    library.git("commit", "-q", "-m", "First")
    need = f"lib @ git+file://{library.root}"
    project = Project(tmp_path / "project", **{"pyproject.toml": settings("acme", need, backend="")})
    project.uv("lock")
    library.write(**{"src/lib/__init__.py": "x = 2\n"})
    library.git("commit", "-aqm", "Second")
    release = project.release(tmp_path)
    head.build(release)
    assert head.python(release, "import lib; print(lib.x)") == "1"


def test_a_machines_python_that_the_project_does_not_allow_is_refused(
    project: Project, head: Head, tmp_path: Path
) -> None:
    lock_with_uv(project)
    release = project.release(tmp_path)
    note = replace(Environment.read(release), requires_python=">=3.99")
    (release / NOTE).write_text(note.to_json())
    with pytest.raises(BuildError, match=r"requires Python >=3\.99, and the machines have 3\."):
        head.build(release)


def test_a_package_with_compiled_parts_is_refused(tmp_path: Path) -> None:
    """A laptop's are not the workers', and those build nothing."""
    backend = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    hook = "[tool.hatch.build.hooks.custom]\n"
    build = (
        "from hatchling.builders.hooks.plugin.interface import BuildHookInterface\n"
        "class CustomBuildHook(BuildHookInterface):\n"
        "    def initialize(self, version, build_data):\n"
        "        build_data.update(pure_python=False, infer_tag=True)\n"
    )
    files = {"pyproject.toml": settings(more=hook, backend=backend), "acme/__init__.py": "", "hatch_build.py": build}
    project = Project(tmp_path / "project", **files)
    project.uv("lock")
    with pytest.raises(UsageError, match=r"has compiled parts: acme-1\.0-cp3.*Publish wheels for Linux"):
        project.release(tmp_path)


def test_a_lock_with_another_sweepfleet_is_refused(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines run the code that pushes."""
    library = Project(
        tmp_path / "sweepfleet", **{"pyproject.toml": settings("sweepfleet"), "src/sweepfleet/__init__.py": ""}
    )
    project.write(**{"pyproject.toml": settings("acme", f"sweepfleet @ file://{library.root}")})
    lock_with_uv(project)
    monkeypatch.setattr(carrying, "version", lambda: "0.9")
    with pytest.raises(
        UsageError, match=r"uv\.lock has sweepfleet 1\.0, and this command is sweepfleet 0\.9.*==0\.9"
    ):
        project.release(tmp_path)
    monkeypatch.setattr(carrying, "version", lambda: "1.0")
    release = project.release(tmp_path)
    assert "sweepfleet" not in (release / REQUIREMENTS).read_text()
    assert not (release / SITE / "sweepfleet").exists()


@pytest.mark.parametrize("name", ["uv.lock", "pylock.toml", "poetry.lock"])
def test_a_lock_that_cannot_be_read_is_refused(name: str, tmp_path: Path) -> None:
    project = Project(tmp_path / "project", **{"pyproject.toml": settings(), name: "this is no lock [\n"})
    with pytest.raises(UsageError, match=rf"{name} cannot be read"):
        project.release(tmp_path)


def test_what_only_the_operators_tools_need_stays_away_and_the_lock_says_the_versions(
    project: Project, head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sweepfleet is a dependency, with its extra for a laptop."""
    tools = '[project.optional-dependencies]\ncluster = ["toolz"]\n'
    files = {
        "pyproject.toml": settings("sweepfleet", "iniconfig==2.0.0", more=tools),
        "src/sweepfleet/__init__.py": "",
    }
    library = Project(tmp_path / "sweepfleet", **files)
    project.write(**{"pyproject.toml": settings("acme", "six", f"sweepfleet[cluster] @ file://{library.root}")})
    lock_with_uv(project)
    monkeypatch.setattr(carrying, "version", lambda: "1.0")
    resolved = head.build(project.release(tmp_path))
    assert head.installed == {"six", "iniconfig"}
    assert "iniconfig==2.0.0" in resolved


# The plan alone


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("uv.lock", "pylock.toml", "poetry.lock", "requirements.txt"), ("uv", ("uv.lock",))),
        (("pylock.toml", "poetry.lock", "requirements.txt"), ("pylock", ("pylock.toml",))),
        (("poetry.lock", "requirements.txt"), ("poetry", ("poetry.lock",))),
        (("requirements.txt", "requirements-dev.txt"), ("requirements", ("requirements.txt",))),
        (("requirements-prod.txt", "requirements-dev.txt"), ("requirements", ("requirements-prod.txt",))),
    ],
)
def test_the_first_kind_of_lock_counts(files: tuple[str, ...], expected: tuple[str, tuple[str, ...]]) -> None:
    found = plan(files, dict.fromkeys(files, "").__getitem__)
    assert (found.kind, found.files) == expected


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, ["Git has no uv.lock, pylock.toml, poetry.lock or requirements.txt", "uv lock && git add uv.lock"]),
        ({"requirements-dev.txt": ""}, ["uv lock && git add uv.lock"]),
        (
            {"requirements-cpu.txt": "", "requirements-gpu.txt": ""},
            ["requirements-cpu.txt and requirements-gpu.txt: which one", 'groups = ["cpu"]'],
        ),
        (
            {"uv.lock": "", "pyproject.toml": "[tool.sweepfleet]\ngroups = ['x']\nextras = 'y'\n"},
            ["groups: the project has no x. It has: none.", "extras: 'y' is not a list of names"],
        ),
        (
            {"requirements.txt": "", "pyproject.toml": "[tool.sweepfleet]\ngroups = ['gpu']\n"},
            ["groups: Git has no requirements-gpu.txt."],
        ),
        (
            {"pylock.toml": "", "pyproject.toml": "[tool.sweepfleet]\ngroups = ['x']\n"},
            ["Choose them as you write it"],
        ),
        (
            {"uv.lock": "", "pyproject.toml": "[[tool.uv.index]]\nurl = 'https://me:secret@example.org/simple'\n"},
            ["example.org has a user name or password in its address"],
        ),
        ({"uv.lock": "", "pyproject.toml": "[tool\n"}, ["pyproject.toml cannot be read"]),
    ],
)
def test_what_cannot_be_used_is_said_at_once_with_its_fix(files: Mapping[str, str], said: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        plan(files, files.__getitem__)
    for words in said:
        assert words in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "line",
    [
        "--extra-index-url https://ada:open-sesame@pypi.example.org/simple",
        "-i https://token@pypi.example.org/simple",
        "lib @ git+https://ada:open-sesame@pypi.example.org/lib.git",
        "lib @ https://ada@pypi.example.org/lib-1.0.tar.gz",
    ],
)
def test_a_password_in_an_address_does_not_travel(line: str, tmp_path: Path) -> None:
    project = Project(
        tmp_path / "project", **{"pyproject.toml": settings(backend=""), "requirements.txt": f"{line}\n"}
    )
    with pytest.raises(UsageError, match=r"in the address of pypi\.example\.org, which would travel") as refused:
        project.release(tmp_path)
    assert "sesame" not in str(refused.value)


def test_a_user_of_git_by_ssh_is_no_password() -> None:
    locked._refuse_passwords(entries("lib @ git+ssh://git@example.org/lib.git\nsix==1.16.0\n"), source="uv.lock")
