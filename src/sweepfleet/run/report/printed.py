"""What points printed, as much of it as a page carries: failed points first, then the table's other rows in order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sweepfleet.grid.errors import SweepfleetError
from sweepfleet.run.output_text import readable
from sweepfleet.run.outputs import Outputs

ALL_MAX = 200_000  # characters in one page
EACH_MAX = 4_000  # characters of one point: its beginning and, twice as long, its end
LOOKED_MAX = 2_000  # points


@dataclass(frozen=True, slots=True)
class Texts:
    """What points printed, by their ids. An empty text: there is one, for which the page has no room."""

    texts: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""  # why nothing could be read


def printed(path: Path | None, attempts: Iterable[tuple[str, float]]) -> Texts:
    """Read what these attempts printed, the first ones first, within the page's bounds.

    Args:
        path: the run's output.sqlite, which need not be there; a damaged one is a problem told, and none raised.
        attempts: of each point the one that its row is of: id and start. What a point printed before it was computed
            again is not shown as this one's.
    """
    if path is None or not path.exists():
        return Texts()
    found: dict[str, str] = {}
    room = ALL_MAX
    try:
        with contextlib.closing(Outputs(path, readonly=True)) as outputs:
            for (id_, started), _ in zip(dict.fromkeys(attempts), range(LOOKED_MAX), strict=False):
                attempt = outputs.of_attempt(id_, started)
                if attempt is None:
                    continue
                text = _short(readable(attempt.text))
                found[id_] = text if len(text) <= room else ""
                room -= len(found[id_])
    except SweepfleetError as error:
        return Texts(problem=str(error))
    return Texts(found)


def _short(text: str) -> str:
    if len(text) <= EACH_MAX:
        return text
    head, tail = text[: EACH_MAX // 3], text[-(EACH_MAX * 2 // 3) :]
    return f"{head}\n... {len(text) - len(head) - len(tail):,} characters dropped ...\n{tail}"
