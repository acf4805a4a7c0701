"""The pages that newcomers read first are true: the tutorial runs as it is written, and links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.alike import alike
from tests.command import DEADLINE_S, ROOT

TUTORIAL = ROOT / "docs" / "first-sweep.md"
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("[a-z]*/README.md")})

PROJECT = '[project]\nname = "own"\nversion = "1"\ndependencies = ["sweepfleet"]\n'
COMMAND = re.compile(r"^\$ uv run sweepfleet (.*)\n((?:(?!\$ ).*\n)*)", flags=re.MULTILINE)  # and what it prints


def test_the_tutorial_runs_as_it_is_written(tmp_path: Path) -> None:
    """Its files are written, its commands given, its edits made, in their order; `...` stands for any lines."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    given = 0
    for language, text in blocks(TUTORIAL.read_text()):
        if language == "console":
            for command, page in COMMAND.findall(text):
                said = run(command, tmp_path)
                meant = re.escape(alike(page)).replace(re.escape("..."), "(?s:.*)")
                assert re.fullmatch(meant, alike(said)), f"{command}\nThe page has:\n{page}\nPrinted was:\n{said}"
                given += 1
        elif language == "diff":
            change(text, tmp_path)
        else:
            first, _, rest = text.partition("\n")
            path = tmp_path / first.removeprefix("# ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(rest)
    assert given > 8


def blocks(page: str) -> list[tuple[str, str]]:
    """The page's blocks that have a language, and that language."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


def run(command: str, project: Path) -> str:
    """What a command prints, given as its reader gives it; without the lines of its progress."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("INVOKE_")}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sweepfleet", *shlex.split(command)],
        cwd=project,
        env=kept | {"UV_RUN_RECURSION_DEPTH": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return re.sub(r"^[\d,]+ of [\d,]+ · .*\n", "", done.stdout, flags=re.MULTILINE)


def change(diff: str, project: Path) -> None:
    """Make a change that the page shows: a file's name, lines that go, lines that come."""
    head, *lines = diff.splitlines()
    path = project / head.removeprefix("--- ")
    old, new = ("".join(f"{line[1:]}\n" for line in lines if line.startswith(sign)) for sign in "-+")
    before = path.read_text()
    assert before.count(old) == 1, diff
    path.write_text(before.replace(old, new))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_and_a_title_that_are_there(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        name, _, title = link.partition("#")
        target = (page.parent / name) if name else page
        assert target.exists(), link
        if title:
            assert title in titles(target.read_text()), link


def titles(page: str) -> set[str]:
    """The names that a page's titles have in links."""
    found = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}
