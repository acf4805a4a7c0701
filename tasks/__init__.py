"""The front door: `inv --list`. Tasks fetch and print; the work is done in the rooms behind them."""

from invoke.collection import Collection

from tasks import first as first  # isort: skip # before all else
from tasks import ci
from tasks.audit import audit
from tasks.forget import rm
from tasks.lifecycle import doctor, down, outputs, preview_, up
from tasks.operations import (
    allow_me,
    attach,
    cancel,
    dashboard,
    logs,
    push,
    releases,
    run,
    scale,
    ssh,
    start,
    status,
    stop,
)
from tasks.output import output
from tasks.parser import install
from tasks.project import bench, check, rehearsal
from tasks.results import report, results, runs
from tasks.streams import speak_any_encoding
from tasks.sweeps import sweep
from tasks.version import version

speak_any_encoding()
ns = Collection(
    *(sweep, results, report, output, runs, rm),
    *(up, preview_, down, outputs, doctor, audit, allow_me),
    *(push, releases, start, scale, stop, status, attach, cancel, logs, ssh, run, dashboard),
    *(check, bench, rehearsal, version),
    ci=ci.ns,
)
ns.configure({"runs": "runs", "checkip": "https://checkip.amazonaws.com"})
install(
    ns.task_names, positional={"sweep": "grid", "results": "name", "report": "name", "output": "name", "rm": "name"}
)
