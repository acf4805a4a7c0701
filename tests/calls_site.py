"""A scheduler, workers and drivers of calls on loopback, each in a process of its own, and a client of theirs.

As a module it is the driver's program: `python -m tests.calls_site FOLDER ADDRESS OPTIONS`.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle

from sweepfleet.fleet.calls.ended import NotActiveError
from sweepfleet.fleet.calls.link import Link
from sweepfleet.fleet.errors import ClusterError
from sweepfleet.run.calls import wire
from sweepfleet.run.calls.durable import opened
from sweepfleet.run.calls.far import FarDriver, check
from sweepfleet.run.calls.far_engine import far_engine
from sweepfleet.run.calls.here import spec_of
from sweepfleet.run.calls.line import Connection, SocketConnection
from sweepfleet.run.calls.spool import Spool
from sweepfleet.run.engine_errors import ClusterError as EngineError
from sweepfleet.run.machine_port import OWN_MACHINE
from sweepfleet.slot.calls.batch import Call, Outcome
from sweepfleet.slot.calls.frames import Frame
from sweepfleet.slot.calls.pickling import dumps
from tests.dask_site import DaskSite
from tests.support import eventually

SLOTS = 2
RUN = "kept"
SOCKET = "calls.sock"
WAIT_S = 60.0


class Nobody:
    """An observer that notes what it is told, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.slots = 0

    def saw(self, outcomes: Sequence[Outcome]) -> None:
        """Not of interest."""

    def resized(self, slots: int) -> None:
        self.slots = slots

    def look(self, *, open_calls: int, pending: int, connected: bool, settled: bool) -> None:
        said = {
            "settled": settled,
            "open": open_calls,
            "pending": pending,
            "connected": connected,
            "slots": self.slots,
        }
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(said))
        beside.replace(self._path)

    def spent(self) -> str:
        return "It is spent." if self._path.with_name("spent").exists() else ""


def slots_of(folder: Path) -> int:
    """How many slots the driver before had last."""
    return int(json.loads((folder / "said.json").read_text())["slots"])


def drive(folder: Path, address: str, options: Sequence[str]) -> None:
    """Be a driver, as `machine.head.run_calls` is one; starts again as systemd has it, by ending with 75."""
    durable = "--durable" in options
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(opened(folder / "runs", RUN))[1] if durable else None
        driver = FarDriver(ledger, Spool(folder / "spool") if durable else None, Nobody(folder / "said.json"))
        driver.sessions.listen(folder, SOCKET)
        asked = driver.hello(WAIT_S)
        if asked is None:
            return
        check(asked)
        spec = replace(spec_of(asked), folder=str(folder))
        engine = far_engine(
            spec,
            driver.tell,
            address=address,
            digest="kept" if durable else f"{os.getpid()}",
            root=folder,
            machine=OWN_MACHINE,
            max_workers=asked.max_workers,
            ahead=4096 if durable else 2,
            slots_before=slots_of(folder) if durable and "--again" in options else 0,
            stays=lambda: durable,
        )
        try:
            driver.drive(asked, engine)
        except EngineError as error:
            print(error, flush=True)
            os._exit(75)


class Site(DaskSite):
    """All of it. A call is a function of `path`'s module `far`, which notes each call that begins and ends."""

    def __init__(self, path: Path, *, workers: int = 1) -> None:
        super().__init__(path, workers=workers, slots=SLOTS)
        self.driver: subprocess.Popen[bytes] | None = None
        self.durable = False

    def start_driver(self, *options: str) -> None:
        durable = ["--durable"] if self.durable else []
        self.driver = self.start("-m", "tests.calls_site", str(self.path), self.address, *durable, *options)

    def kill_driver(self) -> None:
        """SIGKILL it, and start the next one, as systemd does."""
        assert self.driver is not None
        self.driver.kill()
        self.driver.wait()
        self.start_driver("--again")

    # As `fleet.calls.link.Cluster`:

    def connect(self) -> Connection:
        stream = socket.socket(socket.AF_UNIX)
        folder = os.open(self.path, os.O_PATH)
        try:
            stream.connect(f"/proc/self/fd/{folder}/{SOCKET}")  # a socket's path has no more than 107 bytes
        except OSError as error:
            stream.close()
            if self.driver is None or (code := self.driver.poll()) == 0:
                raise NotActiveError({}) from None
            if code == 75:
                self.start_driver("--again")
            raise ClusterError(f"nobody answers: {error}") from None
        finally:
            os.close(folder)
        return SocketConnection(stream)

    def start_job(self) -> None:
        self.start_driver()

    def said(self) -> dict[str, Any]:
        with contextlib.suppress(OSError):
            found: dict[str, Any] = json.loads((self.path / "said.json").read_text())
            return found
        return {}

    def begun(self) -> Counter[int]:
        """How often each call has begun."""
        file = self.path / "begun"
        return Counter(map(int, file.read_text().split())) if file.exists() else Counter()

    def kept(self) -> dict[str, float]:
        """When each call that the ledger has was started, by key."""
        ledger = self.path / "runs" / RUN / "calls.sqlite"
        if not ledger.exists():
            return {}
        with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as opened_:
            return dict(opened_.execute("SELECT key, started FROM calls WHERE status = 'done'").fetchall())


class Cluster:
    """The site as a link knows it; `cut` breaks its connection."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.connections: list[Connection] = []
        self.away = False

    def connect(self) -> Connection:
        if self.away:
            raise ClusterError("the network is gone")
        connection = self._site.connect()
        self.connections.append(connection)
        return connection

    def start(self) -> None:
        self._site.start_job()

    def cut(self) -> None:
        self.connections[-1].close()


class Calls:
    """A client: its calls by index, and what has come of them."""

    def __init__(self, site: Site, **asked: Any) -> None:
        self.cluster = Cluster(site)
        self.link = Link(self.cluster, durable=site.durable)
        self.outcomes: dict[int, Outcome] = {}
        self.said: list[str] = []
        self.slots = 0
        self._calls: dict[int, Call] = {}
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        threading.Thread(target=self._receive_on, daemon=True).start()
        self.link.send(
            wire.Hello(path=(str(site.path), *sys.path), run=RUN if site.durable else None, **asked).frame()
        )

    def function(self, name: str, function: Callable[..., Any]) -> None:
        module = sys.modules[function.__module__]
        cloudpickle.register_pickle_by_value(module)
        try:
            self.link.send(wire.function(name, cloudpickle.dumps(function), name=name))
        finally:
            cloudpickle.unregister_pickle_by_value(module)

    def submit(self, function: str, arguments: Sequence[tuple[Any, ...]], *, first: int = 0, keys: bool) -> None:
        """One bundle a call."""
        for index, each in enumerate(arguments, first):
            self._calls[index] = Call(index, function, dumps((each, {})), f"{function}-{index}" if keys else None)
            self.link.send(wire.bundle(index, [self._calls[index]]))

    def bundle(self, function: str, arguments: Sequence[tuple[Any, ...]], *, first: int = 0) -> None:
        """All in one bundle."""
        calls = [Call(index, function, dumps((each, {}))) for index, each in enumerate(arguments, first)]
        self._calls |= {call.index: call for call in calls}
        self.link.send(wire.bundle(first, calls))

    def handle(self, *, until: Callable[[], bool]) -> None:
        """Take frames until something is so."""
        while not until():
            frame = self._frames.get(timeout=WAIT_S)
            assert frame is not None, "the line has ended"
            self._take(frame)

    def _receive_on(self) -> None:
        while (frame := self.link.receive()) is not None:
            self._frames.put(frame)
        self._frames.put(None)

    def _take(self, frame: Frame) -> None:
        match frame.kind:
            case "results":
                for outcome in wire.outcomes_of(frame):
                    assert outcome.index not in self.outcomes, "a call has two outcomes"
                    self.outcomes[outcome.index] = outcome
            case "returned":
                for index in frame.header["indexes"]:
                    self.link.send(wire.bundle(index, [self._calls[index]]))
            case "say":
                self.said.append(frame.header["text"])
            case "ready" | "slots":
                self.slots = frame.header["slots"]
            case "broken":
                raise AssertionError(frame.header["why"])

    def all_ended(self) -> bool:
        return len(self.outcomes) == len(self._calls)

    def ends(self) -> None:
        """Say that no more calls come, and take what does until the driver has ended."""
        self.link.send(wire.end())
        while (frame := self._frames.get(timeout=WAIT_S)) is not None:
            self._take(frame)


@contextlib.contextmanager
def site(path: Path, *, durable: bool, workers: int = 1) -> Iterator[Site]:
    """A site with a driver, ended afterwards."""
    made = Site(path, workers=workers)
    made.durable = durable
    try:
        made.start_driver()
        eventually((path / SOCKET).exists, "the driver listens")
        yield made
    finally:
        made.close()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    drive(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
