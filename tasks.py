"""`inv --list`: sweepfleet's tasks, and what this repository adds for those who work on it."""

from sweepfleet.tasks import ns
from tests.tasks import bench, check, rehearsal

for task in (check, bench, rehearsal):
    ns.add_task(task)
