"""Retires idle workers, and prints which, as JSON: `retire MOST NAME...`, in the environment of the scheduler."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from sweepfleet.machine import dask_command
from sweepfleet.machine.facts import Data, Facts


def main() -> None:
    """Ask the scheduler."""
    most, *names = sys.argv[1:]
    facts = Facts.read()
    os.environ.update(dask_command.environment(Data(Path(facts.data)).tls, "driver"))
    from distributed import Client

    from sweepfleet.run.retiring import retire_idle

    with Client(dask_command.address(facts.head_ip), timeout="10s") as client:
        print(json.dumps(client.run_on_scheduler(retire_idle, names, most=int(most))))


if __name__ == "__main__":
    main()
