"""The Python of a console or a notebook: `kernel CONNECTION_FILE`, in the environment of the session's release.

IPython and its kernel are Jupyter's, whose folder comes last on the module path: where the project has a package,
too, the project's is used.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweepfleet.machine.facts import Data, Facts
from sweepfleet.machine.head.fleet_here import FleetHere, OwnExecutor
from sweepfleet.machine.head.kernel_idle import Activity, watch
from sweepfleet.machine.head.publish import engine_of
from sweepfleet.machine.job import Job
from sweepfleet.machine.session import Session, SessionFolder
from sweepfleet.slot import own_packages
from sweepfleet.slot.modules import put_first


def main() -> None:
    """Be a kernel, until it is ended or nobody has used it for a while."""
    folder = SessionFolder(Path(os.environ["SWEEPFLEET_SESSION"]))
    facts = Facts.read()
    data = Data(Path(facts.data))
    _be_in_project(folder, data)
    app = _application(folder, Path(sys.argv[1]))
    shell = app.shell
    session = Session.from_json(folder.session.read_text())
    shell.ex("import sweepfleet as sf")
    sf = shell.user_ns["sf"]
    fleet = FleetHere(
        facts.stack,
        facts.head_ip,
        data,
        session.kind,
        like=_job_of(session, folder),
        make=lambda *words, **named: sf.Executor(*words, **named),  # noqa: PLW0108 - imported with the first one
    )
    shell.user_ns.update(fleet=fleet, executor=OwnExecutor(fleet))
    if folder.path.name == "console":
        _leave_with_exit(shell)
    activity = Activity(shell)
    ends = data.ended(folder.path.name) if folder.path.name == "console" else None  # the server ends its own kernels
    threading.Thread(target=watch, args=(activity, app.kernel, session.idle_s, ends), daemon=True).start()
    app.start()


def _job_of(session: Session, folder: SessionFolder) -> Job | None:
    """A job with this session's release and the stack's limits, where they are known."""
    if session.job is None:
        return None
    release, environment = folder.release.resolve(), folder.environment.resolve().name
    job = Job.from_json(json.dumps(session.job))
    return replace(job, release=release.name, environment=environment, engine=engine_of(release, environment))


def _be_in_project(folder: SessionFolder, data: Data) -> None:
    """Have the project's modules, its packages and its runs, and then what Jupyter brings."""
    release = str(folder.release.resolve())
    own_packages.add(release)
    put_first([str(Path.cwd()), release])
    [site] = (folder.jupyter / "lib").glob("python3*/site-packages")
    sys.path.append(str(site))
    os.environ["INVOKE_RUNS"] = str(data.runs)


def _application(folder: SessionFolder, connection: Path) -> Any:
    from ipykernel.kernelapp import IPKernelApp

    words = ["-f", str(connection)]
    if folder.path.name == "console":  # a notebook server has written the file, with its sockets
        words += ["--transport=ipc", f"--ip={connection.with_suffix('')}"]
    app = IPKernelApp.instance()
    app.initialize(words)
    return app


def _leave_with_exit(shell: Any) -> None:
    """Have `exit` and `quit` leave a console, and not end it."""
    from ipykernel.zmqshell import ZMQExitAutocall

    class Leave(ZMQExitAutocall):  # type: ignore[misc]
        def __call__(self, keep_kernel: bool = True) -> None:  # noqa: FBT001, FBT002 - as it is called
            super().__call__(keep_kernel)

    leave = Leave(shell)
    shell.user_ns.update(exit=leave, quit=leave)


if __name__ == "__main__":
    main()
