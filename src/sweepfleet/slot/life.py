"""Ends a child process, and gets its exit code from its supervisor (`slot.supervisor`) through a socket."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading

from sweepfleet.slot.supervisor import ENDED

EXIT_S = 5.0  # for a child that has closed its pipe to end


class Life:
    """The owner's end of the socket; thread-safe."""

    def __init__(self, supervisor: socket.socket) -> None:
        """Start with no job; `supervisor` is the socket of the supervisor."""
        self._supervisor = supervisor
        self.process: subprocess.Popen[bytes] | None = None  # to wait for in the end, where it is our own child
        self._lock = threading.Lock()
        self._code: int | None = None  # the exit code
        self._lost = False  # whether its exit code is unknown
        self._failure: OSError | None = None  # why it never began
        self._poll = select.poll()
        self._poll.register(supervisor, select.POLLIN)
        self.begin_job()

    def begin_job(self) -> None:
        """Count what the kernel kills for memory from now on."""
        self._oom_kills = oom_kills()

    def kill(self) -> int:
        """End the process and all that it started, if it has not ended; what it finished can still be collected.

        Returns:
            the exit code, negative for a signal.
        """
        with contextlib.suppress(OSError):  # its supervisor, which does it, may be gone
            self._supervisor.send(b"k")
        code = self.ended(None)
        if code is None:
            raise AssertionError("a wait without a limit ended")  # pragma: no cover
        return code

    def exit_code(self) -> int | None:
        """End a child that has closed its pipe, with its group; None when it had closed it, but went on.

        Raises OSError when it never began, for want of memory or processes.
        """
        if self.ended(EXIT_S) is None:
            self.kill()
            return None
        if self._failure is not None:
            raise self._failure
        return self._code

    def ended(self, timeout_s: float | None) -> int | None:
        """Its exit code, which its supervisor sends when all its processes are gone; None after the time limit."""
        with self._lock:
            if self._code is None and self._poll.poll(None if timeout_s is None else timeout_s * 1000):
                said = b""
                with contextlib.suppress(ConnectionResetError):
                    said = self._supervisor.recv(ENDED.size)
                ended = self.process.wait() if self.process is not None else 0
                if len(said) < ENDED.size:  # it never began, or its supervisor was killed, and the child with it
                    self._lost = True
                    self._code = ended or -signal.SIGKILL
                elif (status := ENDED.unpack(said)[0]) < 0:
                    self._failure = OSError(-status, os.strerror(-status))
                    self._code = -signal.SIGKILL
                else:
                    self._code = os.waitstatus_to_exitcode(status)
            return self._code

    def killed_for_memory(self) -> bool:
        """Whether the kernel has killed a process for memory since this child was given its job, and maybe this one.

        One that ended with its template or its supervisor is not meant.
        """
        return not self._lost and oom_kills() > self._oom_kills


def oom_kills() -> int:
    """The number of processes that the kernel has killed for memory since boot; 0 where it is unknown."""
    with contextlib.suppress(OSError), open("/proc/vmstat") as lines:  # noqa: PTH123 - a kernel file
        for line in lines:
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
