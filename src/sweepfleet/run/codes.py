"""Which rows were computed by the same code. Pure, except for the note, which reads the ledger.

A code is the digests of the files that a child had imported, by name. Children import different parts of a project,
and one may import more as it goes: so two codes that agree on every file that both have are the same code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from sweepfleet.grid.wording import counted
from sweepfleet.run.ledger_reading import Reading

LABEL_DIGITS = 12
SHOWN_CODES = 4
SHOWN_FILES = 5

Files = Mapping[str, str]


def merged(codes: Mapping[str, Files]) -> list[tuple[dict[str, str], set[str]]]:
    """The codes that differ: of each its files, and the names of those in `codes` that are parts of it.

    The largest come first, and each joins the first that it agrees with, whatever order `codes` has.
    """
    groups: list[tuple[dict[str, str], set[str]]] = []
    for name, files in sorted(codes.items(), key=lambda item: (-len(item[1]), label(item[1]))):
        for union, names in groups:
            if all(union.get(file, content) == content for file, content in files.items()):
                union.update(files)
                names.add(name)
                break
        else:
            groups.append((dict(files), {name}))
    return groups


def label(files: Files) -> str:
    """A code's name in tables: 12 hex digits."""
    text = json.dumps(dict(sorted(files.items())), separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=LABEL_DIGITS // 2).hexdigest()


def labels(codes: Mapping[str, Files]) -> dict[str | None, str]:
    """The names of these codes in tables."""
    return {name: label(union) for union, names in merged(codes) for name in names}


def differing(unions: Sequence[Files]) -> list[str]:
    """The files in which codes differ."""
    files = {file for union in unions for file in union}
    return sorted(file for file in files if len({union[file] for union in unions if file in union}) > 1)


def codes_note(ledger: Reading) -> str | None:
    """The note for rows that come from several codes; None when they come from one."""
    rows = ledger.rows_by_code()
    unknown, _ = rows.pop(None, (0, 0.0))
    known = ledger.codes()
    found = [
        (
            min(rows[name][1] for name in names),
            sum(rows[name][0] for name in names),
            union,
        )
        for union, names in merged({name: known[name] for name in rows if name is not None})
    ]
    if len(found) + bool(unknown) <= 1:
        return None
    found.sort(key=lambda each: each[0])
    parts = [f"{_rows(count)} by {label(union)}" for _, count, union in found[-SHOWN_CODES:]]
    if len(found) > SHOWN_CODES:
        older = found[:-SHOWN_CODES]
        parts.insert(0, f"{_rows(sum(count for _, count, _ in older))} by {len(older)} older ones")
    if unknown:
        parts.insert(0, f"{_rows(unknown)} by unrecorded code")
    files = differing([union for *_, union in found])
    shown = ", ".join(files[:SHOWN_FILES]) + (
        f" and {len(files) - SHOWN_FILES:,} more" if files[SHOWN_FILES:] else ""
    )
    return (
        f"The rows come from different code: {', '.join(parts)}"
        f"{f'; they differ in {shown}' if files else ''}. The column `code` has each row's. To compute "
        "the older rows again with today's code: --redo stale"
    )


def _rows(count: int) -> str:
    return counted(count, "row")
