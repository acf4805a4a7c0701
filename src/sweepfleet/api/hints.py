"""What messages propose to type, as a Python user types it: the rest of the package writes commands."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from sweepfleet.grid.errors import SweepfleetError, UsageError

_NAME = r"([\w-]+(?:\.[\w-]+)*)"
_STACK = r"([\w-]+(?:[./][\w-]+)*)"
_OPTIONS = r"(?: --[a-z][a-z-]*(?: [\w./:-]+(?= --))?)*"
# The first one that fits where a command, an option or such a phrase begins. {fleet} is sf.connect(...), {stack} the
# stack's name in quotes, and {at} the argument that names it; a sweep on this machine has none.
_PYTHON = [
    (re.compile(command), python)
    for command, python in (
        (rf"inv attach --name {_NAME}", r'sf.open("\1"{at}).wait()'),
        (rf"inv cancel --name {_NAME}", r'sf.open("\1"{at}).cancel()'),
        (r"inv cancel\b", r"sf.open({only}).cancel()"),
        (rf"inv results --fetch --name {_NAME}", r'sf.open("\1"{at})'),
        (rf"inv results {_NAME} --where \"status == 'failed'\"", r'sf.open("\1"{at}).failures()'),
        (rf"inv output {_NAME} --failed", r'sf.open("\1"{at}).output(point_id)'),
        (rf"inv report --name {_NAME}", r'sf.open("\1"{at}).report()'),
        (r"inv sweep --local", "sf.sweep(...) without stack="),
        (r"inv sweep --push", "sweep(..., push=True)"),
        (r"inv sweep --as-pushed", "sweep(..., as_pushed=True)"),
        (r"inv sweep --unpriced", "sweep(..., unpriced=True)"),
        (r"inv sweep grid\.yaml", "sf.sweep(...{at})"),
        (r"inv push --(dirty|yes)", r"{fleet}.push(\1=True)"),
        (r"inv push", "{fleet}.push()"),
        (r"inv status", "{fleet}.status()"),
        (r"inv logs --workers", "{fleet}.logs(workers=True)"),
        (r"inv logs", "{fleet}.logs()"),
        (r"inv start --workers (\w+)", r"{fleet}.start(\1)"),
        (r"inv start", "{fleet}.start(1)"),
        (r"inv (?:stop --yes|scale 0)", "{fleet}.stop(yes=True)"),
        (r"inv stop", "{fleet}.stop()"),
        (rf"inv down --purge --stack {_STACK}", r'sf.down("\1", purge=True)'),
        (r"inv down --purge", "sf.down({first}purge=True)"),
        (rf"inv up --renew-head --stack {_STACK}", r'sf.up("\1", renew_head=True)'),
        (r"inv up --renew-head", "sf.up({first}renew_head=True)"),
        (rf"inv (up|down) --stack {_STACK}", r'sf.\1("\2")'),
        (r"inv (up|down)\b(?! --)", r"sf.\1({stack})"),
        # What has no Python stays a command, with its options.
        (rf"inv [a-z][a-z.-]*{_OPTIONS}", r"\g<0>"),
        (rf"(?:pulumi|aws|uv|git) [a-z-]+(?: [a-z-]+)*{_OPTIONS}", r"\g<0>"),
        (r"same inv sweep", "same sweep"),
        (r"same command", "same call"),
        (r"with its traceback: --test-point (\d+)", r"with its traceback: run.output(\1)"),
        (r"or run it here: --local", "or run it here: without stack="),
        (r"or run the sweep here: --local", "or run the sweep here: without stack="),
        (r"in grid\.yaml: metric: \{name: \.\.\.\}", 'with metric="..."'),
        (rf"--(name|stack) {_STACK}", r'\1="\2"'),
        (r"--(redo) ([a-z]+)", r'\1="\2"'),
        (r"--(workers) (-?\d+)", r"\1=\2"),
        (r"--best (-?\d+)", r"count=\1"),
        (r"--best", "ranking"),
        (r"--grid grid\.yaml", 'sf.sweep("grid.yaml")'),
        (r"--retry-failed", 'redo="failed"'),
        (r"--set execution\.(\w+)=([^\s.,;]+)", r'execution={{"\1": \2}}'),
        (r"--set (\w+)=([^\s.,;]+)", r"\1=\2"),
        (r"--as-pushed", "as_pushed=True"),
        (r"--(push|yes|dirty|unpriced)\b", r"\1=True"),
        (r"--(where|redo|name|workers?|point|runs)\b", r"\1"),
    )
]
_BEGINS = re.compile(r"\b(?:inv|pulumi|aws|uv|git|same|or run|in|with its) |(?<![\w-])--")


def in_python(text: str, *, stack: str) -> str:
    """A message with Python in the place of the commands and options that it proposes.

    Args:
        text: the message.
        stack: the name of the cluster that it is about; "" for this machine, or where nobody has named one.
    """
    quoted = f'"{stack}"' if stack else ""
    at = f"stack={quoted}"
    words = {
        "fleet": f"sf.connect({quoted})",
        "stack": quoted,
        "first": f"{quoted}, " if stack else "",
        "at": f", {at}" if stack else "",
        "only": at if stack else "",
    }
    parts, end = [], 0
    while begins := _BEGINS.search(text, end):
        parts.append(text[end : begins.start()])
        for command, python in _PYTHON:
            if found := command.match(text, begins.start()):
                parts.append(found.expand(python.format(**words)))
                end = found.end()
                break
        else:
            parts.append(begins[0])
            end = begins.end()
    return "".join([*parts, text[end:]])


@contextlib.contextmanager
def python_hints(stack: str) -> Iterator[None]:
    """Context whose errors propose Python. Also a decorator."""
    try:
        yield
    except SweepfleetError as error:
        error.args = (in_python(str(error), stack=stack), *error.args[1:])
        raise
    except ModuleNotFoundError as error:
        from sweepfleet.fleet.errors import NO_CLUSTER, OF_A_CLUSTER

        if str(error.name).partition(".")[0] not in OF_A_CLUSTER:
            raise
        raise UsageError(NO_CLUSTER) from None
