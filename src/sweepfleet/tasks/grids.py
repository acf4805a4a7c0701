"""The grid file that a command names, and what was meant where there is none."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

SUFFIXES = (".yaml", ".yml")
FIRST = "sweeps/hello/grid.yaml"  # which `inv init` writes


def first_sweep() -> str:
    """What to type for a first sweep from here: one that is here, or what writes one."""
    here = sorted(Path().glob("sweeps/*/grid.yaml"), key=lambda path: path != Path(FIRST))
    return f"inv sweep {here[0]}" if here else "inv init"


def grid_file(named: str, *, root: Path) -> Path:
    """The grid file of a command, absolute.

    Args:
        named: as it was typed.
        root: the project's.

    Raises:
        UsageError: it is no file; says which one may be meant.
    """
    from sweepfleet.grid.errors import UsageError

    if not named:
        raise UsageError(f"Which sweep? Name its grid file: inv sweep grid.yaml. A first one: {first_sweep()}")
    path = Path(named)
    if re.match(r"\w+://", named):
        raise UsageError(f"{named} is an address. Download the grid, and the code that it runs, then name the file.")
    if path.is_dir():
        inside = [str(path / name) for name in _grids(path)]
        which = f"Name the grid file in it: inv sweep {inside[0]}" if inside else "There is no grid file in it."
        more = f" (or {', '.join(inside[1:4])})" if inside[1:] else ""
        raise UsageError(f"{named} is a folder. {which}{more}")
    if path.suffix == ".py" and path.exists():
        raise UsageError(
            f"{named} is code. Name the grid file whose `run:` names it, e.g. `run: {path.stem}:main`; "
            "what else is in it: docs/grid.md"
        )
    if not path.exists():
        raise UsageError(f"There is no file {path.absolute()}.{_meant(path, root=root)}")
    return path.absolute()


def _grids(folder: Path) -> list[str]:
    """The files of a folder that may be grids, those that are called so first."""
    try:
        names = sorted(each.name for each in folder.iterdir() if each.suffix in SUFFIXES and each.is_file())
    except OSError:
        return []
    return sorted(names, key=lambda name: "grid" not in name)


def _meant(path: Path, *, root: Path) -> str:
    if (root / path).is_file():
        return f" It is there from the project's root: {root / path}"
    near = difflib.get_close_matches(path.name, _grids(path.parent), n=1)
    if near:
        return f" Did you mean {path.with_name(near[0])}?"
    if path.parent.is_dir():
        there = _grids(path.parent)[:3]
        return f" The folder has {', '.join(there)}." if there else ""
    return f" Nor is there a folder {path.parent.absolute()}."
