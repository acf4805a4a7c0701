"""The child of a slot that executes calls, one after the other.

    python -P -m sweepfleet.slot.calls.child MESSAGES TOKENS MAILBOX LIFE

The arguments are inherited file descriptors. MESSAGES is a socket: orders, functions and jobs come in, and it is told
when a job has ended. A token of the pipe TOKENS is taken before each call (`slot.calls.tokens`), and what came of it
is appended to MAILBOX (`slot.calls.mailbox`). LIFE is for the supervisor, the process above this one
(`slot.supervisor`). Standard output and error are the user's.
"""

from __future__ import annotations

if __name__ == "__main__":  # before all else is imported
    from sweepfleet.slot.compiled import keep

    keep()

import contextlib
import faulthandler
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from sweepfleet.slot import copies, inside
from sweepfleet.slot.calls.batch import Call, Outcome, unpack_calls
from sweepfleet.slot.calls.frames import Frame, Reader, Writer
from sweepfleet.slot.calls.mailbox import append
from sweepfleet.slot.calls.pickling import dumps, dumps_error
from sweepfleet.slot.calls.tokens import take
from sweepfleet.slot.supervisor import supervise


class Functions:
    """The functions that this process has got, each made when it is first called."""

    def __init__(self) -> None:
        self._pickled: dict[str, bytearray] = {}
        self._made: dict[str, Callable[..., Any]] = {}

    def add(self, frame: Frame) -> None:
        """Take a function from a message."""
        self._pickled[frame.header["digest"]] = frame.buffers[0]  # type: ignore[assignment]

    def forget(self, digests: Sequence[str]) -> None:
        """Drop functions that will not be called again."""
        for digest in digests:
            self._pickled.pop(digest, None)
            self._made.pop(digest, None)

    def get(self, digest: str) -> Callable[..., Any]:
        """A function. Raises whatever its making does."""
        if digest not in self._made:
            self._made[digest] = pickle.loads(self._pickled[digest])  # noqa: S301 - of the user's own process
            del self._pickled[digest]
        return self._made[digest]


def main(arguments: list[str]) -> None:
    """Execute jobs until the owner closes the socket."""
    messages_fd, tokens_fd, mailbox_fd, life_fd = fds = list(map(int, arguments))
    for fd in fds:
        os.set_inheritable(fd, False)  # what a call starts must not keep them open
    supervise(life_fd, messages_fd, tokens_fd, mailbox_fd)
    with contextlib.suppress(OSError, ValueError, AttributeError):  # no standard error
        faulthandler.enable()  # a crash says where it was
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which the driver ignores
    inside.a_point = True
    reader, writer = Reader(messages_fd), Writer(messages_fd)
    os.register_at_fork(after_in_child=lambda: copies.give_up(messages_fd, tokens_fd, mailbox_fd))
    functions = Functions()
    while (frame := reader.receive()) is not None:
        match frame.kind:
            case "order":
                if why := _begin(frame):
                    writer.send(Frame({"kind": "refused", "why": why}))
                    return
            case "function":
                functions.add(frame)
            case "forget":
                functions.forget(frame.header["digests"])
            case "job":
                attempt = frame.header["attempt"]
                for call in unpack_calls(frame):
                    if not take(tokens_fd):
                        break
                    append(mailbox_fd, _outcome(call, functions, attempt))
                del frame
                writer.send(Frame({"kind": "ended"}))


def _begin(frame: Frame) -> str | None:
    """Be what the order says; returns the traceback of an initializer that raised."""
    if frame.header["path"] is not None:
        sys.path[:] = frame.header["path"]
    if frame.buffers:
        try:
            initializer, arguments = pickle.loads(frame.buffers[0])  # noqa: S301 - of the user's own process
            initializer(*arguments)
        except BaseException:  # noqa: BLE001 - whatever it is, no call can be executed here
            return traceback.format_exc()
    return None


def _outcome(call: Call, functions: Functions, attempt: int) -> Outcome:
    started, begin = time.time(), time.perf_counter()
    pid = os.getpid()
    try:
        function = functions.get(call.function)
        arguments, keywords = pickle.loads(call.arguments.data, buffers=call.arguments.outside)  # noqa: S301
        value, raised = function(*arguments, **keywords), False
        del arguments, keywords
    except BaseException as error:  # noqa: BLE001 - a call that fails is an outcome, sys.exit() too
        value, raised = error, True
    wall_s = time.perf_counter() - begin
    if os.getpid() != pid:
        copies.end(value if raised else None)
    packed = dumps_error(value) if raised else None
    if packed is None:
        try:
            packed = dumps(value)
        except BaseException as error:  # noqa: BLE001 - by the result's own methods
            packed, raised = dumps_error(error), True
    return Outcome(call.index, packed, raised, wall_s, call.key, attempt, started)


if __name__ == "__main__":
    # The protocol's end of a socket may vanish at any time when the owner is killed.
    try:
        main(sys.argv[1:])
    except (BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        os._exit(1)
