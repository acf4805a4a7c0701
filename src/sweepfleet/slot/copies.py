"""A copy of a runner's child that a point or a call forked: it must not speak or go on in the child's name."""

from __future__ import annotations

import contextlib
import os
from typing import NoReturn


def give_up(*fds: int) -> None:
    """Close the protocol in a copy, so that the owner sees when the child itself ends."""
    null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in fds:
        with contextlib.suppress(OSError):
            os.dup2(null_fd, fd, inheritable=False)
    os.close(null_fd)


def end(error: BaseException | None) -> NoReturn:
    """End a copy that has returned from the point, or raised `error`."""
    code = error.code if isinstance(error, SystemExit) else None if error is None else 1
    os._exit(code & 0xFF if isinstance(code, int) else int(code is not None))
