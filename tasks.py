"""`inv --list`: sweepfleet's tasks, and your own."""

from sweepfleet.tasks import ns
from tests.developer_tasks import bench, check, docs, rehearsal, tutorial

# Of those who work on sweepfleet itself.
for task in (check, docs, tutorial, bench, rehearsal):
    ns.add_task(task)
