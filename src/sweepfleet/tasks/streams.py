"""Standard output and error that can say everything, whatever their encoding."""

from __future__ import annotations

import codecs
import io
import os
import sys

HANDLER = "sweepfleet"
# What our own lines, bars and spinners are made of, in ASCII.
PLAIN = {"·": "-", "µ": "u", "…": "...", "×": "x", "→": "->", "≤": "<=", "≥": ">=", "−": "-", "–": "-", "—": "-"}  # noqa: RUF001
BARS = range(0x2500, 0x25A0)  # box drawing and blocks
SPINNERS = range(0x2800, 0x2900)  # braille


def speak_any_encoding() -> None:
    """Have both streams write what their encoding lacks in ASCII, rather than end a command for one character."""
    codecs.register_error(HANDLER, _in_ascii)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by `>&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123 - until the process ends
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Codecs' error handler: our own signs as their like, any other character spelled out."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(character: str) -> str:
    code = ord(character)
    if code in BARS:
        return "="
    return "*" if code in SPINNERS else PLAIN.get(character, ascii(character)[1:-1])
