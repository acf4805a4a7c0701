"""Becomes dask's scheduler, with the code and environment that the fleet runs."""

from __future__ import annotations

import os
from pathlib import Path

from sweepfleet.machine import dask_command
from sweepfleet.machine.facts import CODE, HOME, Data, Facts

if __name__ == "__main__":
    _facts = Facts.read()
    _command = dask_command.scheduler(HOME.fleet_environment / "bin" / "python", head_ip=_facts.head_ip)
    os.environ.update(dask_command.environment(Data(Path(_facts.data)).tls, "scheduler"))
    os.environ["PYTHONPATH"] = str(HOME.fleet_release.resolve() / CODE)
    os.execv(_command[0], _command)
