"""The functions that an Executor's calls are of: pickled once each, and dropped when no call of them is open."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sweepfleet.api.functions import pickled
from sweepfleet.slot.identity import importable, name_of

MOST_KEPT = 256  # without an open call


@dataclass(slots=True, eq=False)
class Function:
    """A function as the driver has it."""

    digest: str
    data: bytes
    name: str
    code: str | None = None  # its name and its code by content, where results are kept
    open: int = 0  # calls without an outcome
    sent: bool = False
    call_s: float | None = None  # what a call takes, by those that came back
    most: int = 1  # calls of it that came back together


class Functions:
    """By digest; the caller has a lock."""

    def __init__(self, *, durable: bool) -> None:
        self._durable = durable
        self._known: dict[str, Function] = {}
        self._codes: dict[int, tuple[Callable[..., Any], str]] = {}  # of functions of modules, which stay as they are

    def get(self, function: Callable[..., Any]) -> Function:
        """A function as it is now: the variables of one that is sent by value may have changed.

        Raises UsageError: it cannot be sent.
        """
        data = pickled(function)
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        found = self._known.pop(digest, None)
        if found is None:
            found = Function(digest, data, name_of(function), self._code(function) if self._durable else None)
        self._known[digest] = found  # as the last one
        return found

    def _code(self, function: Callable[..., Any]) -> str:
        from sweepfleet.slot.calls.keys import code_of

        if importable(function) is None:
            return code_of(function)
        if id(function) not in self._codes:
            self._codes[id(function)] = function, code_of(function)
        return self._codes[id(function)][1]

    def use(self, function: Function) -> Function:
        """The function for one more call of it: it may have been forgotten meanwhile."""
        return self._known.setdefault(function.digest, function)

    def surplus(self) -> list[str]:
        """The digests of functions that the driver has and that are too many; they are forgotten here."""
        if len(self._known) <= MOST_KEPT:
            return []
        idle = [each for each in self._known.values() if not each.open]
        dropped = idle[: len(self._known) - MOST_KEPT]
        digests = [each.digest for each in dropped if each.sent]
        for each in dropped:
            del self._known[each.digest]
            each.sent = False
        return digests
