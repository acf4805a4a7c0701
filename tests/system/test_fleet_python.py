"""A cluster from Python, in the rehearsal cloud: scripts on a laptop that sweep, leave, come back and cancel."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cloud.gates import open_gates
from tests.cloud.rehearsal.cloud import until
from tests.cloud.rehearsal.host import why_not
from tests.cloud.rehearsed import Laptop
from tests.cloud.study import run_script, start_script, study

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
GATE = "/run/gate-of-python"
BEGINNING = """\
import json, os, sys, time
from pathlib import Path
import sweepfleet as sf
from scale import scaled

OFFSET = 7

def fit(a, fold):
    print("computing", a)
    return {"loss": abs(scaled(a) - OFFSET) + fold}

def gated(a, gate):
    while a >= 10 and not Path(gate).exists():
        time.sleep(0.1)
    return {"loss": a}

POINTS = {"a": range(20), "fold": range(2)}
HELD = {"a": range(30), "gate": [GATE]}

def columns(run):
    frame = run.frame().sort("point_id")
    keep = [one for one in frame.columns if one.startswith(("param.", "metric."))]
    return frame.select("point_id", "replicate", "seed", "status", "code", *keep).to_dict(as_series=False)

"""


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    with study(tmp_path_factory) as made:
        yield made


def python(laptop: Laptop, code: str, *, exit_code: int = 0) -> Any:
    return run_script(laptop, BEGINNING.replace("GATE", repr(GATE)) + code, exit_code=exit_code)


def started(laptop: Laptop, code: str) -> subprocess.Popen[str]:
    return start_script(laptop, BEGINNING.replace("GATE", repr(GATE)) + code, stderr=subprocess.PIPE)


def test_a_function_of_a_script_has_the_same_rows_on_the_cluster(laptop: Laptop) -> None:
    """It is sent by value, with the same code in each row; the module that it uses comes from the release."""
    here, there, best, folder, printed, workers = python(
        laptop,
        'here = sf.sweep(fit, POINTS, metric=sf.Metric("loss", over="fold"), name="here")\n'
        'there = sf.sweep(fit, POINTS, metric=sf.Metric("loss", over="fold"), name="there", stack="dev")\n'
        "print(json.dumps([columns(here), columns(there), there.best()['params'], sorted(os.listdir(there.folder)), "
        "there.output(0), sorted(set(there.frame()['worker']))]))\n",
    )
    code = here.pop("code"), there.pop("code")
    assert here == there
    assert len(set(code[0] + code[1])) <= 2
    assert best == {"a": 3}
    assert {"function.pickle", "report.html", "results.csv", "ledger.sqlite"} <= set(folder)
    assert printed.startswith("computing ")
    assert all(worker.startswith("ip-10-42-") for worker in workers)


def test_the_commands_return_what_the_machines_say(laptop: Laptop) -> None:
    """Of the head, of workers that were started, and of the run before."""
    slots, cores, names, logs, joined, cost = python(
        laptop,
        'fleet = sf.connect("dev")\n'
        "slots = fleet.start(2)\n"
        'cores = fleet.run("nproc", workers=True)\n'
        "status = fleet.status()\n"
        "print(json.dumps([slots, [int(each.stdout) for each in cores.values()], sorted(cores), "
        "[fleet.logs(name='there', lines=9), fleet.logs(workers=True, lines=9)], "
        "[[one.instance_id, one.slots] for one in status.workers], fleet.cost()['there'].worker_hours]))\n",
    )
    assert [name for name, _ in joined] == names
    assert sum(each for _, each in joined) == slots
    assert len(cores) == 2
    assert all(one >= 1 for one in cores)
    assert "ended with 0" in logs[0]
    assert all(line.startswith(("[i-", "-- ")) for line in logs[1].splitlines())
    assert cost > 0


MOVES = """
import dask.array, joblib
import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV

x = np.random.default_rng(1).normal(size=(400, 3))
y = x @ [1.0, 2.0, 3.0]
fleet = sf.connect("dev")
fleet.start(2)
with fleet.client() as client:
    first, second = client.nthreads()
    scattered = client.scatter(x, workers=[first])
    moved = client.submit(np.sum, scattered, workers=[second]).result(timeout=300)
    assert moved == x.sum(), moved
    with joblib.parallel_config(backend="dask"):
        search = GridSearchCV(Ridge(), {"alpha": [1e-3, 1.0, 1e3]}, cv=3).fit(x, y)
    kept = client.persist(dask.array.arange(10_000, chunks=1000).reshape(100, 100), workers=[first])
    total = (kept + kept.T).rechunk((100, 5)).sum().compute()
print(json.dumps([search.best_params_, int(total)]))
"""


def test_dasks_world_moves_its_data_between_workers(laptop: Laptop) -> None:
    """Of two that are there: what a client has scattered, what joblib and scikit-learn do so with, and arrays."""
    best, total = python(laptop, MOVES)
    assert (best, total) == ({"alpha": 1e-3}, 2 * sum(range(10_000)))


def test_a_run_goes_on_without_its_script_and_another_one_finds_it(laptop: Laptop) -> None:
    """What it has so far is there at once; cancelled, it keeps that, and the same sweep resumes it."""
    sweep = 'sf.sweep(gated, HELD, metric="loss", name="left", stack="dev", wait={wait}, execution={{"bundle": 1}})'
    state = python(laptop, f"run = {sweep.format(wait=False)}\nprint(json.dumps(run.state))\n")
    assert state == "running"
    refused = python(laptop, f"{sweep.format(wait=False)}\n", exit_code=1)
    assert "The run left is active already" in refused
    found = python(
        laptop,
        'run = sf.connect("dev").open("left")\n'
        "while True:\n"
        "    try:\n"
        "        if run.frame().height == 10: break\n"
        "    except sf.SweepfleetError as error:\n"
        "        assert 'no results' in str(error), error\n"
        "    time.sleep(0.5)\n"
        "before = run.state\n"
        "said = str(run)\n"
        "run.cancel()\n"
        "print(json.dumps([before, said, run.state, run.frame().height]))\n",
    )
    assert found[0] == "running"
    assert found[1].startswith("left is running on the stack dev, 10 of 30 points finished")
    assert found[2:] == ["interrupted", 10]

    with started(
        laptop,
        f"{sweep.format(wait=False)}\n"
        'run = sf.open("left", stack="dev").wait()\n'
        "print(json.dumps([run.state, run.summary['resumed'], run.summary['computed'], run.frame().height]))\n",
    ) as process:
        open_gates(laptop, GATE, process, run="left", timeout_s=600)
        out, err = process.communicate()
    assert process.returncode == 0, f"{out}\n{err}"
    assert json.loads(out.splitlines()[-1]) == ["done", 10, 20, 30]


CLIENT = """
def where(number):
    import socket
    return socket.gethostname()

fleet = sf.connect("dev")
with fleet.client() as client:
    total = client.submit(sum, range(10)).result()
    hosts = sorted(set(client.gather(client.map(where, range(20)))))
    active = [run.name for run in fleet.status().runs]
    beside = fleet.sweep(fit, {"a": range(4), "fold": [0]}, metric="loss", name="beside")
print(json.dumps([total, hosts, active, beside.state]))
"""


def test_a_dask_client_has_workers_while_it_has_tasks(laptop: Laptop) -> None:
    """Its tasks run, and a sweep beside them; then the job on the head ends, and the workers go."""
    laptop.inv("stop")  # the workers that another test has started and that would be held
    total, hosts, active, beside = python(laptop, CLIENT)
    assert (total, beside) == (45, "done")
    assert all(host.startswith("ip-10-42-") for host in hosts)
    assert [name.startswith("client-ada-") for name in active] == [True]

    def nothing_is_left() -> bool:
        runs, cost = python(
            laptop,
            'fleet = sf.connect("dev")\n'
            "print(json.dumps([[run.name for run in fleet.status().runs], "
            f"fleet.cost()[{active[0]!r}].worker_hours > 0]))\n",
        )
        return not runs and cost and not workers(laptop)

    until(nothing_is_left, what="the client's job and the workers end", timeout_s=300)


def test_a_head_that_sleeps_answers_and_a_sweep_wakes_it(laptop: Laptop) -> None:
    """Status, rows and cost come from the bucket and let it sleep; late, since it sleeps from then on."""
    laptop.inv("stop")
    head = laptop.cloud.machine(laptop.outputs.head_id)
    boots = head.boots
    laptop.head_sleeps()
    assert "Head: asleep" in laptop.inv("status").stdout
    rows, cost = python(
        laptop,
        'fleet = sf.connect("dev")\n'
        "print(json.dumps([fleet.open('there').frame().height, fleet.cost()['there'].worker_hours]))\n",
    )
    assert (rows, cost > 0, head.boots) == (40, True, boots)
    grid = '{"a": range(5), "fold": [0]}'
    state = python(laptop, f'print(json.dumps(sf.sweep(fit, {grid}, name="woken", stack="dev").state))\n')
    assert (state, head.boots) == ("done", boots + 1)


def workers(laptop: Laptop) -> list[str]:
    """The machines that are on, the head aside."""
    on = [name for name, leader in laptop.cloud.machines().items() if leader]
    return [name for name in on if name != laptop.outputs.head_id]
