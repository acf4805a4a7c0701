"""What a project's pyproject.toml says to us: the table `[tool.sweepfleet]`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.project_root import SETTINGS
from sweepfleet.grid.wording import nearest

KEYS = ("extras", "groups", "include", "max_mb")


def settings_of(root: Path) -> dict[str, Any]:
    """The table `[tool.sweepfleet]` of the project at `root`; empty where there is none.

    Raises:
        UsageError: the file is not TOML, or has a key there that nothing reads.
    """
    file = root / SETTINGS
    try:
        table = tomllib.loads(file.read_text()).get("tool", {}).get("sweepfleet", {}) if file.exists() else {}
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from None
    if not isinstance(table, dict):
        raise UsageError(f"{file}: tool.sweepfleet is not a table. Write [tool.sweepfleet].")
    if unknown := [key for key in table if key not in KEYS]:
        lines = "".join(f"\n  {key}: nothing reads it. {nearest(key, KEYS, what='keys')}" for key in unknown)
        raise UsageError(f"{file}, [tool.sweepfleet]:{lines}")
    return table
