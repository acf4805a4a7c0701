"""Small files on a machine: there whole or as they were, whatever happens to the machine or its disk."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any


def write_whole(file: Path, text: str) -> None:
    """Write a file beside, then in place. Raises OSError: it is as it was, and nothing is left beside it."""
    new = file.with_name(f".{file.name}.new")
    try:
        new.write_text(text)
        os.replace(new, file)  # noqa: PTH105 - the name says that it replaces
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise


def known(kind: type, said: Mapping[str, Any]) -> dict[str, Any]:
    """What was said of a dataclass's fields, without those that a later version may have added."""
    return {name: value for name, value in said.items() if name in {each.name for each in fields(kind)}}


def json_of(file: Path) -> dict[str, Any]:
    """What a JSON file says; empty when it is not there, or just being written."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
