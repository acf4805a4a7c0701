"""Prints the fleet's workers and their slots as JSON: `slots_of_fleet [KNOWN WITHIN_S]`.

As root on the head. While there are KNOWN workers it waits for more or fewer, WITHIN_S seconds at most.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from sweepfleet.machine import dask_command
from sweepfleet.machine.facts import Data

FACTS = Path("/etc/sweepfleet/machine.env")
LOOK_S = 0.5


def main() -> None:
    """Ask the scheduler, over one connection."""
    known, within_s = (int(sys.argv[1]), float(sys.argv[2])) if sys.argv[1:] else (-1, 0.0)
    began_s = time.monotonic()
    done = subprocess.run(["sh", "-c", f"set -a; . {FACTS}; env -0"], capture_output=True, text=True, check=True)
    facts = dict(line.split("=", 1) for line in done.stdout.split("\0") if "=" in line)
    os.environ.update(dask_command.environment(Data(Path(facts["SWEEPFLEET_DATA"])).tls, "driver"))
    from distributed import Client

    with Client(dask_command.address(facts["SWEEPFLEET_HEAD"]), timeout="10s") as client:
        while True:
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
            if len(workers) != known or time.monotonic() - began_s > within_s:
                break
            time.sleep(LOOK_S)
        print(json.dumps({str(one["name"]): one["nthreads"] for one in workers}))


if __name__ == "__main__":
    main()
