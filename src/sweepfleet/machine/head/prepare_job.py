"""What root does before a run's driver starts: `prepare_job JOB`.

Brings the release and the environment that the job needs, and renews scheduler and workers when they run another
release's code and nothing else goes on.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

from sweepfleet.machine.aws import Aws, AwsError
from sweepfleet.machine.bring import BringError, bring_environment, bring_release
from sweepfleet.machine.facts import Data, Facts
from sweepfleet.machine.job import SETTLED, Job, JobFolder
from sweepfleet.machine.renew import SCHEDULER, renew_fleet


def prepare(facts: Facts, folder: JobFolder) -> None:
    """Have all that the driver needs in place."""
    job = Job.from_json(folder.job.read_text())
    aws = Aws(facts)
    environment = bring_environment(aws, job.environment)
    release = bring_release(aws, job.release)
    for link, place in ((folder.release, release), (folder.environment, environment)):
        link.unlink(missing_ok=True)
        link.symlink_to(place)
    data = Data(Path(facts.data))
    if renew_fleet(aws, data, release=release, environment=environment, starting=job.name):
        subprocess.run(["systemctl", "restart", SCHEDULER], check=True)


def main(facts: Facts, folder: JobFolder) -> int:
    """Prepare a job; 0 when all is there. Else whoever watches the run is told why, and systemd tries again."""
    try:
        prepare(facts, folder)
    except (AwsError, BringError, OSError, subprocess.CalledProcessError) as error:
        print(error, flush=True)
        why = f"its code and environment, which cannot be fetched: {error}"
        said = folder.read_progress() | {"state": "waiting", "waiting_for": why, "workers_needed": 0, SETTLED: False}
        with contextlib.suppress(OSError):  # the next try says so
            folder.write_progress(json.dumps(said))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Facts.read(), JobFolder(Path(sys.argv[1]))))
