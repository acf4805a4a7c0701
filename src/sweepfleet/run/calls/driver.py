"""The driver of an Executor's calls: gives bundles to the engine, keeps results in a ledger, tells the client.

It knows no object of the user's: arguments and results stay pickled. Everything happens in one thread, `drive`'s, to
which clients and engine put messages. It is the one writer of the ledger.
"""

from __future__ import annotations

import itertools
import queue
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sweepfleet.run.calls import wire
from sweepfleet.run.calls.ledger import CallLedger
from sweepfleet.run.calls.port import Broke, CallsEngine, Event, Finished, GivenBack, Resized
from sweepfleet.run.engine_errors import ClusterError
from sweepfleet.slot.calls.batch import Call, Outcome
from sweepfleet.slot.calls.frames import Frame

MOST_AT_ONCE = 256  # messages for which there is one commit

Tell = Callable[[Frame], None]  # writes to the client; never raises: see `Driver.connect`


class FromClient(NamedTuple):
    """A frame of the client."""

    frame: Frame


class ClientGone(NamedTuple):
    """The client's stream has ended."""


class ClientHere(NamedTuple):
    """A client has come: the first one, or another one after `ClientGone`."""

    tell: Tell


Message = FromClient | ClientGone | ClientHere | Event


@dataclass(slots=True)
class _Open:
    """A call without an outcome."""

    call: Call  # by the driver's number, not the client's
    indexes: list[int]  # the client's calls that it answers: several of one key


class Driver:
    """The calls of one Executor, from `hello` until all have ended."""

    def __init__(self, messages: queue.SimpleQueue[Message], *, ledger: CallLedger | None, outlives: bool) -> None:
        """Start with nothing open.

        Args:
            messages: of clients and engine.
            ledger: where results are kept; None: nowhere.
            outlives: whether calls that are open are executed to their end when the client goes without `end`.
        """
        self._messages = messages
        self._ledger = ledger
        self._outlives = outlives
        self._tell: Tell | None = None
        self._numbers = itertools.count()
        self._bundles = itertools.count()
        self._open: dict[int, _Open] = {}
        self._by_key: dict[str, int] = {}  # of open calls
        self._slots: tuple[int, int] | None = None  # and how many bundles a slot may be out
        self._ending = False  # no more calls will come
        self.broken: Broke | None = None

    @property
    def open(self) -> int:
        """The number of calls without an outcome."""
        return len(self._open)

    def drive(self, engine: CallsEngine) -> None:
        """Handle messages until the client has ended and no call is open; or until nothing can go on."""
        while not (self.broken or (self._ending and not self._open)):
            self._handle(engine, self._next())
        if self.broken is not None:
            self._say(wire.broken(self.broken.kind, self.broken.why))

    def farewell(self) -> None:
        """Tell the client that everything has ended, slots and all."""
        self._say(wire.done())

    def _next(self) -> list[Message]:
        found = [self._messages.get()]
        while len(found) < MOST_AT_ONCE:
            try:
                found.append(self._messages.get_nowait())
            except queue.Empty:
                break
        return found

    def _handle(self, engine: CallsEngine, messages: Iterable[Message]) -> None:
        finished: list[Finished] = []
        rest: list[Message] = []
        for message in messages:
            (finished if isinstance(message, Finished) else rest).append(message)  # type: ignore[arg-type]
        if finished:
            self._finish(finished)
        for message in rest:
            match message:
                case FromClient(frame):
                    self._receive(engine, frame)
                case ClientHere(tell):
                    self._connect(tell)
                case ClientGone():
                    self._disconnect()
                case GivenBack(indexes):
                    self._give_back(engine, indexes)
                case Resized(slots, ahead):
                    first, self._slots = self._slots is None, (slots, ahead)
                    self._say(wire.ready(slots, ahead=ahead) if first else wire.slots(slots, ahead=ahead))
                case Broke():
                    self.broken = message

    def _say(self, frame: Frame) -> None:
        if self._tell is not None:
            self._tell(frame)

    def _connect(self, tell: Tell) -> None:
        self._tell, self._ending = tell, False
        for each in self._open.values():  # they are of a client before, and this one asks again for what it needs
            each.indexes.clear()
        if self._slots is not None:
            tell(wire.ready(self._slots[0], ahead=self._slots[1]))

    def _disconnect(self) -> None:
        """Go on for the ledger alone, or not at all."""
        self._tell = None
        for each in self._open.values():
            each.indexes.clear()
        self._ending = True
        if not self._outlives:  # one that ends in order waits for `done`
            self._open.clear()

    def _receive(self, engine: CallsEngine, frame: Frame) -> None:
        match frame.kind:
            case "function":
                digest = frame.header["digest"]
                engine.add_function(digest, bytes(frame.buffers[0]))
                if self._ledger is not None:
                    self._ledger.name(digest, frame.header["name"])
            case "forget":
                engine.forget_function(frame.header["digest"])
            case "bundle":
                _, calls = wire.calls_of(frame)
                self._begin(engine, calls)
            case "stop":
                self._ending = True
                self._open.clear()
            case "end":
                self._ending = True

    def _begin(self, engine: CallsEngine, calls: Sequence[Call]) -> None:
        """Answer what is known, attach to what is open, and have the rest executed."""
        known = self._ledger.results([each.key for each in calls if each.key]) if self._ledger else {}
        answered: list[Outcome] = []
        new: list[Call] = []
        for call in calls:
            if call.key is not None and call.key in known:
                answered.append(known[call.key].at(call.index))
            elif call.key is not None and call.key in self._by_key:
                self._open[self._by_key[call.key]].indexes.append(call.index)
            else:
                number = next(self._numbers)
                ours = Call(number, call.function, call.arguments, call.key)
                self._open[number] = _Open(ours, [call.index])
                if call.key is not None:
                    self._by_key[call.key] = number
                new.append(ours)
        if answered:
            self._say(wire.results(answered))
        self._submit(engine, new)

    def _submit(self, engine: CallsEngine, calls: Sequence[Call]) -> None:
        if calls:
            try:
                engine.submit(next(self._bundles), calls)
            except ClusterError as error:
                self.broken = Broke("cluster", str(error))

    def _finish(self, finished: Sequence[Finished]) -> None:
        """Commit outcomes, then tell them."""
        told: list[Outcome] = []
        kept: list[tuple[Outcome, Call]] = []
        for outcome in itertools.chain.from_iterable(each.outcomes for each in finished):
            found = self._open.pop(outcome.index, None)
            if found is None:  # of a bundle that was executed a second time
                continue
            if found.call.key is not None:
                self._by_key.pop(found.call.key, None)
                kept.append((outcome, found.call))
            told += [outcome.at(index) for index in found.indexes]
        if self._ledger is not None and kept:
            self._ledger.keep(kept)
        for each in finished:
            each.kept()
        if told:
            self._say(wire.results(told))

    def _give_back(self, engine: CallsEngine, numbers: Sequence[int]) -> None:
        """Return calls that have not begun to the client; without one they are sent again."""
        indexes: list[int] = []
        again: list[Call] = []
        for number in numbers:
            if (found := self._open.get(number)) is None:
                continue
            if not found.indexes:
                again.append(found.call)
                continue
            indexes += found.indexes
            del self._open[number]
            if found.call.key is not None:
                self._by_key.pop(found.call.key, None)
        if indexes:
            self._say(wire.returned(indexes))
        for call in again:
            self._submit(engine, [call])
