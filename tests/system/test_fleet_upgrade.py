"""sweepfleet is upgraded in a user's own project between two pushes: no run is disturbed, no old engine stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloud.foreign import ForeignLaptop, build_sweepfleet
from tests.cloud.gates import open_gates
from tests.cloud.rehearsal.cloud import Cloud, until
from tests.cloud.rehearsal.handle import MachineHandle
from tests.cloud.rehearsal.host import why_not

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
PATIENCE_S = 300
GATE = "/tmp/go"  # noqa: S108 - on a worker
FIT = """\
import time
from pathlib import Path


def fit(i: int) -> dict:
    return {"value": 2.0 * i}


def gated(i: int) -> dict:
    while not Path("/tmp/go").exists():
        time.sleep(0.1)
    return {"value": 2.0 * i}
"""
FILES = {
    "README.md": "A model.\n",
    "src/acme_model/__init__.py": "",
    "src/acme_model/fit.py": FIT,
    "sweeps/there.yaml": "run: acme_model.fit:fit\nparameters: {i: [1, 2, 3]}\n",
    "sweeps/gated.yaml": "run: acme_model.fit:gated\nparameters: {i: {range: [0, 40, 1]}}\nexecution: {bundle: 1}\n",
}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """sweepfleet as it is, and two later versions."""
    folder = tmp_path_factory.mktemp("wheels")
    later = [build_sweepfleet(folder, version=one, more=f"# {one}\n") for one in ("9.1.0", "9.2.0")]
    return [build_sweepfleet(folder), *later]


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory, wheels: list[Path]) -> Iterator[ForeignLaptop]:
    """One whose cluster is up and has its code."""
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        laptop = ForeignLaptop(cloud, tmp_path_factory.mktemp("laptop"), FILES, wheel=wheels[0])
        laptop.inv("init", "--cluster", "--yes")
        laptop.commit("A cluster")
        laptop.up()
        laptop.inv("push")
        yield laptop


def machines(laptop: ForeignLaptop) -> list[MachineHandle]:
    """The head, and all workers that run."""
    return [laptop.cloud.machine(name) for name, leader in laptop.cloud.machines().items() if leader]


def engines(laptop: ForeignLaptop) -> set[str]:
    """The releases whose code dask's scheduler and workers run, on all machines."""
    script = (
        "for each in /proc/[0-9]*/environ; do tr '\\0' '\\n' < $each 2>/dev/null; done"
        " | sed -n 's|^PYTHONPATH=/opt/sweepfleet/releases/||p'"
    )
    found = (machine.run(["sh", "-c", script]).stdout.split() for machine in machines(laptop))
    return {path.partition("/")[0] for each in found for path in each}


def current(laptop: ForeignLaptop, link: str = "current") -> str:
    """The newest release, or the one whose engine the fleet runs."""
    return laptop.head().run(["readlink", "-f", f"/opt/sweepfleet/{link}"]).stdout.strip().rpartition("/")[2]


def test_an_upgrade_during_a_run_leaves_it_alone_and_the_next_run_has_it(
    laptop: ForeignLaptop, wheels: list[Path]
) -> None:
    laptop.inv("sweep", "sweeps/gated.yaml", "--workers", "1", "--detach")
    until(lambda: "Run gated: running" in laptop.inv("status").stdout, what="it runs", timeout_s=PATIENCE_S)
    old = current(laptop, "fleet")
    assert engines(laptop) == {old}
    laptop.install(wheels[1])
    laptop.commit("sweepfleet 9.1.0")
    said = laptop.inv("push").stdout
    assert "keeping scheduler and workers as they are until these runs have ended: gated" in said
    until(lambda: current(laptop) != old, what="the head has started with the new release", timeout_s=PATIENCE_S)
    new = current(laptop)
    assert engines(laptop) == {old}
    with laptop.start("attach") as watching:
        open_gates(laptop, GATE, watching, run="gated", timeout_s=PATIENCE_S)
        rest = watching.communicate()[0]
    assert "40 of 40 points done" in rest
    rows = laptop.table("gated")
    assert rows["metric.value"].sort().to_list() == [2.0 * i for i in range(40)]
    assert rows["attempts"].to_list() == [1] * 40
    assert rows["infra_losses"].to_list() == [0] * 40
    assert laptop.manifest("gated")["sweepfleet"] != "9.1.0"
    laptop.inv("sweep", "sweeps/there.yaml", "--name", "after")
    assert laptop.manifest("after")["sweepfleet"] == "9.1.0"
    until(lambda: engines(laptop) == {new}, what="no old engine is left", timeout_s=PATIENCE_S)


def test_an_upgrade_while_no_run_is_active_restarts_scheduler_and_workers(
    laptop: ForeignLaptop, wheels: list[Path]
) -> None:
    laptop.inv("start", "--workers", "1")
    laptop.install(wheels[2])
    laptop.commit("sweepfleet 9.2.0")
    before = current(laptop)
    said = laptop.inv("push").stdout
    assert "keeping scheduler and workers" not in said
    until(lambda: current(laptop) != before, what="the head has started with the new release", timeout_s=PATIENCE_S)
    until(lambda: engines(laptop) == {current(laptop)}, what="no old engine is left", timeout_s=PATIENCE_S)
    laptop.inv("sweep", "sweeps/there.yaml", "--name", "last")
    assert laptop.manifest("last")["sweepfleet"] == "9.2.0"


def test_a_lock_of_another_sweepfleet_than_the_command_is_refused(laptop: ForeignLaptop, wheels: list[Path]) -> None:
    """Somebody has pulled another's lock, and not synchronized yet."""
    before = current(laptop)
    lock = laptop.path / "uv.lock"
    text = lock.read_text()
    lock.write_text(text.replace('name = "sweepfleet"\nversion = "9.2.0"', 'name = "sweepfleet"\nversion = "9.1.0"'))
    laptop.commit("An older lock")
    said = laptop.inv("push", code=2).stderr
    assert "uv.lock has sweepfleet 9.1.0, and this command is sweepfleet 9.2.0" in said
    assert current(laptop) == before
