"""What a sweep on the cluster lives through: every machine and process of it killed, in the rehearsal cloud.

After each accident the sweep goes on by itself, with nobody logging in. What the ledger had when it happened is there
in the end as it was, to the microsecond of its start: nothing that was finished is computed again.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sweepfleet.machine.switch import SWITCH
from tests.cloud import engine, evidence
from tests.cloud.gates import open_gates
from tests.cloud.rehearsal.cloud import Cloud, until
from tests.cloud.rehearsal.handle import MachineHandle
from tests.cloud.rehearsal.host import why_not
from tests.cloud.rehearsed import Laptop

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
WORKERS = 2
MOST = 4  # that the stack allows: a leaving one is replaced while it is still there
RECOVERY_S = 300  # for a broken program to give up, not a measure of a good one
LATE_S = 15  # of all workers: a driver tells of its work now and then, and the keeper looks every 5 s
NOTICE_EVERY = 60  # points that have ended, which takes some 30 s
POINTS = 4000  # none of the sweeps ends before its accidents are over; then the rest is let go, and takes no time
FIT = """
import signal, sys, time
from pathlib import Path

def fit(a, gate):
    with open(f"/var/tmp/begun-{Path(gate).name}", "a") as begun:
        begun.write(f"{a}\\n")
    if not Path(gate).exists():
        time.sleep(0.5)
    return {"twice": 2.0 * a}

def slow(a, checkpoint_dir):
    if a:
        if not Path("/run/noticed").exists():
            time.sleep(2)
        return {"twice": 2.0 * a}
    # One that goes on until the others are through, and counts its attempts.
    Path("/var/tmp/has-the-long-one").touch()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("it goes on elsewhere"))
    file = checkpoint_dir / "attempts"
    attempts = int(file.read_text()) + 1 if file.exists() else 1
    file.write_text(str(attempts))
    while not Path("/run/noticed").exists():
        time.sleep(0.1)
    return {"twice": 0.0, "attempts": attempts}
"""
GRID = """
name: {name}
run: accidents.fit:fit
parameters:
  a: {{range: [0, {POINTS}, 1]}}
  gate: {{value: {gate}}}
"""
NOTICED = """
name: noticed
run: accidents.fit:slow
parameters: {a: {range: [0, 2000, 1]}}
execution: {bundle: 8}
"""
ROWS = """
import json, sqlite3, sys
ledger = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
columns = "point_index, hex(id), status, attempts, started, duration_s, worker"
found = ledger.execute(f"SELECT {columns} FROM points JOIN sources ON source = number").fetchall()
print(json.dumps({index: rest for index, *rest in found}))
"""
Rows = dict[str, list[Any]]  # by the point's index


@dataclass
class Fleet:
    """The cluster from outside: its machines, as whoever pulls their plugs sees them."""

    laptop: Laptop

    @property
    def head(self) -> MachineHandle:
        return self.laptop.cloud.machine(self.laptop.outputs.head_id)

    @property
    def group(self) -> dict[str, Any]:
        """The workers' group, as AWS describes it."""
        return self.laptop.group

    @property
    def members(self) -> set[str]:
        """The workers' instance ids."""
        return {one["InstanceId"] for one in self.group["Instances"]}

    def joined(self) -> set[str]:
        """The workers whose connection to the scheduler stands: the head's kernel knows."""
        ec2 = self.laptop.cloud.client("ec2")
        listed = ["ss", "-Htn", "state", "established", "( sport = :8786 )"]
        lines = self.head.run(listed, check=False).stdout.splitlines()
        peers = {line.split()[-1].rpartition(":")[0].strip("[]").removeprefix("::ffff:") for line in lines}
        described = ec2.describe_instances(InstanceIds=sorted(self.members))["Reservations"] if self.members else []
        return {
            one["InstanceId"]
            for each in described
            for one in each["Instances"]
            if one.get("PrivateIpAddress") in peers
        }

    def all_joined(self) -> bool:
        """Whether as many workers as the group has have joined."""
        return len(self.joined()) == WORKERS

    def a_worker(self) -> MachineHandle:
        """One that has joined."""
        return self.laptop.cloud.machine(min(until(self.joined, what="a worker joined", timeout_s=RECOVERY_S)))

    def runners(self, instance_id: str) -> str:
        """The runner children on a worker, by their process ids."""
        machine = self.laptop.cloud.machine(instance_id)
        return machine.run(["pgrep", "-f", "sweepfleet.slot.child"], check=False).stdout

    def begun(self, name: str) -> Counter[str]:
        """How often each point of a run has begun on the machines that are workers now."""
        begun: Counter[str] = Counter()
        for instance_id in self.members:
            machine = self.laptop.cloud.machine(instance_id)
            begun.update(machine.run(["cat", f"/var/tmp/begun-{name}"], check=False).stdout.split())  # noqa: S108
        return begun

    def kill(self, unit: str) -> None:
        """SIGKILL a service's own process on the head."""
        self.head.run(["systemctl", "kill", "--kill-whom=main", "--signal=KILL", unit])


@dataclass
class Run:
    """A sweep that goes on, handed over by a client that waits for its end."""

    fleet: Fleet
    name: str
    client: subprocess.Popen[str]
    before: list[Rows] = field(default_factory=list)  # what the ledger had at each accident

    @classmethod
    @contextmanager
    def of(cls, fleet: Fleet, name: str) -> Iterator[Run]:
        """Within it, the sweep is active; where the test fails, it is cancelled, and in no later test's way."""
        run = cls.start(fleet, name)
        try:
            yield run
        except BaseException:
            fleet.laptop.inv("cancel", "--name", name, code=None)
            raise

    @classmethod
    def start(cls, fleet: Fleet, name: str) -> Run:
        grid = fleet.laptop.path / "accidents" / f"{name}.yaml"
        grid.write_text(GRID.format(name=name, POINTS=POINTS, gate=f"/run/{name}"))
        words = ("sweep", "--grid", f"accidents/{name}.yaml", "--workers", str(WORKERS))
        return cls(fleet, name, fleet.laptop.start(*words))

    def rows(self) -> Rows:
        """What the ledger on the head has; empty while there is none."""
        ledger = f"/srv/sweepfleet/runs/{self.name}/ledger.sqlite"
        done = self.fleet.head.run(["python3", "-c", ROWS, ledger], check=False)
        rows: Rows = json.loads(done.stdout) if done.returncode == 0 else {}
        return rows

    def until(self, condition: Callable[[], Any], *, what: str, timeout_s: float = RECOVERY_S) -> None:
        """Wait for something; what the run has come to is told where that does not happen."""
        until(condition, what=what, timeout_s=timeout_s, tell=lambda: evidence.of_run(self.fleet.laptop, self.name))

    def goes_on(self, *, beyond: int) -> bool:
        """Whether more points are done than that."""
        return len(self.rows()) > beyond

    def has(self, accident: Callable[[Fleet, Run], None]) -> None:
        """Have an accident in the middle of it, and wait until it goes on."""
        self.until(lambda: self.goes_on(beyond=WORKERS), what="the first points")
        self.until(self.fleet.joined, what="a worker joined")
        self.before.append(self.rows())
        accident(self.fleet, self)
        there = len(self.rows())
        self.until(lambda: self.goes_on(beyond=there), what="it goes on")

    def ends_whole(self) -> pl.DataFrame:
        """The client ends well with the results; every point is there once, and as it was at each accident.

        Returns the results.
        """
        assert self.client.poll() is None, self.client.communicate()[0]
        open_gates(self.fleet.laptop, f"/run/{self.name}", self.client, run=self.name, timeout_s=2 * RECOVERY_S)
        said = self.client.communicate()[0]
        assert self.client.returncode == 0, said
        assert f"Done: {POINTS:,} of {POINTS:,} points done" in said
        table = pl.read_parquet(self.fleet.laptop.path / "runs" / self.name / "results.parquet")
        assert table["param.a"].sort().to_list() == list(range(POINTS))
        assert table["point_id"].n_unique() == POINTS
        assert set(table["status"]) == {"done"}
        assert set(table["attempts"]) == {1}
        assert (table["metric.twice"] == 2.0 * table["param.a"]).all()
        rows = self.rows()
        for before in self.before:
            assert before.items() <= rows.items(), "a finished point was computed again"
        return table


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A cluster that is up and has its code, and no worker yet."""
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        laptop = Laptop(cloud, tmp_path_factory.mktemp("laptop"))
        laptop.up(maxWorkers=MOST)
        folder = Path(laptop.path, "accidents")
        folder.mkdir()
        (folder / "fit.py").write_text(FIT)
        laptop.commit("A target that takes its time")
        laptop.push()
        yield Fleet(laptop)


def worker_killed(fleet: Fleet, run: Run) -> None:
    """Its power is cut: no goodbye. The group replaces it."""
    worker = fleet.a_worker()
    worker.kill()
    until(lambda: worker.instance_id not in fleet.members, what="it is out of the group")
    until(lambda: len(fleet.members) == WORKERS, what="the group replaces it")


def worker_shut_down(fleet: Fleet, run: Run) -> None:
    """It is ended in order, as at a scale-in: no notice, but its own shutdown. The group replaces it."""
    worker = fleet.a_worker()
    fleet.laptop.cloud.client("ec2").terminate_instances(InstanceIds=[worker.instance_id])
    until(lambda: len(fleet.members - {worker.instance_id}) == WORKERS, what="the group replaces it")


def worker_process_killed(fleet: Fleet, run: Run) -> None:
    """Dask's worker dies, the machine lives and joins again."""
    worker = fleet.a_worker()
    worker.run(["pkill", "-KILL", "-f", "sweepfleet.machine.worker.dask_worker"])
    until(lambda: worker.instance_id not in fleet.joined(), what="it is gone")
    until(lambda: worker.instance_id in fleet.joined(), what="it is back", timeout_s=RECOVERY_S)


def worker_cut_off(fleet: Fleet, run: Run) -> None:
    """The network is gone without a word, and comes back when nobody counts on it any more."""
    worker = fleet.a_worker()
    worker.partition()
    until(lambda: worker.instance_id not in fleet.joined(), what="it is missed", timeout_s=RECOVERY_S)
    there = len(run.rows())
    run.until(lambda: run.goes_on(beyond=there), what="the others go on")
    worker.heal()
    until(lambda: worker.instance_id in fleet.joined(), what="it is back", timeout_s=RECOVERY_S)


def scheduler_killed(fleet: Fleet, run: Run) -> None:
    """Nothing is known any more of what is in flight."""
    fleet.kill("sweepfleet-scheduler.service")


def driver_killed(fleet: Fleet, run: Run) -> None:
    """The ledger's one writer dies in the middle of whatever it does."""
    fleet.kill(f"sweepfleet-run@{run.name}.service")


def head_rebooted(fleet: Fleet, run: Run) -> None:
    """In order, as an update does it."""
    fleet.head.reboot()


def head_power_cut(fleet: Fleet, run: Run) -> None:
    """All of the head dies at once; then somebody, or AWS, starts it."""
    head = fleet.head
    head.kill()
    fleet.laptop.cloud.client("ec2").start_instances(InstanceIds=[head.instance_id])
    head.wait_running()


LOSE = """
systemctl stop sweepfleet-store "sweepfleet-run@$1"
cd /srv/sweepfleet
rm -r "jobs/$1" "runs/$1" "keeper/parts/$1.json"
systemctl start sweepfleet-store
"""


def volume_lost(fleet: Fleet, run: Run) -> None:
    """The head stops, which stores what is new; then its volume has nothing of the run, and the bucket has it."""
    boots = fleet.head.boots
    fleet.head.reboot()
    up = ["systemctl", "is-active", "sweepfleet-store", "sweepfleet-keeper"]
    until(lambda: fleet.head.boots > boots, what="the head reboots", timeout_s=RECOVERY_S)
    until(lambda: fleet.head.run(up, check=False).returncode == 0, what="the head is up", timeout_s=RECOVERY_S)
    told = fleet.head.run(["journalctl", "--unit=sweepfleet-store", "--no-pager", "--output=cat"]).stdout
    assert "Stored what runs have so far; the head stops." in told
    fleet.head.run(["sh", "-euc", LOSE, "lose", run.name])
    [before] = run.before
    said = fleet.laptop.inv("restore", "--name", run.name).stdout
    assert f"Restored {run.name}: " in said
    assert before.items() <= run.rows().items(), "what the head had when it stopped is not all in the bucket"
    refused = fleet.laptop.inv("restore", "--name", run.name, code=2).stderr
    assert f"The head has the run {run.name} with {len(run.rows()):,} finished and 0 failed points" in refused
    fleet.laptop.inv("sweep", "--grid", f"accidents/{run.name}.yaml", "--workers", str(WORKERS), "--detach")


def switch_off_at(fleet: Fleet) -> datetime | None:
    """When AWS itself empties the group, as it is told now."""
    client = fleet.laptop.cloud.client("autoscaling")
    actions = client.describe_scheduled_actions(AutoScalingGroupName=fleet.group["AutoScalingGroupName"])
    found = [one for one in actions["ScheduledUpdateGroupActions"] if one["ScheduledActionName"] == SWITCH]
    assert all(one["DesiredCapacity"] == 0 for one in found)
    return found[0]["StartTime"] if found else None


def test_a_sweep_lives_through_one_accident_after_the_other(fleet: Fleet) -> None:
    """Worker, scheduler, driver, and then the head, beneath the same client, which ends as if nothing had been.

    Meanwhile AWS is set to empty the group, and the time is put off; in the end the group is empty by itself.
    """
    with Run.of(fleet, "sequence") as run:
        run.has(worker_killed)
        run.has(scheduler_killed)
        run.has(driver_killed)
        off_at = until(lambda: switch_off_at(fleet), what="the switch is set")
        assert off_at > datetime.now(UTC)
        run.has(head_rebooted)
        until(lambda: (switch_off_at(fleet) or off_at) > off_at, what="the switch is put off")
        run.ends_whole()
    until(lambda: not fleet.members and fleet.group["DesiredCapacity"] == 0, what="the group is empty", timeout_s=120)


@pytest.fixture(scope="module")
def steady(fleet: Fleet) -> Fleet:
    """The same with workers that stay between sweeps."""
    fleet.laptop.inv("start", "--workers", str(WORKERS))
    return fleet


OF_THE_HEAD = (scheduler_killed, driver_killed, head_rebooted, head_power_cut)  # the workers live


@pytest.mark.parametrize(
    "accident",
    [
        worker_process_killed,
        scheduler_killed,
        driver_killed,
        worker_shut_down,
        worker_cut_off,
        head_rebooted,
        head_power_cut,
        volume_lost,
    ],
)
def test_a_sweep_lives_through_an_accident(steady: Fleet, accident: Callable[[Fleet, Run], None]) -> None:
    """Whatever it is, alone; and no runner of the sweep is left on any worker.

    Where only the head has it, what the workers have in hand is found again: no point begins twice.
    """
    until(steady.all_joined, what="all workers joined", timeout_s=RECOVERY_S)
    with Run.of(steady, accident.__name__.replace("_", "-")) as run:
        run.until(lambda: any(map(steady.runners, steady.joined())), what="runners are seen")
        run.has(accident)
        table = run.ends_whole()
        if accident is worker_shut_down:
            assert table["infra_losses"].sum() == 0, "the points in hand were not waited for"
        if accident in OF_THE_HEAD:
            begun = steady.begun(run.name)
            assert (len(begun), begun.total()) == (POINTS, POINTS), [each for each in begun.items() if each[1] > 1]
        run.until(lambda: not any(map(steady.runners, steady.joined())), what="no runner is left", timeout_s=60)


def has_the_long_one(fleet: Fleet) -> str:
    """The worker that computes the long point; empty while none does."""
    for instance_id in fleet.joined():
        machine = fleet.laptop.cloud.machine(instance_id)
        if machine.run(["test", "-e", "/var/tmp/has-the-long-one"], check=False).returncode == 0:  # noqa: S108
            return instance_id
    return ""


def is_running(fleet: Fleet, instance_id: str) -> bool:
    """Whether EC2 has not ended it."""
    found = fleet.laptop.cloud.client("ec2").describe_instances(InstanceIds=[instance_id])
    return bool(found["Reservations"][0]["Instances"][0]["State"]["Name"] == "running")


def launched(fleet: Fleet) -> set[str]:
    """Every instance that there has ever been."""
    pages = fleet.laptop.cloud.client("ec2").describe_instances()["Reservations"]
    return {one["InstanceId"] for page in pages for one in page["Instances"]}


def test_no_finished_point_is_computed_again_after_a_notice(steady: Fleet) -> None:
    """Points of 2 s in bundles of 8 on 3 workers, and a notice every 60 points: at most those in hand are lost.

    One of them takes longer than its machines live. It goes on from its checkpoint, on another worker; and its
    machine, which leaves last, is replaced while it is still there. No machine is replaced twice.
    """
    steady.laptop.inv("start", "--workers", str(WORKERS))  # an accident of the head has ended what was kept
    until(steady.all_joined, what="all workers joined", timeout_s=RECOVERY_S)
    slots = int(steady.a_worker().run(["nproc"]).stdout)
    grid = Path(steady.laptop.path, "accidents", "noticed.yaml")
    grid.write_text(NOTICED)
    sweep = ("sweep", "--grid", "accidents/noticed.yaml", "--workers", str(WORKERS + 1))
    run = Run(steady, "noticed", steady.laptop.start(*sweep))
    run.until(lambda: len(steady.joined()) == WORKERS + 1, what="a third worker")
    before, noticed = launched(steady), list[str]()
    while len(noticed) < 4:
        there = run.rows()
        if noticed:
            worker = max(
                until(lambda: steady.joined() - set(noticed), what="one to be noticed", timeout_s=RECOVERY_S)
            )
        else:
            worker = until(lambda: has_the_long_one(steady), what="the long one begins", timeout_s=RECOVERY_S)
        steady.laptop.cloud.interrupt_spot(worker, in_s=90)
        noticed.append(worker)
        if len(noticed) == 1:
            run.until(lambda: launched(steady) > before, what="another one starts")
            assert is_running(steady, worker), "it was replaced only when it had left"
        run.until(lambda there=there: run.goes_on(beyond=len(there) + NOTICE_EVERY), what="it goes on")
        run.before.append(there)
    run.until(lambda: noticed[0] not in steady.joined(), what="the long one's worker has left")
    open_gates(steady.laptop, "/run/noticed", run.client, run=run.name, timeout_s=RECOVERY_S)
    said = run.client.communicate()[0]
    assert run.client.returncode == 0, said
    assert len(launched(steady) - before) <= len(noticed), "one was replaced twice"
    table = pl.read_parquet(steady.laptop.path / "runs" / "noticed" / "results.parquet")
    assert table["param.a"].sort().to_list() == list(range(2000))
    assert set(table["status"]) == {"done"}
    assert set(table["attempts"]) == {1}
    assert table["infra_losses"].sum() <= len(noticed) * slots
    (attempts,) = table.filter(pl.col("param.a") == 0)["metric.attempts"]
    (losses,) = table.filter(pl.col("param.a") == 0)["infra_losses"]
    assert 2 <= attempts == losses + 1
    bucket = steady.laptop.cloud.client("s3")
    listed = bucket.list_objects_v2(Bucket=steady.laptop.outputs.bucket, Prefix="checkpoints/")
    assert listed.get("Contents", []) == [], "what a finished point left is gone"
    rows = run.rows()
    for there in run.before:
        assert there.items() <= rows.items(), "a finished point was computed again"


def test_two_runs_each_stop_by_their_own_money(steady: Fleet) -> None:
    """At the same time on the same workers: the one when it has paid for 40 s of them, the other for 120 s.

    Then its last points end and its tables are written, for which its workers are there, too.
    """
    steady.laptop.inv("start", "--workers", str(WORKERS))  # an accident of the head has ended what was kept
    until(steady.all_joined, what="all workers joined", timeout_s=RECOVERY_S)
    read = lambda path: json.loads(steady.head.run(["cat", f"/srv/sweepfleet/{path}"]).stdout)  # noqa: E731
    usd_per_s = until(lambda: read("keeper/spending.json")["usd_per_hour"], what="a price", timeout_s=60) / 3600
    budgets = {"small": 40 * usd_per_s, "large": 120 * usd_per_s}
    for name, usd in budgets.items():
        grid = GRID.format(name=name, POINTS=POINTS, gate=f"/run/{name}") + f"execution: {{max_cost: {usd:.9f}}}\n"
        (steady.laptop.path / "accidents" / f"{name}.yaml").write_text(grid)
    for name in budgets:
        words = ("--grid", f"accidents/{name}.yaml", "--workers", str(WORKERS), "--detach")
        steady.laptop.inv("sweep", *words)
    for name, usd in budgets.items():
        active = ["test", "-e", f"/srv/sweepfleet/jobs/{name}/active"]
        until(lambda: steady.head.run(active, check=False).returncode, what=f"{name} stops", timeout_s=600)  # noqa: B023
        stopped_s = float(steady.head.run(["stat", "-c", "%.Y", f"/srv/sweepfleet/jobs/{name}/spent"]).stdout)
        after_s = read(f"jobs/{name}/progress.json")["at"] - stopped_s
        paid = read(f"jobs/{name}/meter.json")["paid_usd"]
        assert usd <= paid <= usd + (LATE_S + after_s) * usd_per_s, (name, usd, paid, after_s)


def budget_changed(fleet: Fleet, run: Run) -> None:
    """An update that no run feels."""
    fleet.laptop.change(budgetUsd=7)
    said = fleet.laptop.inv("up", "--yes").stdout.partition("Updating")[0]
    assert f"Active: {run.name}.\n  This update stops no worker and does not restart the head.\n" in said


def fewer_workers_and_a_larger_head(fleet: Fleet, run: Run) -> None:
    """An update that stops one of two workers, and restarts the head."""
    fleet.laptop.change(maxWorkers=1, headInstanceType="t3.large")
    boots = fleet.head.boots
    said = fleet.laptop.inv("up", "--yes").stdout.partition("Updating")[0]
    assert f"Active: {run.name}.\n" in said
    assert "At most 1 worker may run: 1 of 2 stop. Points that they do not finish run again." in said
    assert "The head is restarted. Runs wait for it, and resume by themselves" in said
    until(lambda: fleet.head.boots == boots + 1 and fleet.head.running, what="the head is started again")
    until(lambda: len(fleet.members) == 1, what="one worker stops", timeout_s=RECOVERY_S)


@pytest.mark.engine
@pytest.mark.skipif(not engine.installed(), reason=engine.WHY_NOT)
def test_an_update_during_a_sweep_says_what_it_does_to_it_and_loses_no_point(steady: Fleet) -> None:
    """The last test here: it leaves one worker."""
    steady.laptop.inv("start", "--workers", str(WORKERS))  # an accident of the head has ended what was kept
    until(steady.all_joined, what="all workers joined", timeout_s=RECOVERY_S)
    with Run.of(steady, "updated") as run:
        run.has(budget_changed)
        run.has(fewer_workers_and_a_larger_head)
        run.ends_whole()
