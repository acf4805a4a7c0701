"""A Pulumi program inside the test's own process: run as a whole, its outputs read, its event loops closed."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pulumi
from pulumi.runtime import get_root_resource, set_all_config, set_mocks, test

from tests.cloud.mocks import Mocks


def run(
    program: Callable[[], Any],
    mocks: Mocks,
    *,
    project: str = "sweepfleet",
    stack: str = "test",
    config: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run a program once, as on a new stack; its outputs. Whatever it or a resource of it raises is raised."""
    outputs: dict[str, Any] = {}

    @test  # type: ignore[untyped-decorator]
    def whole() -> Any:
        program()
        exported = getattr(get_root_resource(), "outputs", {})
        return pulumi.Output.from_input(dict(exported)).apply(outputs.update)

    def on_a_new_stack() -> None:
        set_all_config(dict(config or {}))
        set_mocks(mocks, project=project, stack=stack)
        whole()

    with loops_closed():
        contextvars.copy_context().run(on_a_new_stack)  # Pulumi keeps the stack in the context
    return outputs


@contextmanager
def loops_closed() -> Iterator[None]:
    """Pulumi leaves an event loop in every thread that it calls mocks from; none outlives this block."""
    made: list[asyncio.AbstractEventLoop] = []
    new = asyncio.new_event_loop

    def remembered() -> asyncio.AbstractEventLoop:
        made.append(new())
        return made[-1]

    with mock.patch("asyncio.new_event_loop", remembered):
        asyncio.set_event_loop(asyncio.new_event_loop())
        try:
            yield
        finally:
            asyncio.set_event_loop(None)
            for loop in made:
                # What a failed resource left waiting would tell its error again whenever it is collected.
                loop.set_exception_handler(lambda *_: None)
                loop.close()
