"""What messages propose to type, as a Python user types it: the rest of the package writes commands."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from sweepfleet.grid.errors import SweepfleetError, UsageError

_NAME = r"([\w-]+(?:\.[\w-]+)*)"
# The longer ones first. {fleet} is sf.connect(...), {stack} the stack's name in quotes.
_PYTHON = (
    (rf"inv attach --name {_NAME}", r'sf.open("\1", stack={stack}).wait()'),
    (rf"inv cancel --name {_NAME}", r'sf.open("\1", stack={stack}).cancel()'),
    (rf"inv results --fetch --name {_NAME}", r'sf.open("\1", stack={stack})'),
    (r"inv sweep --push", "sweep(..., push=True)"),
    (r"inv sweep --as-pushed", "sweep(..., as_pushed=True)"),
    (r"inv sweep --unpriced", "sweep(..., unpriced=True)"),
    (r"inv push --(dirty|yes)", r"{fleet}.push(\1=True)"),
    (r"inv push", "{fleet}.push()"),
    (r"inv status", "{fleet}.status()"),
    (r"inv logs --workers", "{fleet}.logs(workers=True)"),
    (r"inv logs", "{fleet}.logs()"),
    (r"inv start", "{fleet}.start(1)"),
    (r"inv (?:stop --yes|scale 0)", "{fleet}.stop(yes=True)"),
    (r"inv stop", "{fleet}.stop()"),
    (rf"inv (up|down) --stack {_NAME}", r'sf.\1("\2")'),
    (r"inv (up|down)(?= |$|[.,;])(?! --)", r"sf.\1({stack})"),
    (r"same inv sweep", "same sweep"),
    (rf"--(name|stack) {_NAME}", r'\1="\2"'),
    (r"--as-pushed", "as_pushed=True"),
    (r"--(push|yes|dirty)", r"\1=True"),
    (r"or run it here: --local", "or run it here: without stack="),
    (r"or run the sweep here: --local", "or run the sweep here: without stack="),
)


def in_python(text: str, *, stack: str) -> str:
    """A message with Python in the place of the commands that it proposes; what has no Python stays a command."""
    quoted = f'"{stack}"' if stack else ""
    for command, python in _PYTHON:
        text = re.sub(command, python.replace("{fleet}", f"sf.connect({quoted})").replace("{stack}", quoted), text)
    return text


@contextlib.contextmanager
def python_hints(stack: str) -> Iterator[None]:
    """Context whose errors propose Python."""
    from sweepfleet.fleet.errors import NO_CLUSTER, OF_A_CLUSTER

    try:
        yield
    except SweepfleetError as error:
        error.args = (in_python(str(error), stack=stack), *error.args[1:])
        raise
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in OF_A_CLUSTER:
            raise
        raise UsageError(NO_CLUSTER) from None
