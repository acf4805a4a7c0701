"""How a `pulumi` command ended: it failed, found a lock, or was interrupted."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from sweepfleet.fleet.errors import ClusterError, StoppedError
from sweepfleet.fleet.stack import foreground
from sweepfleet.fleet.stack.locks import LockedError, locks_in

# How an update ends that Ctrl-C stopped on a terminal, where that comes to Pulumi alone: with 1, 8, or even 0.
# Its log of events says so: pkg/backend/cancellation_scope.go, pkg/cmd/pulumi/cmd/exit_codes.go, pkg/backend/apply.go
KILLED = {-signal.SIGINT, -signal.SIGTERM}  # before it listens to signals
CANCELLED = "received; cancelling"
ANSWERED = re.compile(r"not proceeding with the .*: interrupt")


def failure(done: foreground.Ended, words: tuple[str, ...]) -> ClusterError:
    """The error of a command that failed, with what it said."""
    said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    locks = locks_in(done.stderr)
    if locks is not None:
        return LockedError(stack_of(words), locks)
    errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    return ClusterError(f"`pulumi {words[0]}`: {' '.join(errors) or ' '.join(said) or 'failed'}")


def stopped(done: foreground.Ended) -> StoppedError:
    """The error of a command that was interrupted."""
    return StoppedError("Interrupted.", number=done.signals[0] if done.signals else signal.SIGINT)


def require_uninterrupted(log: Path) -> None:
    """Raise StoppedError when an update's log of events says that it was cancelled."""
    if log.exists() and CANCELLED in log.read_text():
        raise StoppedError("Interrupted.")


def stack_of(words: tuple[str, ...]) -> str:
    """The stack that a command named."""
    return words[words.index("--stack") + 1] if "--stack" in words else "the stack"
