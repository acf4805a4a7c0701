"""Ends a kernel that nobody uses. One that computes is in use, and so is one with active tasks on the cluster."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ALIVE = "sweepfleet_alive"  # a message that no front end shows, and that counts as activity


class Activity:
    """When a kernel was last used."""

    def __init__(self, shell: Any, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._runs = False
        self._last_s = clock()
        shell.events.register("pre_execute", self._begin)
        shell.events.register("post_execute", self._end)

    def _begin(self) -> None:
        self._runs = True

    def _end(self) -> None:
        self._runs, self._last_s = False, self._clock()

    def idle_s(self) -> float:
        """For how long it has not been used."""
        if self._runs or has_tasks():
            self._last_s = self._clock()
        return self._clock() - self._last_s


def has_tasks() -> bool:
    """Whether a client or an Executor of this process waits for tasks of the cluster."""
    calls = sys.modules.get("sweepfleet.api.calls.client")
    if calls is not None and calls.open_calls():
        return True
    client = sys.modules.get("distributed.client")
    if client is None:
        return False
    return any(
        future.status == "pending"
        for each in list(client.Client._instances)  # noqa: SLF001 - all of them, whoever has made them
        for future in list(each.futures.values())
    )


def watch(activity: Activity, kernel: Any, idle_s: float, ended: Path | None) -> None:
    """End this process when its kernel was idle for a while; `ended` is told why.

    Where there is no such file, another ends idle kernels, and hears of this one while its tasks are active.
    """
    while activity.idle_s() < idle_s or ended is None:
        if ended is None and has_tasks():
            kernel.session.send(kernel.iopub_socket, ALIVE, {})
        time.sleep(min(15.0, idle_s / 4))
    ended.write_text(f"{idle_s:.0f} s without a command")
    print(f"the console ends: {idle_s:.0f} s without a command", file=sys.__stderr__, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
