"""Prints the fleet's workers and their slots as JSON: `python -m sweep.slots_of_fleet`, as root on the head."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from worker.machine import dask_command
from worker.machine.facts import Data

FACTS = Path("/etc/sweepfleet/machine.env")


def main() -> None:
    """Ask the scheduler."""
    told = subprocess.run(["sh", "-c", f"set -a; . {FACTS}; env -0"], capture_output=True, text=True, check=True)
    facts = dict(line.split("=", 1) for line in told.stdout.split("\0") if "=" in line)
    os.environ.update(dask_command.environment(Data(Path(facts["SWEEPFLEET_DATA"])).tls, "driver"))
    from distributed import Client

    with Client(dask_command.address(facts["SWEEPFLEET_HEAD"]), timeout="10s") as client:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        print(json.dumps({str(one["name"]): one["nthreads"] for one in workers}))


if __name__ == "__main__":
    main()
