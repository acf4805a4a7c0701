"""Retires idle workers, and prints which, as JSON: `retire MOST NAME...`, in the environment of the scheduler.

`retire drain MOST KEEP NAME...` has so many of them get no further bundles, and become idle; KEEP others get some.
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
    facts = Facts.read()
    os.environ.update(dask_command.environment(Data(Path(facts.data)).tls, "driver"))
    from distributed import Client

    from sweepfleet.run.retiring import drain, retire_idle

    words = sys.argv[1:]
    what, limits = (drain, ("most", "keep")) if words[0] == DRAIN else (retire_idle, ("most",))
    words = words[what is drain :]
    numbers = {name: int(words.pop(0)) for name in limits}
    with Client(dask_command.address(facts.head_ip), timeout="10s") as client:
        print(json.dumps(client.run_on_scheduler(what, words, **numbers)))


if __name__ == "__main__":
    main()
