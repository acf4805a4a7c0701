"""Which project a grid file belongs to."""

from __future__ import annotations

from pathlib import Path

from sweepfleet.grid.project_root import project_around
from sweepfleet.grid.sweep import Sweep
from sweepfleet.slot.project_files import Names


def project_of(sweep: Sweep, *, home: Path | None = None) -> Path:
    """The root of the project of a grid: where its targets may be imported from, and where W&B's files run.

    Args:
        sweep: whose grid file it is.
        home: a project that is the grid's if the grid is in it.

    Returns:
        what `project_around` finds. Where that is nothing:
        for one of W&B's files, the folder that has its program: the current one, as at W&B, if the file is below
        it, or the nearest one above the file, or the current one. Else the grid file's own folder.
    """
    if home is not None and sweep.source.is_relative_to(home):
        return home
    marked = project_around(sweep.folder)
    if marked is not None:
        return marked
    program = sweep.target.program
    if program is not None:
        here, above = Path.cwd(), sweep.source.parents
        for folder in (*([here] if here in above else []), *above, here):
            if (folder / program).exists():
                return folder
    return sweep.folder


def names_of(sweep: Sweep, *, home: Path) -> Names:
    """What the sweep's source files are called, as its children call them; `home` as for `project_of`."""
    return Names(folder=str(sweep.folder), root=str(project_of(sweep, home=home)))
