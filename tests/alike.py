"""Compares what commands and cells print with what a page shows of them."""

from __future__ import annotations

import re

# What differs from one machine and one day to the next, and a C library's last digits.
VARIES = (
    (r"\d+ slots?\b", "N slots"),
    (r"[\d.,]+ s at [\d.,]+ points/s", "S s at R points/s"),
    (r"too short for an efficiency|efficiency \d+%", "efficiency E"),
    (r"in [\d.]+ m?s$", "in T"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d", "DATE"),
    (r"\b[0-9a-f]{12}\b", "CODE"),
    (r"(\d\.\d{6})\d+", r"\1"),
)


def alike(text: str) -> str:
    """The text with one word for all that varies."""
    for varying, word in VARIES:
        text = re.sub(varying, word, text, flags=re.MULTILINE)
    return text
