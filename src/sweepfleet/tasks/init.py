"""`sweepfleet init`: a project of one's own."""

from __future__ import annotations

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from sweepfleet.tasks.asking import confirm
from sweepfleet.tasks.front import project_here, shown, speaking


@task(
    help={
        "cluster": "also what a cluster in AWS needs: Pulumi.yaml, infra/, tasks.py, worker/",
        "pipeline": "also clusters and sweeps by pull request: github or gitlab",
        "check": "write nothing; exit code 1 when a file is missing",
        "yes": "write without being asked",
    }
)
@speaking
def init(c: Context, *, cluster: bool = False, pipeline: str = "", check: bool = False, yes: bool = False) -> None:
    """Add a first sweep to this project, or with --cluster a cluster.

    Files that exist stay as they are. --pipeline includes --cluster.
    """
    from sweepfleet.grid.errors import UsageError
    from sweepfleet.scaffold import PIPELINES, TASKS_LINE, files, write

    if pipeline and pipeline not in PIPELINES:
        raise UsageError(f"--pipeline {pipeline!r} is not a forge. Use {' or '.join(PIPELINES)}.")
    cluster = cluster or bool(pipeline)
    root = project_here()
    found = files(root, cluster=cluster, pipeline=pipeline)
    missing = [one for one in found if one.is_written]
    print(f"Project: {root}")
    words = {"new": "new", "to be extended": "extended", "as written": "there", "changed": "there, yours; it is kept"}
    width = max(24, *(len(one.name) for one in found))
    for one in found:
        print(f"  {one.name:<{width}} {words.get(one.state, 'there, without sweepfleet')}", flush=True)
    again = f"inv init{f' --pipeline {pipeline}' if pipeline else ' --cluster' if cluster else ''}"
    unlinked = [one for one in found if one.state == "without our tasks"]
    for _ in unlinked:
        print(f"Add to tasks.py: {TASKS_LINE}\nWith tasks of your own: ns.add_task(mine)")
        print(f'Or, in an ns of your own: {TASKS_LINE} as sweepfleet_ns, ns.add_collection(sweepfleet_ns, "fleet")')
    if check:
        if missing or unlinked:
            raise Exit(f"{len(missing) + len(unlinked)} of {len(found)} are missing. Write them: {again}", 1)
        return
    if missing:
        confirm(
            "Write them?",
            yes=yes,
            unasked="There is no terminal to ask on, so nothing was written. To write them: --yes",
            refused="Nothing was written.",
        )
    try:
        write(root, missing)
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be written: {error.strerror}") from error
    if not missing:
        print("Nothing to write.")
        return
    print(f"Written. Try it: inv sweep {shown(root / 'sweeps' / 'hello' / 'grid.yaml')}")
    if cluster:
        print('Then: uv add "sweepfleet[cluster]", and inv doctor')
    if pipeline:
        print("The pipeline waits until its account and variables are set up: sweepfleet's docs/gitops.md")
