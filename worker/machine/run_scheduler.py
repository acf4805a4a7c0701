"""Becomes dask's scheduler, in the environment that the fleet runs in."""

from __future__ import annotations

import os
from pathlib import Path

from worker.machine import dask_command
from worker.machine.facts import HOME, Data, Facts

if __name__ == "__main__":
    _facts = Facts.read()
    _command = dask_command.scheduler(HOME.fleet_environment / "bin" / "python", head_ip=_facts.head_ip)
    os.environ.update(dask_command.environment(Data(Path(_facts.data)).tls, "scheduler"))
    os.environ["PYTHONPATH"] = str(HOME.current.resolve())
    os.execv(_command[0], _command)
