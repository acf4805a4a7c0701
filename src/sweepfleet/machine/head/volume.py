"""The head's data volume grows while it is in use: its file system gets what EBS has added. As root."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from sweepfleet.machine.facts import Facts

POLL_S = 5.0
MOUNTS = Path("/proc/self/mounts")


def device_of(mount: Path) -> str:
    """The device of a mounted file system; "" where nothing is mounted. The last mount counts."""
    found = ""
    for line in MOUNTS.read_text().splitlines():
        device, place, *_ = line.split()
        found = device if place == str(mount) else found
    return found


def size_of(device: str) -> int:
    """A block device's size in bytes, now."""
    number = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(number, 0, os.SEEK_END)
    finally:
        os.close(number)


def grow(mount: Path, *, before: int) -> int:
    """Grow a mounted file system when its device is not of the size that it was before.

    Args:
        mount: where it is mounted.
        before: the device's size when its file system was last grown; 0: not known.

    Returns:
        the size that the file system has been grown to; `before` where it could not be.
    """
    device = device_of(mount)
    if not device:
        return before
    size = size_of(device)
    if size == before:
        return before
    done = subprocess.run(["resize2fs", device], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{mount} cannot be grown: {done.stderr.strip()}", flush=True)
        return before
    if before:
        print(f"{mount} has grown from {before / 1e9:.1f} to {size / 1e9:.1f} GB", flush=True)
    return size


def serve(mount: Path) -> None:
    """Do so for ever."""
    before = 0
    while True:
        before = grow(mount, before=before)
        time.sleep(POLL_S)


if __name__ == "__main__":
    serve(Path(Facts.read().data))
