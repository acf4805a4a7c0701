"""The stack's configuration, as Pulumi gives it to a program."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pulumi
from pulumi.runtime.config import CONFIG

from sweepfleet.infra.problems import SettingsError


def values(project: str) -> dict[str, str]:
    """The project's own keys and their values, as they are written."""
    prefix = f"{project}:"
    return {key.removeprefix(prefix): value for key, value in CONFIG.get().items() if key.startswith(prefix)}


@contextlib.contextmanager
def checking(*, command: str = "pulumi config") -> Iterator[None]:
    """Around what checks the settings: a SettingsError becomes a pulumi.RunError, without a traceback.

    The message is for the user, who would not see it under one. `command` is how the configuration is set there.
    """
    try:
        yield
    except SettingsError as error:
        raise pulumi.RunError(str(error).replace("pulumi config", command)) from None
