"""What the head knows of its runs and of money, for who asks while it is off; standard library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sweepfleet.machine.facts import Data
from sweepfleet.machine.files import json_of
from sweepfleet.machine.job import JobFolder

MOST_ENDED = 20  # the last runs that ended


def answers(data: Data, *, now_s: float) -> dict[str, Any]:
    """The head's answers at a moment: `jobs`, the ones that were submitted last first, and `spending`."""
    folders = [JobFolder(file.parent) for file in data.jobs.glob("[!.]*/job.json")]
    jobs = sorted((_job(one) for one in folders), key=lambda one: float(one["at"]), reverse=True)
    active, ended = ([one for one in jobs if one["active"] is which] for which in (True, False))
    active.sort(key=lambda one: float(one["submitted"]), reverse=True)
    return {
        "at": now_s,
        "jobs": active + ended[:MOST_ENDED],
        "spending": _text(data.spending),
        "stored": json_of(data.stored),
    }


def _job(folder: JobFolder) -> dict[str, Any]:
    said, active = folder.read_progress(), folder.active.exists()
    at = said.get("at") if said.get("state") == "ended" else None
    text = _text(folder.job)
    return {
        "name": folder.path.name,
        "active": active,
        "at": at or folder.path.stat().st_mtime,
        "submitted": json.loads(text or "{}").get("submitted", 0.0),
        "job": text,
        "meter": _text(folder.meter),
        "progress": said,
    }


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""
