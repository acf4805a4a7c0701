"""A worker that AWS takes back is replaced while it still finishes its points: once, and only where it is needed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from distributed import Client

from sweepfleet.machine import leaving
from sweepfleet.machine.facts import Data
from sweepfleet.machine.head import keeper
from sweepfleet.machine.head.meter import Reading
from tests.dask_site import DaskSite
from tests.machine.test_keeper import MOST, Group, data, group, job
from tests.support import eventually

__all__ = ["data", "group"]


def take_back(group: Group, data: Data, *names: str, in_s: float = 120.0) -> None:
    """As the scheduler writes it down."""
    leaving.write(data.leaving, dict.fromkeys(names, 9e9 + group.now_s + in_s))


def test_another_worker_is_asked_for_at_the_notice_and_no_second_one(group: Group, data: Data) -> None:
    """The group has its size all the time: AWS replaces the machine as it leaves the group, not as it ends."""
    job(data)
    group.size = 2
    group.then[5] = lambda: take_back(group, data, "i-1")
    assert group.keep(for_s=60) == ["switch", "detach i-1, another one"]
    assert group.group().members == ("i-0", "i-2")
    assert group.size == 2


def test_a_worker_that_is_not_needed_is_not_replaced(group: Group, data: Data) -> None:
    """As when little is left of the run; without a notice it would stay, since it computes."""
    job(data)
    group.size = 3
    group.then[5] = lambda: take_back(group, data, "i-0", "i-1")
    assert group.keep(for_s=20) == ["switch", "detach i-0, one less", "detach i-1, another one"]


def test_there_are_never_more_machines_than_the_stack_allows(group: Group, data: Data) -> None:
    """Then the group replaces it as soon as it has gone, as AWS does by itself."""
    job(data, says=json.dumps({"workers_needed": MOST}))
    group.size = MOST
    group.then[5] = lambda: take_back(group, data, "i-1")
    assert group.keep(for_s=60) == ["switch"]


def test_what_aws_refuses_is_asked_once(group: Group, data: Data, capsys: pytest.CaptureFixture[str]) -> None:
    """An older stack's head may not; then all is as it was without."""
    job(data)
    group.size = 2

    def refused() -> None:
        group.refuses = True
        take_back(group, data, "i-1")

    group.then[5] = refused
    assert group.keep(for_s=60) == ["switch", "detach i-1, another one"]
    assert "i-1 leaves and is replaced when it has left: AccessDenied" in capsys.readouterr().out


def test_a_leaving_machine_costs_until_it_has_gone(group: Group, data: Data) -> None:
    """It is in no group any more, and AWS bills it."""
    one = job(data)
    group.size = 2
    group.then[5] = lambda: take_back(group, data, "i-1", in_s=100)
    group.keep(for_s=200)
    slack = 4 * 2 * keeper.METER_EVERY_S
    assert Reading.of(one).worker_s == pytest.approx(2 * 200 + 100, abs=slack)
    assert Reading.of(one).workers == 2


def test_the_scheduler_writes_down_who_leaves_until_it_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that ends without AWS's doing is not in it."""
    for name in ("ROLE", "STACK", "BUCKET", "ROLE_ID", "HEAD", "PACKAGE_INDEX"):
        monkeypatch.setenv(f"SWEEPFLEET_{name}", "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("SWEEPFLEET_DATA", str(tmp_path))
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__PRELOAD", "sweepfleet.machine.head.notices")
    data = Data(tmp_path)
    data.keeper.mkdir()
    site = DaskSite(tmp_path, workers=2)

    def known() -> set[str]:
        return set(leaving.read(data.leaving, now_s=time.time()))

    def tell(dask_worker: object) -> None:
        dask_worker.tell_leaving(90.0)  # type: ignore[attr-defined]

    try:
        with Client(site.address, timeout="30s") as client:
            client.wait_for_workers(2, timeout="30s")
            by_name = {str(one["name"]): at for at, one in client.scheduler_info(n_workers=-1)["workers"].items()}
            before_s = time.time()
            client.run(tell, workers=[by_name["worker-0"]])
            eventually(lambda: known() == {"worker-0"}, "it is written down")
            [end_s] = leaving.read(data.leaving, now_s=before_s).values()
            assert before_s + 90 <= end_s <= time.time() + 90
            site.workers[1].terminate()
            site.workers[1].wait()
            assert known() == {"worker-0"}
            site.workers[0].terminate()
            eventually(lambda: known() == set(), "it has left")
    finally:
        site.close()


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"i-1": "soon"}', "3"])
def test_a_file_that_cannot_be_read_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "leaving.json").write_text(text)
    assert leaving.read(tmp_path / "leaving.json", now_s=0.0) == {}
    assert leaving.read(tmp_path / os.devnull.strip("/"), now_s=0.0) == {}
