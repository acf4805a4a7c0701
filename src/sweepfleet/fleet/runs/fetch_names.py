"""Which objects of a run can be files of its folder; pure. Workers may write any name that has /artifacts/ in it.

S3 has keys, and no folders: one key may begin with another's name and a slash, and names may differ in their case
alone. Whatever cannot be brought is skipped with its reason, so that it keeps no other file from being brought.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

ARTIFACTS = "artifacts/"
MOST_PART, MOST_PATH = 255, 4000  # bytes; of a name and of a path below the run's folder, on Linux and macOS


@dataclass(frozen=True, slots=True)
class Skipped:
    """An object that cannot be brought, and why."""

    name: str
    why: str

    def __str__(self) -> str:
        shown = self.name if self.name.isprintable() else self.name.encode("unicode_escape").decode()
        return f"{shown if len(shown) <= 200 else f'{shown[:200]}...'}: {self.why}"


def sort_out(names: Iterable[str], *, one_case: bool) -> tuple[list[str], list[Skipped]]:
    """The names that can be files side by side, and the others.

    Args:
        names: of all objects, below the run's prefix.
        one_case: the file system takes names that differ in their case, or in how an accent is encoded, for the same.
    """
    good, skipped = [], []
    for name in sorted(names):
        if name.endswith("/"):
            continue  # the console's folders, which hold nothing
        why = _problem(name)
        if why:
            skipped.append(Skipped(name, why))
        else:
            good.append(name)
    return _side_by_side(good, skipped, one_case=one_case)


def _problem(name: str) -> str:
    """Why a name can be no file's, whatever others there are; empty when it can."""
    parts = name.split("/")
    if {"", ".", ".."} & set(parts):
        return "its name points outside the run's folder, or to another file of it"
    if len(parts) > 1 and not name.startswith(ARTIFACTS):
        return "it is in a folder, and only artifacts are"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        return "its name has control characters"
    if max(len(part.encode()) for part in parts) > MOST_PART or len(name.encode()) > MOST_PATH:
        return "its name is too long for a file"
    return ""


def _side_by_side(names: list[str], skipped: list[Skipped], *, one_case: bool) -> tuple[list[str], list[Skipped]]:
    """Of several names that can only be one file, the first; of a file and a folder of one name, the file."""
    files: dict[str, str] = {}
    for name in names:
        first = files.setdefault(_folded(name, one_case=one_case), name)
        if first != name:
            skipped.append(Skipped(name, f"this machine's file system takes it for the same file as {first}"))
    good = []
    for folded, name in files.items():
        above = next((files[one] for one in _above(folded) if one in files), None)
        if above is None and folded != ARTIFACTS.rstrip("/"):
            good.append(name)
        else:
            skipped.append(Skipped(name, f"{above} is a file, not a folder" if above else "artifacts is a folder"))
    return good, skipped


def _folded(name: str, *, one_case: bool) -> str:
    return unicodedata.normalize("NFC", name).casefold() if one_case else name


def _above(name: str) -> Iterator[str]:
    """The folders that a name is in, without the one of all artifacts."""
    parts = name.split("/")
    return ("/".join(parts[:end]) for end in range(2, len(parts)))
