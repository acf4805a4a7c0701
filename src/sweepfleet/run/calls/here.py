"""The process that drives an Executor's calls on this machine.

    python -P -m sweepfleet.run.calls.here SOCKET

SOCKET is an inherited file descriptor: the client is at its other end. Standard output and error are the client's:
what calls print goes there.
"""

from __future__ import annotations

if __name__ == "__main__":  # before all else is imported
    from sweepfleet.slot.compiled import keep

    keep()

import contextlib
import gc
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sweepfleet.grid.errors import SweepfleetError
from sweepfleet.run.calls import wire
from sweepfleet.run.calls.driver import ClientGone, ClientHere, Driver, FromClient, Message
from sweepfleet.slot.calls.frames import Frame, FrameError, Reader, Writer
from sweepfleet.slot.calls.spec import Spec


def main(arguments: list[str]) -> int:
    """Serve the client until it has ended; returns an exit code."""
    fd = int(arguments[0])
    os.set_inheritable(fd, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the client decides
    return serve(Reader(fd), Writer(fd))


def serve(reader: Reader, writer: Writer) -> int:
    """Drive the calls of one client on this machine.

    Returns:
        0, or an error's exit code: the client has been told.
    """
    try:
        frame = reader.receive()
        if frame is None:
            return 0
        with contextlib.ExitStack() as stack:
            _drive(wire.Hello.read(frame), reader, writer, stack)
    except SweepfleetError as error:
        kind = "usage" if error.exit_code == 2 else "driver"
        with contextlib.suppress(OSError):
            writer.send(wire.broken(kind, str(error)))
        return error.exit_code
    except (FrameError, BrokenPipeError, ConnectionResetError):
        return 1
    return 0


def _drive(hello: wire.Hello, reader: Reader, writer: Writer, stack: contextlib.ExitStack) -> None:
    spec = spec_of(hello)
    ledger = None
    if hello.run is not None and hello.runs is not None:
        from sweepfleet.run.calls.durable import opened

        folder, ledger = stack.enter_context(opened(Path(hello.runs), hello.run))
        spec = replace(spec, mailboxes=str(folder.mailboxes))
    writer.send(wire.accepted())
    messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
    messages.put(ClientHere(telling(writer)))
    threading.Thread(target=read, args=(reader, messages), daemon=True, name="client").start()
    from sweepfleet.run.calls.engine import engine_here

    driver = Driver(messages, ledger=ledger, outlives=False)
    with engine_here(spec, messages.put, slots=slots_here(hello)) as engine:
        gc.freeze()
        driver.drive(engine)
    driver.farewell()


def spec_of(hello: wire.Hello) -> Spec:
    """What a client's slots are."""
    return Spec(
        cpus=hello.cpus,
        memory_bytes=hello.memory_bytes,
        timeout_s=hello.timeout_s,
        retries=hello.retries,
        path=hello.path,
        initializer=None if hello.initializer is None else bytes(hello.initializer),
    )


def slots_here(hello: wire.Hello) -> int:
    """How many calls run at once here: what was asked for, or what cores and memory have room for."""
    if hello.max_workers is not None:
        return hello.max_workers
    slots = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    slots //= hello.cpus
    if hello.memory_bytes:
        import psutil

        slots = min(slots, psutil.virtual_memory().total // hello.memory_bytes)
    return max(1, slots)


def telling(writer: Writer) -> Callable[[Frame], None]:
    """Writes to a client that may be gone: its reader says so."""

    def tell(frame: Frame) -> None:
        with contextlib.suppress(OSError):
            writer.send(frame)

    return tell


def read(reader: Reader, messages: queue.SimpleQueue[Message]) -> None:
    """Pass on what a client sends, until its stream ends."""
    with contextlib.suppress(FrameError, OSError):
        while (frame := reader.receive()) is not None:
            messages.put(FromClient(frame))
    messages.put(ClientGone())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
