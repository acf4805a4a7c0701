"""Reads the log of a W&B run, `run-<id>.wandb`: the run's summary, and whether the run has ended.

`wandb` writes every record of a run there, in every mode but "disabled", so that `wandb sync` of a later version
can send what was made offline. In offline mode a run's summary stands nowhere else, and the Python package has no
reader of the log. So this one rests on an internal form: the framing (LevelDB's log, after a header of 7 bytes) and
the protobuf field numbers of `wandb/proto/wandb_internal.proto`, which cannot change without leaving older runs
unsent. Tested with wandb 0.31. A log of another form is an error of the point, never a result.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

_HEADER = b":W&B"
_BLOCK = 32_768
_FRAME = struct.Struct("<IHB")  # checksum, length, kind
_FULL, _LAST = 1, 4  # the kinds of frame with which a record ends
_HISTORY, _SUMMARY, _RUN, _EXIT = 2, 3, 17, 18  # Record
_ITEM, _UPDATE, _REMOVE = 1, 1, 2  # HistoryRecord, SummaryRecord
_KEY, _NESTED_KEY, _VALUE_JSON = 1, 2, 16  # HistoryItem, SummaryItem
_SWEEP_ID = 12  # RunRecord
_EXIT_CODE = 1  # RunExitRecord
_OWN = frozenset({"_wandb", "_runtime", "_step", "_timestamp"})  # what W&B adds to every summary


class LogError(Exception):
    """A log in a form that this reader does not know."""


@dataclass
class RunLog:
    """What a run's log says so far."""

    sweep_id: str = ""
    exit_code: int | None = None  # None: the run has not ended
    summary: dict[str, Any] = field(default_factory=dict)
    logged: dict[str, Any] = field(default_factory=dict)  # the last value of everything in the history

    def metrics(self) -> dict[str, Any]:
        """The summary under dotted names, without W&B's own keys and without images, tables and histograms.

        A log without a summary of what was logged (of a version that leaves it to the server) gives the last values.
        """
        summary = {key: value for key, value in self.summary.items() if key not in _OWN}
        if not any(key in self.summary for key in self.logged if key not in _OWN):
            summary = {key: value for key, value in self.logged.items() if key not in _OWN} | summary
        return dict(_flat(summary, ""))


def read(path: Path) -> RunLog:
    """What a log says. Raises LogError for a file of another form, OSError when there is none."""
    log = RunLog()
    with path.open("rb") as file:
        if file.read(7)[:4] != _HEADER:
            raise LogError(f"{path.name} is not a wandb log: it starts differently")
        try:
            for record in _records(file):
                _take(record, log)
        except (ValueError, IndexError, struct.error) as error:
            raise LogError(f"{path.name} cannot be read: {error}") from None
    return log


def _records(file: BinaryIO) -> Iterator[bytes]:
    """The complete records of a log, in order; one that is still being written is skipped."""
    parts: list[bytes] = []
    position = file.tell()
    while True:
        left = _BLOCK - position % _BLOCK
        if left < _FRAME.size:
            file.seek(left, 1)
            position += left
        head = file.read(_FRAME.size)
        if len(head) < _FRAME.size:
            return
        _, length, kind = _FRAME.unpack(head)
        part = file.read(length)
        if not kind or len(part) < length:
            return
        position += _FRAME.size + length
        parts.append(part)
        if kind in {_FULL, _LAST}:
            yield b"".join(parts)
            parts.clear()


def _take(record: bytes, log: RunLog) -> None:
    for number, value in _fields(record):
        if number == _SUMMARY:
            for change, item in _fields(value):
                if change in {_UPDATE, _REMOVE}:
                    keys, text = _item(item)
                    _put(log.summary, keys, text if change == _UPDATE else None)
        elif number == _HISTORY:
            for part, item in _fields(value):
                if part == _ITEM:
                    _put(log.logged, *_item(item))
        elif number == _RUN:
            log.sweep_id = next((text.decode() for part, text in _fields(value) if part == _SWEEP_ID), "")
        elif number == _EXIT:
            codes = [_varint(code, 0)[0] for part, code in _fields(value) if part == _EXIT_CODE]
            log.exit_code = codes[0] if codes else 0


def _item(item: bytes) -> tuple[list[str], str | None]:
    """The path of keys of a changed value, and its JSON."""
    keys: list[str] = []
    text = None
    for number, value in _fields(item):
        if number in {_KEY, _NESTED_KEY}:
            keys.append(value.decode())
        elif number == _VALUE_JSON:
            text = value.decode()
    return keys, text


def _put(values: dict[str, Any], keys: list[str], text: str | None) -> None:
    """Set a value at a path of keys, or remove what is there."""
    if not keys:
        return
    *outer, last = keys
    for key in outer:
        inner = values.get(key)
        if not isinstance(inner, dict):
            if text is None:
                return
            inner = values[key] = {}
        values = inner
    if text is None:
        values.pop(last, None)
    else:
        values[last] = json.loads(text)


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """A protobuf message's fields by number: of a number, its bytes."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        start = position
        match key & 7:
            case 0:
                _, position = _varint(message, position)
            case 1:
                position += 8
            case 2:
                length, start = _varint(message, position)
                position = start + length
            case 5:
                position += 4
            case kind:
                raise ValueError(f"a field of the kind {kind}")
        if position > len(message):
            raise ValueError("a field is truncated")
        yield key >> 3, message[start:position]


def _varint(message: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[position]
        number |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if byte < 0x80:
            return number, position


def _flat(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if not isinstance(value, dict):
            yield prefix + key, value
        elif "_type" not in value:  # which media have
            yield from _flat(value, f"{prefix}{key}.")
