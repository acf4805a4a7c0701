"""The messages between an Executor's client and the driver of its calls. Pure; nothing is unpickled here.

Client to driver: `hello`, once; `function`, before the first call of each, and `forget`; `bundle`s of calls; `end` or
`stop`. A stream that ends before `done` means that the client died.

Driver to client: `accepted` or `broken` as the answer to `hello`; `ready` and `slots`; `results`, several times a
bundle where some finish earlier; `returned`; `broken`; `say`; `done`, the last one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sweepfleet.slot.calls.batch import Call, Outcome, pack_calls, pack_outcomes, unpack_calls, unpack_outcomes
from sweepfleet.slot.calls.frames import Buffer, Frame

VERSION = 1
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True, slots=True)
class Hello:
    """What a client asks for."""

    run: str | None = None  # the run that keeps the results; None: nothing is kept
    runs: str | None = None  # the folder of all runs, on the driver's machine
    max_workers: int | None = None  # calls at once; None: as many as there is room for
    cpus: int = 1  # of a call
    memory_bytes: int | None = None  # that a call may use
    timeout_s: float | None = None  # that a call may take
    retries: int = 0  # of a call that raised, or whose process ended
    path: tuple[str, ...] | None = None  # `sys.path` of the calls; None: as the children have it
    main: str | None = None  # what the client's program is, for messages
    python: str = PYTHON  # pickles of functions are of one minor version
    version: int = VERSION
    initializer: Buffer | None = (
        None  # pickled (initializer, initargs), which each process calls before its first call
    )

    def frame(self) -> Frame:
        """As a message."""
        fields = asdict(self)
        initializer = fields.pop("initializer")
        return Frame({"kind": "hello", **fields}, [] if initializer is None else [initializer])

    @classmethod
    def read(cls, frame: Frame) -> Hello:
        """From a message. Keys that this version does not know are ignored."""
        known = {key: value for key, value in frame.header.items() if key in cls.__slots__}
        if known.get("path") is not None:
            known["path"] = tuple(known["path"])
        return cls(**known | {"initializer": frame.buffers[0] if frame.buffers else None})


def function(digest: str, pickled: Buffer, *, name: str) -> Frame:
    """A pickled function; `digest` names it in bundles, `name` is for people."""
    return Frame({"kind": "function", "digest": digest, "name": name}, [pickled])


def forget(digest: str) -> Frame:
    """A function of which no call is open; it is sent again before one comes."""
    return Frame({"kind": "forget", "digest": digest})


def bundle(number: int, calls: Sequence[Call]) -> Frame:
    """Calls to execute. Their indexes are the client's; no two open calls have the same."""
    return pack_calls(calls, {"kind": "bundle", "number": number})


def calls_of(frame: Frame) -> tuple[int, list[Call]]:
    """A bundle's number and its calls."""
    return frame.header["number"], unpack_calls(frame)


def pending(calls: int) -> Frame:
    """How many calls the client has yet to send: a cluster asks for workers by it."""
    return Frame({"kind": "pending", "calls": calls})


def end() -> Frame:
    """No more calls will come: the driver finishes those that it has, and ends."""
    return Frame({"kind": "end"})


def stop() -> Frame:
    """The calls that are open end now, and so does the driver; what has finished is kept."""
    return Frame({"kind": "stop"})


def accepted(**more: Any) -> Frame:
    """The driver can do what `hello` asks for; its slots are being started."""
    return Frame({"kind": "accepted", **more})


def ready(slots: int, *, ahead: int) -> Frame:
    """Calls can begin: so many at once, and so many bundles a slot may be out."""
    return Frame({"kind": "ready", "slots": slots, "ahead": ahead})


def slots(count: int, *, ahead: int) -> Frame:
    """The number of slots has changed."""
    return Frame({"kind": "slots", "slots": count, "ahead": ahead})


def results(outcomes: Sequence[Outcome]) -> Frame:
    """What came of calls, of whichever bundles."""
    return pack_outcomes(outcomes, {"kind": "results"})


def outcomes_of(frame: Frame) -> list[Outcome]:
    """The outcomes of `results`."""
    return unpack_outcomes(frame)


def returned(indexes: Sequence[int]) -> Frame:
    """Calls that have not begun, and are the client's again: one before them takes long."""
    return Frame({"kind": "returned", "indexes": list(indexes)})


def broken(kind: str, why: str) -> Frame:
    """No call can be executed any more. `kind`: `initializer`, `usage`, `cluster` or `driver`."""
    return Frame({"kind": "broken", "why": why, "broken": kind})


def say(text: str) -> Frame:
    """A line for the user."""
    return Frame({"kind": "say", "text": text})


def done() -> Frame:
    """All calls have ended, and everything is kept that is to be kept."""
    return Frame({"kind": "done"})
