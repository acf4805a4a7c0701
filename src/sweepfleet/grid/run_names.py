"""Names of runs: each is a folder's name, `runs/<name>`, and part of a unit's name on a head."""

from __future__ import annotations

import re

ALLOWED = "up to 100 letters, digits, dots, - and _, with a letter or digit first"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def is_run_name(name: str) -> bool:
    """Whether a run may have this name."""
    return _NAME.fullmatch(name) is not None
