"""The front door: `inv --list`. Tasks fetch and print; the work is done in the rooms behind them."""

from invoke.collection import Collection

from sweepfleet.tasks import first as first  # isort: skip # before all else
from sweepfleet.tasks import ci
from sweepfleet.tasks.audit import audit
from sweepfleet.tasks.cost import cost
from sweepfleet.tasks.forget import rm
from sweepfleet.tasks.init import init
from sweepfleet.tasks.interactive import console, notebook, ssh_config
from sweepfleet.tasks.lifecycle import doctor, down, outputs, preview_, up
from sweepfleet.tasks.machines import dashboard, logs, run, ssh
from sweepfleet.tasks.operations import allow_me, attach, cancel, push, releases, status
from sweepfleet.tasks.output import output
from sweepfleet.tasks.parser import install
from sweepfleet.tasks.restore import restore
from sweepfleet.tasks.results import report, results, runs
from sweepfleet.tasks.streams import speak_any_encoding
from sweepfleet.tasks.sweeps import sweep
from sweepfleet.tasks.version import version
from sweepfleet.tasks.workers import scale, start, stop

speak_any_encoding()
ns = Collection(
    *(init, sweep, results, report, output, runs, rm),
    *(up, preview_, down, outputs, doctor, audit, allow_me),
    *(push, releases, start, scale, stop, status, cost, attach, cancel, restore, logs, ssh, run, dashboard),
    *(ssh_config, console, notebook),
    version,
    ci=ci.ns,
)
ns.configure({"runs": "runs", "checkip": "https://checkip.amazonaws.com"})
BY_NAME = ("results", "report", "output", "rm", "restore")
install(ns, positional={"sweep": "grid"} | dict.fromkeys(BY_NAME, "name"))
