"""Clients that come to a driver of calls over a socket, and what it keeps of what they ask for."""

from __future__ import annotations

import os
import queue
import socket
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sweepfleet.grid.errors import UsageError
from sweepfleet.run.calls import sessions as sessions_module
from sweepfleet.run.calls import wire
from sweepfleet.run.calls.driver import ClientGone, ClientHere, FromClient, Message
from sweepfleet.run.calls.far import _answer, check
from sweepfleet.run.calls.line import Line, SocketConnection, hear, tell
from sweepfleet.run.calls.open_calls import OpenCalls
from sweepfleet.run.calls.sessions import Sessions
from sweepfleet.run.calls.spool import Spool
from sweepfleet.slot.calls.batch import Call, Outcome, Pickled
from sweepfleet.slot.calls.frames import Frame, parse, pieces

WAIT_S = 60.0
CALLS = [Call(index, "f", Pickled(b"x")) for index in range(3)]


@pytest.fixture(autouse=True)
def here() -> Iterator[None]:
    before = Path.cwd()
    yield
    os.chdir(before)


class Client:
    """One connection of a client."""

    def __init__(self, path: Path, name: str) -> None:
        stream = socket.socket(socket.AF_UNIX)
        os.chdir(path)
        stream.connect("calls.sock")
        self.connection = SocketConnection(stream)
        tell(self.connection, session=name, received=0)
        self.said = hear(self.connection)
        self.frames: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self.line = Line(lambda payload: self.frames.put(parse(payload)))
        if "refused" not in self.said:
            threading.Thread(
                target=self.line.carry, args=[self.connection], kwargs={"their_received": 0}, daemon=True
            ).start()

    def send(self, frame: Frame) -> None:
        self.line.send(*pieces(frame))


def test_one_client_at_a_time_is_served_and_one_that_stays_away_is_parted_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "BACK_S", 0.0)
    messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
    served = Sessions(messages)
    served.listen(tmp_path, "calls.sock")
    assert stat.S_IMODE((tmp_path / "calls.sock").stat().st_mode) == 0o600
    served.answer(lambda _: wire.accepted())
    first = Client(tmp_path, "first")
    first.send(wire.Hello().frame())
    first.send(wire.end())
    assert first.frames.get(timeout=WAIT_S).kind == "accepted"
    assert isinstance(messages.get(timeout=WAIT_S), ClientHere)
    sent = messages.get(timeout=WAIT_S)
    assert isinstance(sent, FromClient)
    assert sent.frame.kind == "end"
    second = Client(tmp_path, "second")
    second.connection.close()
    assert "Another Executor" in second.said["refused"]
    first.connection.close()
    assert isinstance(messages.get(timeout=WAIT_S), ClientGone)
    third = Client(tmp_path, "third")
    third.connection.close()
    assert "refused" not in third.said


def test_a_client_of_another_python_or_with_other_slots_is_refused() -> None:
    asked = wire.Hello(cpus=2)
    with pytest.raises(UsageError, match=r"This is Python 3\.1, and the cluster has Python"):
        check(replace(asked, python="3.1"))
    with pytest.raises(UsageError, match="inv push"):
        check(replace(asked, version=0))
    assert _answer(asked, asked.frame()).kind == "accepted"
    said = _answer(asked, replace(asked, cpus=1, initializer=b"x").frame()).header["why"]
    assert "another cpus, initializer" in said


def test_a_spool_has_what_a_next_driver_needs_and_nothing_of_half_a_frame(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    spool = Spool(path)
    frames = [
        wire.Hello(cpus=2).frame(),
        wire.function("f", b"pickle", name="f"),
        wire.bundle(0, CALLS),
        wire.end(),
        wire.function("g", bytes(2 << 20), name="g"),
        wire.forget("g"),
    ]
    for frame in frames:
        spool.keep(memoryview(b"".join(pieces(frame))))
    spool.flush()
    with path.open("ab") as file:
        file.write(b"".join(pieces(wire.bundle(1, CALLS)))[:-2])
    again = Spool(path)
    assert [frame.kind for frame in again.before] == ["hello", "function", "bundle", "function", "forget"]
    again.keep(memoryview(b"".join(pieces(wire.bundle(2, CALLS)))))
    assert len(Spool(path).before) == 6
    Spool(path).clear()  # no call is open
    assert [frame.kind for frame in Spool(path).before] == ["hello", "function"]
    again.remove()
    assert not path.exists()


def test_another_driver_is_asked_for_what_has_no_answer_and_the_client_is_told_nothing_twice() -> None:
    calls = OpenCalls()
    frames = [wire.Hello().frame(), wire.function("f", b"pickle", name="f"), wire.bundle(7, CALLS)]
    for frame in frames:
        calls.sent(frame)
    assert calls.received(wire.accepted()) is not None
    assert calls.received(wire.ready(2, ahead=2)) is not None
    assert calls.received(wire.results([Outcome(1, Pickled(b"y"))])) is not None
    assert calls.received(wire.returned([2])) is not None
    hello, function, bundle = calls.again()
    assert (hello, function) == tuple(frames[:2])
    assert [call.index for call in wire.calls_of(bundle)[1]] == [0]
    assert calls.received(wire.accepted()) is None
    again = calls.received(wire.ready(4, ahead=2))
    assert again is not None
    assert again.kind == "slots"
