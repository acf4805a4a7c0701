"""This Python environment once more, with no compiled code in it, as uv and most container images leave theirs."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def bare_environment(to: Path) -> Path:
    """Link all files of the environment but compiled code into `to`.

    Returns:
        its Python. The project's own sources are not in it, nor is Python's library: both stay where they are.
    """
    source = Path(sys.prefix)
    for folder, inner, names in os.walk(source):
        inner[:] = [name for name in inner if name != "__pycache__"]
        copy = to / Path(folder).relative_to(source)
        copy.mkdir()
        for name in names:
            if not name.endswith(".pyc"):
                place = Path(folder, name)
                if place.is_symlink():
                    (copy / name).symlink_to(place.readlink())
                else:
                    os.link(place, copy / name)
        for name in [each for each in inner if Path(folder, each).is_symlink()]:
            inner.remove(name)
            (copy / name).symlink_to(Path(folder, name).readlink())
    return to / "bin" / Path(sys.executable).name
