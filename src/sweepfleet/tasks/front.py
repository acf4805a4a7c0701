"""What all tasks share: errors become exit codes, paths and flags become values."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit

from sweepfleet.fleet.errors import NO_CLUSTER, OF_A_CLUSTER
from sweepfleet.tasks.asking import can_ask

BORN_S = time.time()
NEW_HEAD_S = 300  # in which a head that was just made answers
STACK_HELP = "the stack; by default the one that is up, or that is selected in Pulumi, or dev"


def project_here() -> Path:
    """The root of the project that the current folder is in; without one, the folder itself."""
    from sweepfleet.grid.project_root import project_around

    return project_around(Path.cwd()) or Path.cwd()


def open_fleet(stack: str, *, root: Path | None = None) -> Any:
    """The cluster that a task means, of the project at `root` or of the one here."""
    from sweepfleet.fleet.fleet import open_fleet

    return open_fleet(root or project_here(), asked=stack)


def open_stack(stack: str, **options: Any) -> Any:
    """The stack that a task means, up or not; what it has to say is printed at once."""
    from sweepfleet.fleet.stack.stack import open_stack

    return open_stack(project_here(), asked=stack, say=functools.partial(print, flush=True), **options)


def open_stack_to_change(stack: str, *, makes: bool = False, **options: Any) -> Any:
    """The same with what Pulumi needs to change it: a passphrase is asked for where the shell has none."""
    import getpass

    return open_stack(stack, **options).unlocked(getpass.getpass if can_ask() else None, makes=makes)


def nobody_reads() -> Exit:
    """The end of a command whose reader has had enough, as of `| head`; what is still written goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its end
    return Exit(code=141)  # as a shell says of a process that SIGPIPE ended


def speaking(body: Callable[..., None]) -> Callable[..., None]:
    """Turn the errors that a user can act on into a message and an exit code; any other keeps its traceback."""

    @functools.wraps(body)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        from sweepfleet.grid.errors import SweepfleetError, printable

        try:
            body(*args, **kwargs)
            sys.stdout.flush()
        except BrokenPipeError:
            raise nobody_reads() from None
        except ModuleNotFoundError as error:
            if str(error.name).partition(".")[0] not in OF_A_CLUSTER:
                raise
            raise Exit(f"error: {NO_CLUSTER}", 2) from None
        except SweepfleetError as error:
            if error.at_once:
                print(f"error: {printable(str(error))}", file=sys.stderr, flush=True)
                os._exit(error.exit_code)
            if error.exit_code:
                raise Exit(f"error: {printable(str(error))}", error.exit_code) from None
            print(printable(str(error)))
        except KeyboardInterrupt:
            kept = " Finished points are kept; the same command resumes." if body.__name__ == "sweep" else ""
            raise Exit(f"Stopped.{kept}", 130) from None

    return wrapped


def open_steps(*, aside: bool) -> Any:
    """Steps of a command; on standard error (`aside`) where standard output has what it is for."""
    from rich.console import Console

    from sweepfleet.fleet.steps import Steps

    def say(text: str) -> None:
        print(text, file=sys.stderr if aside else sys.stdout, flush=True)  # whichever it is now: a bar takes it over

    return Steps(say=say, console=Console(stderr=aside))


def runs_folder(c: Context, *, root: Path | None = None) -> Path:
    """The folder of all runs: `INVOKE_RUNS`, or runs/ in the project at `root`, or in the one here."""
    return ((root or project_here()) / str(c.config.runs)).absolute()


def integer(text: str, flag: str) -> int | None:
    """A flag's number; None when it was not given."""
    from sweepfleet.grid.errors import UsageError

    try:
        return int(text) if text else None
    except ValueError:
        raise UsageError(f"{flag} {text!r} is not a whole number.") from None


def number(text: str, flag: str, *, least: int) -> int:
    """A flag's number, at least so large."""
    from sweepfleet.grid.errors import UsageError

    found = integer(text, flag)
    if found is None or found < least:
        raise UsageError(f"{flag} {text!r} is too small: at least {least}.")
    return found


@contextlib.contextmanager
def quiet_interrupt() -> Iterator[None]:
    """Around what Ctrl-C is the usual end of: nothing is said then."""
    try:
        yield
    except KeyboardInterrupt:
        raise Exit(code=130) from None


def shown(path: Path) -> str:
    """A path as short as it can be from here."""
    from sweepfleet.grid.wording import from_here

    return from_here(path)
