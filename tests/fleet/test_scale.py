"""The number of workers: never below what active runs need, and none once the cluster is stopped."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.fleet.reach.host_keys import NotYetError
from sweepfleet.fleet.runs import jobs as runs
from sweepfleet.fleet.workers import group as workers
from sweepfleet.fleet.workers.group import PATHS, scale
from sweepfleet.fleet.workers.stopping import stop
from sweepfleet.grid.errors import UsageError
from sweepfleet.infra.outputs import Outputs
from sweepfleet.machine.head.rates import Rates
from tests.cloud.inprocess import up
from tests.cloud.mocks import Mocks
from tests.cloud.moto import Moto

pytest_plugins = ["tests.cloud.fixtures"]
REGION = "eu-west-1"
ROOT = Path(__file__).parents[2]
MOST = 5


@pytest.fixture
def fleet(moto: Moto, tmp_path: Path, no_credentials: None, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A cluster with two workers, whose group was made smaller than this checkout remembers."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    outputs = Outputs.from_json(json.dumps(up(Mocks(moto.endpoint), {"maxWorkers": MOST})))
    made = Fleet(tmp_path, replace(outputs, max_workers=2 * MOST), Cloud(REGION, endpoint_url=moto.endpoint))
    workers.set_size(made.cloud, made.outputs, 2)
    return made


def size(fleet: Fleet) -> int:
    return workers.group(fleet.cloud, fleet.outputs).desired


class Head:
    """Notes what it is asked, and says how many workers its runs and the hold want."""

    def __init__(self, wanted: str = "0") -> None:
        self.wanted, self.asked = wanted, list[tuple[str, ...]]()

    def ask(self, *words: str, sudo: bool = False) -> str:
        assert sudo
        self.asked.append(words)
        return self.wanted


@pytest.mark.parametrize(
    ("asked", "wanted", "becomes"),
    [
        (1, "1 0\n", 1),
        (1, "3 1\n", 3),  # active runs need more
        (4, "3 1\n", 4),
        (1, "9 2\n", MOST),  # than the group has now
        (0, "unknown 1\n", 2),  # nobody knows: none is taken away
        (4, "unknown 1\n", 4),
        (1, "", 1),  # before the first push
    ],
)
def test_no_run_loses_a_worker_that_it_needs(fleet: Fleet, asked: int, wanted: str, becomes: int) -> None:
    head: Any = Head(wanted)
    assert scale(head, fleet.cloud, fleet.outputs, asked) == becomes
    assert size(fleet) == becomes
    [words] = head.asked
    assert words[-2:] == (str(asked), str(workers.HOLD_S))


def test_more_than_the_stack_allows_is_refused_and_the_head_is_told_nothing(fleet: Fleet) -> None:
    head: Any = Head()
    with pytest.raises(UsageError, match="11 workers cannot be requested: the stack allows 0 to 10"):
        scale(head, fleet.cloud, fleet.outputs, 2 * MOST + 1)
    assert (head.asked, size(fleet)) == ([], 2)


@pytest.mark.parametrize(
    ("release", "said"), [(ROOT / "src", "3 1"), (Path("nowhere"), ""), (Path("broken"), "unknown 1")]
)
def test_the_head_says_what_its_runs_need(tmp_path: Path, release: Path, said: str) -> None:
    """Nothing before the first push; that it is unknown where its release does not run."""
    job = tmp_path / "jobs" / "one"
    job.mkdir(parents=True)
    (job / "active").touch()
    (job / "progress.json").write_text('{"workers_needed": 3}')
    (tmp_path / "broken" / "sweepfleet").mkdir(parents=True)
    (tmp_path / "broken" / "sweepfleet" / "__init__.py").write_text("import no_such_module\n")
    script = workers.NEEDED.replace(PATHS.code, str(tmp_path / release)).replace(PATHS.data, str(tmp_path))
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == said


def test_the_head_is_told_what_the_workers_cost_that_it_keeps(tmp_path: Path) -> None:
    """Its keeper counts them by that, before any sweep came with prices."""
    rates = Rates({"c7i.xlarge": 0.18}, {"c7i.xlarge": {"a": 0.07}}, {}, 0.003)
    script = workers.HOLD.replace(PATHS.data, str(tmp_path))
    for priced in (json.dumps(rates.to_dict()), "null"):
        subprocess.run(["sh", "-euc", script, "hold", priced, "2", "1800"], check=True)
        said = json.loads((tmp_path / "hold.json").read_text())
        assert (said["workers"], said["for_s"]) == (2, 1800)
        assert said["rates"] == json.loads(priced)


def test_while_runs_are_active_no_worker_is_taken_away_from_outside(fleet: Fleet) -> None:
    """AWS would choose one that computes; the keeper ends those that have nothing to do."""
    head: Any = Head("1 1\n")
    assert scale(head, fleet.cloud, fleet.outputs, 1) == 1
    assert size(fleet) == 2


@pytest.fixture
def spare(fleet: Fleet) -> Any:
    """AWS, once spot has given one of three workers and on-demand two."""
    client = fleet.cloud.client("autoscaling")
    for group, there in zip(fleet.outputs.worker_groups, (1, 2), strict=True):
        client.set_desired_capacity(AutoScalingGroupName=group, DesiredCapacity=there)
    return client


def sizes(client: Any, fleet: Fleet) -> list[int]:
    found = client.describe_auto_scaling_groups(AutoScalingGroupNames=list(fleet.outputs.worker_groups))
    by_name = {one["AutoScalingGroupName"]: one["DesiredCapacity"] for one in found["AutoScalingGroups"]}
    return [by_name[name] for name in fleet.outputs.worker_groups]


def test_the_number_is_that_of_both_groups(fleet: Fleet, spare: Any) -> None:
    """Those in the place of spot instances stay as far as there is room: more are asked of spot, fewer leave it."""
    found = workers.group(fleet.cloud, fleet.outputs)
    assert (found.desired, found.on_demand, len(found.workers), found.most) == (3, 2, 3, MOST)
    assert workers.members(fleet.cloud, *fleet.outputs.worker_groups) == 3
    for asked, becomes in ((4, [2, 2]), (2, [1, 1]), (0, [0, 0])):
        workers.set_size(fleet.cloud, fleet.outputs, asked)
        assert sizes(spare, fleet) == becomes
        if asked:
            spare.set_desired_capacity(AutoScalingGroupName=fleet.outputs.worker_group, DesiredCapacity=1)


def test_without_its_on_demand_group_a_cluster_is_looked_at_and_emptied(fleet: Fleet, spare: Any) -> None:
    """Somebody has deleted it: workers cost money all the same."""
    spare.delete_auto_scaling_group(AutoScalingGroupName=fleet.outputs.on_demand_group, ForceDelete=True)
    assert size(fleet) == 1
    workers.set_size(fleet.cloud, fleet.outputs, 0)
    assert size(fleet) == 0


# Stopping


@pytest.fixture
def stopped(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What becomes of a head's active run: `one`."""
    done: list[str] = []

    @contextlib.contextmanager
    def head(*_: Any, **__: Any) -> Iterator[Any]:
        yield Head()

    monkeypatch.setattr(Fleet, "head", head)
    monkeypatch.setattr(Fleet, "awake_head", head)
    monkeypatch.setattr(runs, "names", lambda _, *, active: ["one"] if active else [])
    monkeypatch.setattr(runs, "cancel", lambda _, name: done.append(f"{name}, with {size(fleet)} workers"))
    return done


def test_a_stop_first_ends_the_runs_that_would_have_workers_again(fleet: Fleet, stopped: list[str]) -> None:
    with pytest.raises(UsageError, match=r"Active runs: one\. To stop them, too: inv stop --yes"):
        stop(fleet, yes=False)
    assert (stopped, size(fleet)) == ([], 2)
    stop(fleet, yes=True)
    assert (stopped, size(fleet)) == (["one, with 2 workers"], 0)


def test_without_its_head_a_cluster_has_no_workers_only_if_that_is_said(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether runs are active."""

    def away(*_: Any, **__: Any) -> Any:
        raise NotYetError("The head does not answer.")

    monkeypatch.setattr(Fleet, "head", away)
    monkeypatch.setattr(Fleet, "awake_head", away)
    with pytest.raises(ClusterError, match="without the head: inv stop --yes"):
        stop(fleet, yes=False)
    assert size(fleet) == 2
    with pytest.raises(ClusterError, match="AWS was told to shut down all workers"):
        stop(fleet, yes=True)
    assert size(fleet) == 0
