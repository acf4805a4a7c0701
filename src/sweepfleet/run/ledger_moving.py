"""Moves rows when the plan changes: each goes to its point's new index, found by the point's id."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from sweepfleet.grid.space import Space
from sweepfleet.run.ledger_file import COLUMNS, FIELDS

MOST_SEARCHED_DRAWS = 1_000_000  # of continuous laws, for rows that nothing else finds: some seconds


def move(db: sqlite3.Connection, old: Space, new: Space) -> None:
    """Make the rows' indexes refer to `new`, within the caller's transaction."""
    db.execute(f"CREATE TABLE moved (point_index INTEGER PRIMARY KEY, {COLUMNS})")
    into = f"INSERT OR IGNORE INTO moved SELECT ?, {FIELDS} FROM"
    homeless: list[int] = []
    for (index,) in db.execute("SELECT point_index FROM points"):
        point = old.point(index)
        same_draw = index // old.plan.replicates * new.plan.replicates + point.replicate
        near = (same_draw, *new.drawn_at(old.place(index), point.replicate))
        place = home(new, near, point.id, point.params, point.replicate)
        if place is None:
            homeless.append(index)
        else:
            db.execute(f"{into} points WHERE point_index = ?", (place, index))
    for id_, params, replicate in db.execute("SELECT id, params, replicate FROM former").fetchall():
        place = home(new, (), id_, json.loads(params), replicate)
        if place is not None:
            db.execute(f"{into} former WHERE id = ?", (place, id_))
            db.execute("DELETE FROM former WHERE id = ?", (id_,))
    for index in homeless:
        point = old.point(index)
        db.execute(
            f"INSERT OR IGNORE INTO former SELECT ?, ?, {FIELDS} FROM points WHERE point_index = ?",  # noqa: S608
            (json.dumps(point.params), point.replicate, index),
        )
    _bring_back_draws(db, new)
    db.execute("DROP TABLE points")
    db.execute("ALTER TABLE moved RENAME TO points")


def _bring_back_draws(db: sqlite3.Connection, new: Space) -> None:
    """Move rows of draws whose index needs a scan of all draws from `former` to `moved`."""
    blocks = new.drawn()
    if (
        not db.execute("SELECT count(*) FROM former").fetchone()[0]
        or sum(stop - start for start, stop in blocks) > MOST_SEARCHED_DRAWS
    ):
        return
    for start, stop in blocks:
        db.executemany(
            f"INSERT OR IGNORE INTO moved SELECT ?, {FIELDS} FROM former WHERE id = ?",  # noqa: S608
            ((point.index, point.id) for point in new.points(start, stop)),
        )
    if blocks:
        db.execute("DELETE FROM former WHERE id IN (SELECT id FROM moved)")


def home(space: Space, near: Iterable[int], id_: str, params: Mapping[str, Any], replicate: int) -> int | None:
    """The index of a point with this id: the first of `near` that has it, or where its parameters are found.

    `near` is the old index, which holds where a grid grew at its end, and the old places of draws.
    """
    for index in near:
        if space.exists(index) and space.point(index).id == id_:
            return index
    found = space.find(params, replicate)
    return found if found is not None and space.point(found).id == id_ else None
