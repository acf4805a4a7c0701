"""A project's own packages in a release: installed as their build system says, in a folder of the release.

On a laptop they are installed in the user's environment. Files that are as in their source folder have the names that
they have there, so a row's code is the same on both.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

SITE = ".sweepfleet/site"  # in a release
NAMES = ".sweepfleet/site.json"  # files of it: their names in the project


def add(root: str) -> None:
    """Have the packages of the project at `root` importable here and in what this process starts, their programs too.

    They come after the folders that modules are looked for in anyway, and before the environment.
    """
    site = os.path.join(root, SITE)  # noqa: PTH118 - a child's start is counted in milliseconds
    if not os.path.isdir(site) or site in sys.path:  # noqa: PTH112
        return
    sys.path.insert(0, site)
    for variable, folder in (("PYTHONPATH", site), ("PATH", f"{site}/bin")):
        os.environ[variable] = os.pathsep.join(filter(None, (folder, os.environ.get(variable))))


def names(base: str) -> Mapping[str, str]:
    """What files of installed packages are called in the project at `base`; empty where nothing is installed."""
    try:
        found = json.loads(Path(base, NAMES).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
