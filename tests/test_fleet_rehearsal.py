"""The cluster at work, in the rehearsal cloud: real machines, real SSH, real TLS, as an operator types it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.cloud import engine
from tests.cloud.rehearsal.cloud import Cloud, until
from tests.cloud.rehearsal.handle import MachineHandle
from tests.cloud.rehearsal.host import why_not
from tests.cloud.rehearsed import Laptop

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
DIABETES = "examples/diabetes/grid.yaml"
ANY_LANGUAGE = "examples/any_language/grid.yaml"  # awk, which every Debian has
EQUAL = ["point_id", "replicate", "seed", "status"]  # and every parameter and metric


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A laptop whose cluster is up and has its code."""
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        laptop = Laptop(cloud, tmp_path_factory.mktemp("laptop"))
        laptop.up()
        assert "The cluster's release is" in laptop.inv("push").stdout
        yield laptop


def rows(folder: Path) -> pl.DataFrame:
    """What must be the same wherever the points ran."""
    table = pl.read_parquet(folder / "results.parquet")
    keep = [name for name in table.columns if name.startswith(("param.", "metric."))]
    return table.select(*EQUAL, *keep).sort("point_id")


def workers(laptop: Laptop) -> list[MachineHandle]:
    """The machines that are on, the head aside."""
    on = [name for name, leader in laptop.cloud.machines().items() if leader]
    return [laptop.cloud.machine(name) for name in on if name != laptop.outputs.head_id]


def sent(machine: MachineHandle) -> int:
    """The bytes that have left its network card."""
    [line] = [one for one in machine.run(["cat", "/proc/net/dev"]).stdout.splitlines() if "eth0:" in one]
    return int(line.split(":")[1].split()[8])


def test_workers_fetch_code_and_environment_from_the_bucket_and_from_nobody_else(laptop: Laptop) -> None:
    """So a start does not get longer with their number: each fetches both once; operator and head serve none."""
    head = laptop.cloud.machine(laptop.outputs.head_id)
    before, sent_before = len(laptop.cloud.requests()), sent(head)
    assert "3 of 3 workers have joined" in laptop.inv("start", "--workers", "3").stdout
    fetched: dict[str, Counter[str]] = {}
    for address, method, path in laptop.cloud.requests()[before:]:
        if method == "GET" and path.endswith(".tar.gz"):
            fetched.setdefault(address, Counter())[path.split("/")[-2]] += 1
    ours = {worker.run(["hostname", "-I"]).stdout.split()[0] for worker in workers(laptop)}
    assert fetched.keys() == ours
    assert all(counts.keys() == {"releases", "environments"} for counts in fetched.values())
    stored = laptop.cloud.client("s3").list_objects_v2(Bucket=laptop.outputs.bucket, Prefix="environments/")
    assert sent(head) - sent_before < max(one["Size"] for one in stored["Contents"]) / 10


@pytest.mark.parametrize(
    ("grid", "name", "points"), [(DIABETES, "diabetes", 915), (ANY_LANGUAGE, "influenza-1978", 157)]
)
def test_a_sweep_on_three_workers_has_the_rows_of_one_here(laptop: Laptop, grid: str, name: str, points: int) -> None:
    """And its files are here, as after a sweep on this machine; but what commands left behind stays there."""
    said = laptop.inv("sweep", "--grid", grid).stdout
    assert said.startswith("Target: stack dev in us-east-1")
    assert f"Done: {points} of {points} points done" in said
    laptop.inv("sweep", "--grid", grid, "--local", "--name", f"{name}-here")
    far, here = laptop.path / "runs" / name, laptop.path / "runs" / f"{name}-here"
    assert rows(far).equals(rows(here))
    files = {file.name for file in here.iterdir() if not file.name.startswith(".")} - {"artifacts"}
    assert files <= {file.name for file in far.iterdir()}
    seen = set(pl.read_parquet(far / "results.parquet")["worker"])
    assert all(worker.startswith("ip-10-42-") for worker in seen)


def test_a_push_of_the_same_commit_sends_nothing(laptop: Laptop) -> None:
    assert "has this release already" in laptop.inv("push").stdout


def test_changed_files_are_refused_and_shipped_only_when_said(laptop: Laptop) -> None:
    readme = laptop.path / "README.md"
    before = readme.read_text()
    readme.write_text(before + "\n")
    try:
        assert "Changed and not committed: README.md" in laptop.inv("push", code=2).stderr
    finally:
        readme.write_text(before)


def test_another_host_key_stops_everything(laptop: Laptop) -> None:
    """Nothing is sent to a machine that is not the one that published its key."""
    outputs = laptop.outputs
    key = f"hosts/{outputs.head_identity}/ssh_host_ed25519_key.pub"
    s3 = laptop.cloud.client("s3")
    published = s3.get_object(Bucket=outputs.bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=outputs.bucket, Key=key, Body=laptop.public_key.encode())
    try:
        assert "is not the one that the machine published" in laptop.inv("status", code=3).stderr
    finally:
        s3.put_object(Bucket=outputs.bucket, Key=key, Body=published)
    laptop.inv("status")


@pytest.mark.engine
@pytest.mark.skipif(not engine.installed(), reason=engine.WHY_NOT)
def test_what_is_stopped_and_taken_down_leaves_nothing(laptop: Laptop) -> None:
    """The last test here: it takes down what the others use."""
    laptop.inv("stop")
    until(lambda: not workers(laptop), what="the workers are gone")
    laptop.inv("down", "--yes", "--purge")
    until(lambda: not laptop.cloud.machines(), what="the head is gone, too")
    assert laptop.leftovers() == []
    assert laptop.cloud.denials() == []
