"""The driver's side of lines from elsewhere: a Unix socket at which clients come, go, and come again.

One client at a time. A connection that breaks is no end: the client has a while to come back, and its line continues
with the next connection. A driver that has just started knows no client; one that comes to it begins again.
"""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sweepfleet.run.calls.driver import ClientGone, ClientHere, FromClient, Message
from sweepfleet.run.calls.line import Line, SocketConnection, hear, tell
from sweepfleet.slot.calls.frames import Frame, parse, pieces

BACK_S = 60.0  # for a client to come back
SILENT_S = 45.0  # without a sign of life, after which a connection counts as broken
LOOK_S = 1.0
IN_USE = "Another Executor uses this run. Wait until it has ended, or give this one another run."


@dataclass(eq=False)
class _Session:
    """One client, from its first connection on."""

    name: str
    line: Line
    frames: queue.SimpleQueue[Frame | None] = field(default_factory=queue.SimpleQueue)
    connection: SocketConnection | None = None
    carrying: threading.Lock = field(default_factory=threading.Lock)  # held while a connection carries it
    gone_s: float = field(default_factory=time.monotonic)  # when it had a connection last


class Sessions:
    """Listens at a socket that its owner alone can reach; thread-safe."""

    def __init__(
        self, messages: queue.SimpleQueue[Message], *, keep: Callable[[memoryview], None] = lambda _: None
    ) -> None:
        """Have nobody yet.

        Args:
            messages: the driver's.
            keep: called with each frame of a client before it counts as received.
        """
        self._messages, self._keep = messages, keep
        self._changed = threading.Condition()
        self._session: _Session | None = None
        self._since_s = time.monotonic()
        self._hellos: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self._answer: Callable[[Frame], Frame] | None = None
        self._kept = self._passed = 0  # frames of clients
        self._closed = self._hushed = False
        self.pending = 0  # calls that the client has yet to send
        self._expects = False  # whether a client of a driver before may come back

    def listen(self, folder: Path, name: str) -> None:
        """Listen at a socket in a folder. Raises OSError. Side effect: the folder becomes the current one."""
        os.chdir(folder)  # a socket's path has no more than 107 bytes
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)  # noqa: PTH108 - of a driver that was killed
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            listening.bind(name)
        finally:
            os.umask(before)
        listening.listen()
        for work in (functools.partial(self._accept_on, listening), self._watch):
            threading.Thread(target=work, name="clients", daemon=True).start()

    @property
    def connected(self) -> bool:
        """Whether a client is there now."""
        session = self._session
        return session is not None and session.connection is not None

    def expect(self) -> None:
        """Wait a while for the client of a driver that died, before the driver is told that it is gone."""
        self._since_s, self._expects = time.monotonic(), True

    def when_settled(self, work: Callable[[], None]) -> None:
        """Do something if the driver has been given every frame that was kept; none is kept meanwhile."""
        with self._changed:
            if self._kept == self._passed:
                work()

    def hush(self) -> None:
        """Tell clients nothing any more: this driver cannot go on, and the next one does."""
        self._hushed = True

    def hello(self, timeout_s: float) -> Frame | None:
        """What the next client asks for; None when none comes in time."""
        with contextlib.suppress(queue.Empty):
            return self._hellos.get(timeout=timeout_s)
        return None

    def answer(self, answer: Callable[[Frame], Frame]) -> None:
        """From now on, answer clients: the function has a `hello`, and returns `accepted` or `broken`."""
        with self._changed:
            self._answer = answer
            self._changed.notify_all()

    def say(self, frame: Frame) -> None:
        """Tell the client something, if there is one."""
        if (session := self._session) is not None:
            session.line.send(*pieces(frame))

    def close(self, *, patience_s: float) -> None:
        """Tell the client that nothing more comes, and wait until it has everything, but no longer than this."""
        self._closed = True
        if (session := self._session) is not None and session.connection is not None:
            session.line.end()
            session.line.all_confirmed(patience_s)

    def _accept_on(self, listening: socket.socket) -> None:
        with listening:
            while not self._closed:
                stream, _ = listening.accept()
                threading.Thread(target=self._serve, args=[stream], name="client", daemon=True).start()

    def _serve(self, stream: socket.socket) -> None:
        """Carry one connection until it breaks."""
        connection = SocketConnection(stream, silent_s=SILENT_S)
        try:
            said = hear(connection)
            session = self._session_of(str(said["session"]))
            if session is None:
                tell(connection, refused=IN_USE)
            else:
                self._carry(session, connection, their_received=int(said["received"]))
        except (OSError, EOFError, ValueError, KeyError):
            pass
        finally:
            connection.close()

    def _carry(self, session: _Session, connection: SocketConnection, *, their_received: int) -> None:
        if (before := session.connection) is not None:  # the client knows that it is broken
            before.close()
        with session.carrying:
            session.connection = connection
            try:
                tell(connection, received=session.line.received, new=not session.line.received)
                session.line.carry(connection, their_received=their_received)
            finally:
                session.connection, session.gone_s = None, time.monotonic()
        if session.line.ended:
            self._part(session)

    def _session_of(self, name: str) -> _Session | None:
        """The session of a client; None where another client is there."""
        with self._changed:
            session = self._session
            if session is not None and session.name == name:
                return session
            if session is not None and session.connection is not None:
                return None
        if session is not None:
            self._part(session)
        return self._begin(name)

    def _begin(self, name: str) -> _Session:
        def deliver(payload: memoryview) -> None:
            frame = parse(payload)
            with self._changed:
                self._kept += 1
            self._keep(payload)
            session.frames.put(frame)

        with self._changed:
            session = self._session = _Session(name, Line(deliver))
            self._expects = False
        threading.Thread(target=self._pass_on, args=[session], name="client", daemon=True).start()
        return session

    def _part(self, session: _Session) -> None:
        """A client has left, or does not come back."""
        with self._changed:
            if self._session is not session:
                return
            self._session, self._since_s = None, time.monotonic()
            self._changed.notify_all()
        session.frames.put(None)

    def _pass_on(self, session: _Session) -> None:
        """Give the driver what a client sends, in a thread of its own, once the driver has begun."""
        hello = session.frames.get()
        if hello is None:
            return
        self._hellos.put(hello)
        with self._changed:
            self._changed.wait_for(lambda: self._answer is not None)
            self._passed += 1
        answer = self._answer(hello) if self._answer is not None else hello
        session.line.send(*pieces(answer))
        accepted = answer.kind == "accepted"
        if accepted:
            self._messages.put(ClientHere(functools.partial(self._tell, session)))
        else:
            session.line.end()
        while (frame := session.frames.get()) is not None:
            if frame.kind == "pending":
                self.pending = int(frame.header["calls"])
            elif accepted:
                self._messages.put(FromClient(frame))
            with self._changed:
                self._passed += 1
        self.pending = 0
        if accepted:
            self._messages.put(ClientGone())

    def _tell(self, session: _Session, frame: Frame) -> None:
        if not self._hushed:
            session.line.send(*pieces(frame))

    def _watch(self) -> None:
        """Give up a client that does not come back."""
        while not self._closed:
            time.sleep(LOOK_S)
            session = self._session
            if session is not None and session.connection is None and time.monotonic() - session.gone_s > BACK_S:
                self._part(session)
            with self._changed:
                given_up = self._expects and time.monotonic() - self._since_s > BACK_S
                if given_up:
                    self._expects = False
                    self._messages.put(ClientGone())
