"""`inv --list`: sweepfleet's tasks, and your own."""

from sweepfleet.tasks import ns
from tests.developer_tasks import bench, check, rehearsal

# Of those who work on sweepfleet itself.
for task in (check, bench, rehearsal):
    ns.add_task(task)
