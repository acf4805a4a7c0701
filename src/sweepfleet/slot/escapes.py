"""Removes terminal escape sequences, for reading results in a text and for showing it. Pure."""

from __future__ import annotations

import re

# What a terminal would not show: colours and cursor moves (CSI), titles and links (OSC), other escapes. A title that
# has no end, in a text that was cut, hides nothing of what follows.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]")


def without_escapes(text: str) -> str:
    """The text without escape sequences."""
    return _ESCAPES.sub("", text) if "\x1b" in text else text
