"""What an Executor's own arguments may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sweepfleet.api.arguments import FOLDER, STACK, is_path, is_stack, shown
from sweepfleet.api.calls.errors import ArgumentsError
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.run_names import ALLOWED, is_run_name


def pickled_initializer(initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> bytes | None:
    """The initializer with its arguments, for other processes. Raises UsageError: it cannot be sent."""
    if initializer is None:
        return None
    from sweepfleet.slot import cloudpickled

    try:
        return cloudpickled.dumps((initializer, initargs))
    except Exception as error:
        raise UsageError(
            f"The initializer cannot be sent to another process: {error}. Make it of plain data."
        ) from error


def _is_fleet(value: Any) -> bool:
    """Whether it is a cluster, or `fleet` of a console or a notebook."""
    from sweepfleet.machine.head.fleet_here import FleetHere

    return isinstance(value, FleetHere) or is_stack(value)


def checked(
    *,
    max_workers: Any,
    stack: Any,
    run: Any,
    cpus: Any,
    memory: Any,
    timeout: Any,
    retries: Any,
    initializer: Any,
    initargs: Any,
    runs: Any,
) -> tuple[int | None, float | None]:
    """Memory in bytes and the timeout in seconds.

    Raises:
        ArgumentsError: arguments that cannot be used; has all problems.
        TypeError: the initializer cannot be called, as of the standard library's executors.
    """
    problems: list[str] = []
    for name, value, least in (("max_workers", max_workers, 1), ("cpus", cpus, 1), ("retries", retries, 0)):
        if name == "max_workers" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            than = "must be greater than 0" if least else "must be 0 or greater"
            problems.append(f"{name} {than}, as a whole number; it is {shown(value)}.")
    if initializer is not None and not callable(initializer):
        raise TypeError("initializer must be a callable")
    for name, value, fits, allowed in (
        ("stack", stack, _is_fleet, STACK.is_),
        ("run", run, _is_run, f"the name of a folder in runs/, of {ALLOWED}"),
        ("runs", runs, is_path, FOLDER.is_),
    ):
        if value is not None and not fits(value):
            problems.append(f"{name} is {allowed}; it is {shown(value)}.")
    if not isinstance(initargs, Iterable):
        problems.append(f"initargs is a tuple; it is {shown(initargs)}.")
    found: list[Any] = []
    for name, value in (("memory", memory), ("timeout", timeout)):
        known, allowed = _quantity(name, value)
        found.append(known)
        if allowed:
            problems.append(f"{name} is {allowed}; it is {shown(value)}.")
    if problems:
        raise ArgumentsError("Executor: " + " ".join(problems))
    return found[0], found[1]


def _is_run(value: Any) -> bool:
    return isinstance(value, str) and is_run_name(value)


def _quantity(name: str, value: Any) -> tuple[Any, str]:
    """A size in bytes, or a duration in seconds; and what is allowed, where it is none."""
    if value is None:
        return None, ""
    from sweepfleet.grid import fields  # pydantic takes its time

    return fields.read(fields.size if name == "memory" else fields.seconds, value)
