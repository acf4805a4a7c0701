"""Joins standard input and output to the socket of a driver of calls: `relay FOLDER`, as root, over SSH.

Standard library, with the system's Python. It first says lines of JSON, what the job is doing, until the driver
answers: `{"connected": true}`, after which every byte is the line's. `{"ended": ...}`: there is no such active job.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path

from sweepfleet.machine.job import JobFolder

LOOK_S = 0.1
CHUNK_BYTES = 1 << 18


def connect(folder: JobFolder) -> socket.socket | None:
    """A connection to the job's driver; None when the job is not active. Says meanwhile what it waits for."""
    os.chdir(folder.path)  # a socket's path has no more than 107 bytes
    said = ""
    while True:
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            stream.connect(folder.socket.name)
        except OSError:
            stream.close()
        else:
            return stream
        if not folder.active.exists():
            return None
        now = folder.read_progress()
        waiting = str(now.get("waiting_for") or now.get("state") or "starting")
        if waiting != said:
            say(waiting=waiting)
            said = waiting
        time.sleep(LOOK_S)


def say(**what: object) -> None:
    """One line of JSON."""
    print(json.dumps(what), flush=True)


def join(stream: socket.socket) -> None:
    """Pass bytes both ways, until one side ends."""

    def forth() -> None:
        with contextlib.suppress(OSError):
            while data := os.read(0, CHUNK_BYTES):
                stream.sendall(data)
        with contextlib.suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)

    threading.Thread(target=forth, daemon=True).start()
    with contextlib.suppress(OSError):
        while data := stream.recv(CHUNK_BYTES):
            left = memoryview(data)
            while left:
                left = left[os.write(1, left) :]


def main() -> int:
    """Do as the command line says."""
    folder = JobFolder(Path(sys.argv[1]))
    if not folder.path.is_dir():
        say(ended={})
        return 0
    stream = connect(folder)
    if stream is None:
        say(ended={key: folder.read_progress().get(key) for key in ("state", "exit_code", "error")})
        return 0
    with stream:
        say(connected=True)
        join(stream)
    return 0


if __name__ == "__main__":
    sys.exit(main())
