"""Retires idle workers, and prints which, as JSON: `retire MOST NAME...`, in the environment of the scheduler.

`retire drain MOST NAME...` has so many of them get no further bundles, and become idle.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from sweepfleet.machine import dask_command
from sweepfleet.machine.facts import Data, Facts

DRAIN = "drain"


def main() -> None:
    """Ask the scheduler."""
    words = sys.argv[1:]
    drains = words[0] == DRAIN
    most, *names = words[drains:]
    facts = Facts.read()
    os.environ.update(dask_command.environment(Data(Path(facts.data)).tls, "driver"))
    from distributed import Client

    from sweepfleet.run.retiring import drain, retire_idle

    with Client(dask_command.address(facts.head_ip), timeout="10s") as client:
        print(json.dumps(client.run_on_scheduler(drain if drains else retire_idle, names, most=int(most))))


if __name__ == "__main__":
    main()
