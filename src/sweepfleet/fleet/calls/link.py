"""The way from an Executor to the driver of its calls on a cluster: it outlives broken connections, and drivers.

Frames go over a line (`run.calls.line`), whose connections come one after the other. A driver that was killed is
followed by another one, which knows nothing of this client: it is asked again for what is open.
"""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
import uuid
from collections.abc import Callable
from typing import Protocol

from sweepfleet.fleet.calls.ended import NotActiveError
from sweepfleet.fleet.errors import ClusterError
from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.run.calls import wire
from sweepfleet.run.calls.line import Connection, Line, hear, tell
from sweepfleet.run.calls.open_calls import OpenCalls
from sweepfleet.run.pauses import pauses
from sweepfleet.slot.calls.frames import Frame, parse, pieces

PATIENCE_S = 600.0  # to get a broken connection back: a head that reboots, a laptop that changes networks
LONGEST_PAUSE_S = 5.0
LEAVE_S = 10.0  # for what was sent to arrive, when the client leaves
LOOK_S = 1.0
TOLD_S = 5.0  # an interruption that is over sooner is not told
EXIT_USAGE = UsageError.exit_code
LOST = (
    "The driver on the head has ended, and with it the calls that it had. With run= results are kept, and the next "
    'driver goes on: sf.Executor(stack=..., run="name").'
)


class Cluster(Protocol):
    """A cluster, as a link knows it."""

    def connect(self) -> Connection:
        """A connection to the driver, once it answers. Raises NotActiveError, ClusterError, HostKeyError."""

    def start(self) -> None:
        """Have the head start a driver, unless there is one. Raises SweepfleetError."""


class Link:
    """See `api.calls.way.Way`: `send` and `receive` frames, and `close`."""

    def __init__(self, cluster: Cluster, *, durable: bool, pending: Callable[[], int] = lambda: 0) -> None:
        """Connect, in a thread of its own.

        Args:
            cluster: with an active job, or without.
            durable: whether the driver keeps results, so that another one can go on.
            pending: how many calls the client has yet to send.
        """
        self._cluster, self._durable, self._pending = cluster, durable, pending
        self._lock = threading.RLock()
        self._open = OpenCalls()
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._connection: Connection | None = None
        self._said_pending = 0
        self._over = False  # whether the driver has said its last word
        self._begin()
        self._thread = threading.Thread(target=self._run, name="sweepfleet link", daemon=True)
        self._thread.start()
        threading.Thread(target=self._tell_pending, name="sweepfleet link", daemon=True).start()

    def send(self, frame: Frame) -> None:
        """Send a frame: now, or when there is a connection again."""
        with self._lock:
            self._open.sent(frame)
            self._line.send(*pieces(frame))

    def receive(self) -> Frame | None:
        """The next frame; None at the end."""
        return self._frames.get()

    def tell(self, frame: Frame) -> None:
        """Have the client receive a frame that no driver has sent."""
        self._frames.put(frame)

    def close(self) -> None:
        """Leave: what was sent arrives, if there is a connection."""
        with self._lock:
            line, connection = self._line, self._connection
        if connection is not None:
            line.end()
            line.all_confirmed(LEAVE_S)
        self._closed.set()
        if connection is not None:
            connection.close()
        self._thread.join()

    def _begin(self) -> None:
        """Begin a line with a driver that does not know this client."""
        self._session = uuid.uuid4().hex
        self._line = Line(self._deliver)

    def _begin_again(self) -> None:
        with self._lock:
            self._begin()
            self._said_pending = -1
            for frame in self._open.again():
                self._line.send(*pieces(frame))

    def _deliver(self, payload: memoryview) -> None:
        with self._lock:
            frame = self._open.received(parse(payload))
        if frame is not None:
            self._over = self._over or frame.kind in ("done", "broken")
            self._frames.put(frame)

    def _run(self) -> None:
        try:
            self._stay_connected()
        except SweepfleetError as error:
            kind = "usage" if error.exit_code == EXIT_USAGE else "cluster"
            self._frames.put(wire.broken(kind, str(error)))
        except Exception as error:  # noqa: BLE001 - the client must hear of a defect of ours
            self._frames.put(wire.broken("cluster", repr(error)))
        self._frames.put(None)

    def _stay_connected(self) -> None:
        """Have one connection after the other, until the line ends.

        Raises:
            SweepfleetError: it cannot go on.
        """
        lost_s: float | None = None  # time.monotonic() since when there is no connection, which there was
        broke_s = math.inf  # since when the one before is broken, which may take no failed try: a head that is woken
        waits = pauses(longest_s=LONGEST_PAUSE_S)
        while not self._closed.is_set():
            try:
                connection = self._cluster.connect()
                if lost_s is not None or time.monotonic() - broke_s > TOLD_S:
                    self._say("The connection is back.")
                    lost_s = None
                carried = self._carry(connection)
                broke_s = time.monotonic()
            except NotActiveError as ended:
                if code := ended.said.get("exit_code"):  # it was cancelled or refused, or has cost its budget
                    raise (UsageError if code == EXIT_USAGE else ClusterError)(str(ended)) from None
                if not self._line.fresh and not self._durable:
                    raise ClusterError(LOST) from None
                self._cluster.start()
                carried = False
            except ClusterError as error:
                if not _passes(error):
                    raise
                if lost_s is None:
                    lost_s = time.monotonic()
                    self._say(f"There is no connection to the head. Trying again. ({error})")
                if time.monotonic() - lost_s > PATIENCE_S:
                    more = (
                        " The calls that were sent go on; the same run finds their results." if self._durable else ""
                    )
                    raise ClusterError(f"{error}{more}") from None
                carried = False
            if self._line.ended or self._over:
                return
            if carried:
                waits = pauses(longest_s=LONGEST_PAUSE_S)
            self._closed.wait(next(waits))

    def _carry(self, connection: Connection) -> bool:
        """Carry the line over a connection until it breaks; whether there was a line. Errors as of the above."""
        with contextlib.suppress(OSError, EOFError, ValueError):
            tell(connection, session=self._session, received=self._line.received)
            said = hear(connection)
            if "refused" in said:
                connection.close()
                raise RefusedError(str(said["refused"]))
            if said["new"] and not self._line.fresh:  # another driver than before
                connection.close()
                if not self._durable:
                    raise RefusedError(LOST)
                self._begin_again()
                return True
            with self._lock:
                self._connection = connection
            if not self._closed.is_set():
                self._line.carry(connection, their_received=int(said["received"]))
        connection.close()
        with self._lock:
            self._connection = None
        return True

    def _say(self, text: str) -> None:
        self.tell(wire.say(text))

    def _tell_pending(self) -> None:
        """Tell the driver how many calls wait here, when that has changed: workers are asked for by it."""
        while not self._closed.wait(LOOK_S):
            now = self._pending()
            if now != self._said_pending:
                self._said_pending = now
                with self._lock:
                    self._line.send(*pieces(wire.pending(now)))


class RefusedError(ClusterError):
    """The driver does not serve this client."""


def _passes(error: ClusterError) -> bool:
    """Whether it may be over soon."""
    from sweepfleet.fleet.reach.host_keys import HostKeyError, NotYetError
    from sweepfleet.fleet.stack.gone import DownError

    return isinstance(error, NotYetError) or not isinstance(error, RefusedError | HostKeyError | DownError)
