"""The documentation as pages: the Markdown that GitHub shows, and an API reference from the docstrings.

All Markdown of the repository keeps its place, so that links stay as they are. Files and folders that pages link to
become pages, too: a file's text, a folder's list. Pictures and notebooks stay files.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

import sweepfleet

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / ".site"  # Git ignores it
NOT_PAGES = ("tests/",)  # whose Markdown is what tests compare with
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(#[^)\s]*)?(?=\))")
NAME = re.compile(r"^\| `sf\.(\w+)`", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
STYLE = ".md-grid { max-width: 80rem }\n"  # our lines of code are long
COPIED = {".ipynb", ".png"}  # as they are
LANGUAGES = {".py": "python", ".json": "json", ".yml": "yaml", ".yaml": "yaml"}


def build(folder: Path = SITE) -> Path:
    """Make the pages anew in a folder; returns the first. Raises CalledProcessError: a warning of the builder's."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = folder / "pages"
    stage(pages)
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    settings |= {"docs_dir": "pages", "site_dir": "html", "nav": navigation(pages)}
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(settings, sort_keys=False))
    subprocess.run([sys.executable, "-m", "zensical", "build", "--strict", "--clean"], cwd=folder, check=True)
    return folder / "html" / "index.html"


def stage(pages: Path) -> None:
    """Write every page's Markdown, and that of what it links to."""
    _write(pages / "pages.css", STYLE)
    for name in markdown():
        text = (ROOT / name).read_text()
        if name == "docs/api.md":
            text = with_reference(text)
        for link in set(links(text)):
            target = ((ROOT / name).parent / link).resolve()
            if target.suffix in COPIED:
                (pages / target.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(target, pages / target.relative_to(ROOT))
            elif target.suffix != ".md" and target.exists():
                _write(pages / page_of(target), text_of(target))
        _write(pages / name, with_links(ROOT / name, text))


def markdown() -> list[str]:
    """The names of the repository's Markdown files that are pages."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [name for name in listed.stdout.split("\0") if name and not name.startswith(NOT_PAGES)]


def links(text: str) -> list[str]:
    """What a page's links within the repository lead to, without their titles."""
    return [found[1] for found in LINK.finditer(FENCE.sub("", text))]


def with_reference(text: str) -> str:
    """The page of the public names, with what the docstring of each says."""
    linked = NAME.sub(lambda found: f"| [`sf.{found[1]}`](#sweepfleet.{found[1]})", text)
    return linked + "".join(f"\n::: sweepfleet.{name}\n{_options(name)}" for name in NAME.findall(text))


def _options(name: str) -> str:
    """Of a class that users make, the arguments of its constructor are shown, too."""
    made = "Args:" in (getattr(getattr(sweepfleet, name).__init__, "__doc__", None) or "")
    return "    options:\n      merge_init_into_class: true\n" if made else ""


def page_of(target: Path) -> Path:
    """The page of a file or folder that is no Markdown; hidden ones have one, too."""
    parts = [part.lstrip(".") for part in target.relative_to(ROOT).parts]
    return Path(*parts, "README.md") if target.is_dir() else Path(*parts[:-1], f"{parts[-1]}.md")


def text_of(target: Path) -> str:
    """The Markdown of that page."""
    name = target.relative_to(ROOT)
    if target.is_file():
        return f"# {name}\n\n````{LANGUAGES.get(target.suffix, 'text')}\n{target.read_text()}\n````\n"
    rows = []
    for file in sorted(target.iterdir()):
        if file.suffix == ".md":
            rows.append(f"- [{title(file.read_text())}]({file.name})\n")
        elif file.is_file():
            rows.append(f"- `{file.name}`\n")
    return f"# {'Decisions' if name.name == 'decisions' else name}\n\n{''.join(rows)}"


def title(text: str) -> str:
    """A page's title."""
    return text.partition("\n")[0].removeprefix("# ")


def with_links(page: Path, text: str) -> str:
    """A page's text, whose links lead to what has become a page."""
    return LINK.sub(lambda found: _link(page, found[1]) + (found[2] or ""), text)


def _link(page: Path, link: str) -> str:
    """The link, where it leads to what has become a page."""
    target = (page.parent / link).resolve()
    if target.suffix in {".md", *COPIED} or not target.exists():
        return link
    up = "../" * len(page.parent.relative_to(ROOT).parts)
    return f"{up}{page_of(target)}"


def navigation(pages: Path) -> list[dict[str, Any]]:
    """The site's navigation: the tables of docs/README.md, in their order."""
    found: list[dict[str, Any]] = [{"sweepfleet": "README.md"}, {"Documentation": "docs/README.md"}]
    for line in (pages / "docs" / "README.md").read_text().splitlines():
        if group := re.match(r"\| (You [^|]*) \| \|$", line):
            found.append({group[1]: []})
        elif row := re.match(r"\| \[(.*?)\]\((.*?)\) \|", line):
            name, page = row.groups()
            file = (pages / "docs" / page).resolve().relative_to(pages.resolve())
            here: list[Any] = next(iter(found[-1].values()))
            if name == "Decisions":
                others = sorted(each.name for each in (pages / file).parent.glob("[0-9]*.md"))
                here.append({name: [str(file), *(str(file.parent / each) for each in others)]})
            else:
                here.append({name: str(file)})
    return [*found, {"Changelog": "CHANGELOG.md"}]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    print(build())
