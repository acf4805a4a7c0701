"""Reads requirements files: https://pip.pypa.io/en/stable/reference/requirements-file-format/. Pure; stdlib only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

NAME = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^]]*\])?\s*(.*)", re.DOTALL)
HASH = re.compile(r"\s--hash[= ]\S+")
COMMENT = re.compile(r"(^|\s)#.*$")
OPTIONS = ("-r", "--requirement", "-c", "--constraint", "-e", "--editable")
ARCHIVES = (".whl", ".tar.gz", ".zip")


def normalized(name: str) -> str:
    """A package's name as an index spells it: https://peps.python.org/pep-0503/#normalized-names."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True, slots=True)
class Entry:
    """One requirement or option, its continued lines joined."""

    text: str  # without hashes and comments
    hashes: tuple[str, ...] = ()  # as --hash=sha256:...

    @property
    def option(self) -> tuple[str, str] | None:
        """An option and its value, such as -r and a file; None for a requirement."""
        if not self.text.startswith("-"):
            return None
        name, value = re.fullmatch(r"(-\w|--[\w-]+)[\s=]*(.*)", self.text).groups()  # type: ignore[union-attr]
        return name, value

    @property
    def local(self) -> Path | None:
        """The path of a package here: a folder or an archive; None for one from elsewhere."""
        text = self.text
        if self.option:
            if self.option[0] not in ("-e", "--editable"):
                return None
            text = self.option[1]
        text = text.partition(" ;")[0].strip()
        found = NAME.fullmatch(text)
        if found and found[2].startswith("@"):
            text = found[2][1:].strip()
        if text.startswith("file:"):
            return Path(unquote(urlsplit(text).path if "//" in text else text.removeprefix("file:")))
        if "://" in text:
            return None
        path = re.sub(r"\[[^]]*\]$", "", text)  # extras
        is_path = path.startswith((".", "/")) or (path.endswith(ARCHIVES) and not re.search(r"[\s=<>]", path))
        return Path(path) if is_path or (self.option and path) else None

    @property
    def name(self) -> str:
        """The package's name, normalized; empty for an option and where a path stands in its place."""
        found = NAME.fullmatch(self.text)
        if self.option or not found or (self.local is not None and not found[2].startswith("@")):
            return ""
        return normalized(found[1])

    @property
    def is_url(self) -> bool:
        """Whether it names where it comes from: a Git repository or an archive."""
        return "://" in self.text.partition(" ;")[0]

    @property
    def pin(self) -> str:
        """As name==version, without a marker; empty where it has no version."""
        found = NAME.fullmatch(self.text.partition(";")[0].strip())
        return f"{self.name}{found[2]}" if found and self.name and found[2].startswith("==") else ""

    @property
    def lines(self) -> str:
        """As a requirements file has it."""
        return " \\\n    ".join((self.text, *self.hashes)) + "\n"


def entries(text: str) -> list[Entry]:
    """The requirements and options of a file, in its order."""
    found = []
    for line in _joined(text.splitlines()):
        hashes = tuple(each.strip().replace("--hash ", "--hash=") for each in HASH.findall(line))
        words = " ".join(HASH.sub("", line).split())
        if words:
            found.append(Entry(words, hashes))
    return found


def constraints(found: Iterable[Entry]) -> str:
    """What holds another resolution to the versions of these: name, version, marker."""
    return "".join(f"{one.text}\n" for one in found if one.name and "==" in one.text and not one.is_url)


def both(first: Iterable[Entry], further: Iterable[Entry], *, lock: Iterable[Entry]) -> list[Entry]:
    """Requirements of a lock, and those of another resolution; what the lock has keeps the lock's hashes alone."""
    found = list(first)
    hashes = {one.pin: one.hashes for one in lock if one.pin}
    by_url = {one.name for one in found if one.is_url}
    found += [replace(one, hashes=hashes.get(one.pin, one.hashes)) for one in further if one.name not in by_url]
    return found


def _joined(lines: Iterable[str]) -> Iterator[str]:
    whole = ""
    for line in lines:
        text = COMMENT.sub("", line)
        if text.rstrip().endswith("\\"):
            whole += text.rstrip()[:-1] + " "
            continue
        yield (whole + text).strip()
        whole = ""
    yield whole.strip()
