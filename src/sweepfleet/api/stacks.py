"""`sweepfleet.up` and `sweepfleet.down`: a cluster is made and taken down, as the commands do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sweepfleet.api.arguments import FLAG, PROJECT, TEXT, takes
from sweepfleet.api.cluster import Cluster, connect
from sweepfleet.api.hints import in_python, python_hints
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.project_root import project_around

if TYPE_CHECKING:
    from sweepfleet.fleet.stack.stack import Stack


@takes("up", stack=TEXT, yes=FLAG, renew_head=FLAG, project=PROJECT)
def up(
    stack: str | None = None, *, yes: bool = False, renew_head: bool = False, project: str | Path | None = None
) -> Cluster:
    """Create a cluster or apply changed settings, by Pulumi. It costs money while it is up.

    Args:
        stack: its name; by default the one that is selected in Pulumi, or `dev`.
        yes: do it. Without, Pulumi shows what it would do, and nothing is changed.
        renew_head: use the newest image and boot text: replaces the head; runs stay on the data volume.
        project: a folder of the project; by default the current one.

    Returns:
        the cluster.

    Raises:
        UsageError: the settings cannot be used, or `yes` was not given; nothing was changed.
        SweepfleetError: the cluster could not be made or changed.

    Examples:
        >>> import sweepfleet as sf
        >>> fleet = sf.up("dev", yes=True)
        >>> fleet.push()
        >>> fleet.sweep(lambda a: a * a, {"a": range(10)}, name="squares").frame().height
        10
    """
    with python_hints(stack or ""):
        opened = _opened(stack, project, makes=True, renew_head=renew_head)
        from sweepfleet.fleet.stack.own_address import CHECKIP_URL
        from sweepfleet.pipeline.touched import say_what_is_touched

        if not yes:
            opened.preview()
            raise UsageError(f"Nothing was changed. To apply this: sf.up({_quoted(stack)}yes=True)")
        say_what_is_touched(opened, say=opened.say)
        outputs = opened.up(yes=True, address_url=os.environ.get("INVOKE_CHECKIP", CHECKIP_URL))
        opened.say(f"The stack {outputs.stack} is up in {outputs.region}. Take it down: inv down")
        return connect(outputs.stack, project=opened.root)


@takes("down", stack=TEXT, yes=FLAG, purge=FLAG, project=PROJECT)
def down(
    stack: str | None = None, *, yes: bool = False, purge: bool = False, project: str | Path | None = None
) -> None:
    """Destroy a cluster except for its results, by Pulumi; says first what is lost. The bucket with results is kept.

    Args:
        stack: its name; by default the one that is selected in Pulumi, or `dev`.
        yes: do it. Without, what would be lost is in the error, and nothing is changed.
        purge: delete the bucket with its results and the stack, too.
        project: a folder of the project; by default the current one.

    Raises:
        UsageError: `yes` was not given; nothing was changed.
        SweepfleetError: something of it is left.

    Examples:
        >>> import sweepfleet as sf
        >>> sf.down("dev", yes=True)
    """
    with python_hints(stack or ""):
        opened = _opened(stack, project, makes=False)
        from sweepfleet.fleet.errors import NothingToDo
        from sweepfleet.fleet.stack import takedown

        try:
            lost = "\n".join(takedown.losses(opened, purge=purge))
            if not yes:
                more = ", purge=True" if purge else ""
                raise UsageError(f"{lost}\nNothing was changed. To continue: sf.down({_quoted(stack)}yes=True{more})")
            opened.say(lost)
            takedown.down(opened, purge=purge)
        except NothingToDo as nothing:
            opened.say(str(nothing))


def _quoted(stack: str | None) -> str:
    return f'"{stack}", ' if stack else ""


def _opened(stack: str | None, project: str | Path | None, *, makes: bool, renew_head: bool = False) -> Stack:
    """The stack that is meant, with what Pulumi needs to change it; nobody is asked for a passphrase."""
    from sweepfleet.fleet.stack.stack import open_stack

    folder = Path(project).absolute() if project is not None else Path.cwd()
    root = project_around(folder) or folder
    say = lambda text: print(in_python(text, stack=stack or ""), flush=True)  # noqa: E731
    return open_stack(root, asked=stack or "", renew_head=renew_head, say=say).unlocked(None, makes=makes)
