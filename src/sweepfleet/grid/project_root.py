"""Finds the project of a folder."""

from __future__ import annotations

import re
from pathlib import Path

SETTINGS = "pyproject.toml"
OURS = re.compile(r"^\s*\[tool\.sweepfleet[].]", re.MULTILINE)


def project_around(folder: Path) -> Path | None:
    """The root of the project that a folder is in; None where nothing says so.

    Of the folder and those above it, up to the root of its Git repository: the nearest one whose pyproject.toml has a
    table `[tool.sweepfleet]`, else the nearest one with a pyproject.toml, else the repository's root.
    """
    places = [folder, *folder.parents]
    repository = next((place for place in places if (place / ".git").exists()), None)
    if repository is not None:
        del places[places.index(repository) + 1 :]
    settings = [place / SETTINGS for place in places if (place / SETTINGS).is_file()]
    marked = (file.parent for file in settings if _has_ours(file))
    return next(marked, settings[0].parent if settings else repository)


def _has_ours(file: Path) -> bool:
    try:
        return OURS.search(file.read_text(errors="replace")) is not None
    except OSError:  # it may not be read: then it says nothing
        return False
