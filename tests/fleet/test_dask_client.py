"""A dask client's way to a cluster: its certificate, with a real CA and scheduler, and the versions it needs."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import shutil
import stat
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster
from distributed.security import Security
from numpy.exceptions import RankWarning
from urllib3.exceptions import InsecurePlatformWarning

from sweepfleet.api import dask_client
from sweepfleet.fleet.client import session, versions
from sweepfleet.fleet.client.certificate import Files, certify
from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.money.cost import Rate
from sweepfleet.fleet.runs import jobs
from sweepfleet.fleet.runs.jobs import State
from sweepfleet.grid.errors import UsageError
from sweepfleet.machine import certificates
from sweepfleet.machine.facts import Data, Facts, Tls
from sweepfleet.machine.head import sign_client
from sweepfleet.machine.job import CLIENT, Job
from tests.fleet.test_runs_far import OUTPUTS

NO_PAGES = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
QUIET: dict[str, Any] = {"scheduler_kwargs": NO_PAGES, "worker_dashboard_address": "127.0.0.1:0"}


class Head:
    """A head with a CA, which signs as the real one does."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.data = Data(folder)
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.sent: list[Path] = []
        certificates.make_ca(self.data.tls, name="the cluster")

    def ask(self, *words: str, sudo: bool = False) -> str:
        if words == ("mktemp",):
            return f"{self.folder}/incoming-{len(self.sent)}\n"
        assert words[2].endswith('exec python3 -m sweepfleet.machine.head.sign_client "$1" "$2"')
        assert sudo
        facts = Facts("head", "dev", "b", "r", "10.0.0.1", "", "x", "", data=str(self.folder), group="g")
        self.monkeypatch.setattr(sign_client.Facts, "read", lambda: facts)
        self.monkeypatch.setattr(sys, "argv", ["sign_client", *words[4:]])
        with contextlib.redirect_stdout(io.StringIO()) as said:
            sign_client.main()
        return said.getvalue()

    def put(self, file: Path, remote: str) -> None:
        self.sent.append(file)
        shutil.copy(file, remote)

    def run(self, *words: str) -> None:
        assert words[:2] == ("rm", "-f")
        Path(words[2]).unlink()


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Head:
    return Head(tmp_path / "data", monkeypatch)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    (tmp_path / "client").mkdir()
    return Files(tmp_path / "client")


def openssl(*words: str | Path) -> str:
    return subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=True).stdout


def test_the_key_stays_here_and_the_head_signs_its_certificate(head: Head, files: Files) -> None:
    """For the name of the job, for two weeks, and not to make others with."""
    head.folder.mkdir(exist_ok=True)
    certify(head, files, name="client-ada-1")  # type: ignore[arg-type]
    assert [file.name for file in head.sent] == ["client.csr"]
    assert not list(head.folder.glob("incoming-*"))
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert openssl("verify", "-CAfile", files.ca, files.certificate).strip().endswith("OK")
    said = openssl("x509", "-in", files.certificate, "-noout", "-text")
    assert "CN = client client-ada-1" in said or "CN=client client-ada-1" in said
    assert "CA:FALSE" in said
    openssl("x509", "-in", files.certificate, "-noout", "-checkend", str(13 * 86400))
    with pytest.raises(subprocess.CalledProcessError):
        openssl("x509", "-in", files.certificate, "-noout", "-checkend", str(15 * 86400))


def security(ca: Path, certificate: Path, key: Path) -> Security:
    named: dict[str, Any] = {"tls_ca_file": str(ca)}
    for part in ("client", "scheduler", "worker"):
        named |= {f"tls_{part}_cert": str(certificate), f"tls_{part}_key": str(key)}
    return Security(require_encryption=True, **named)


def test_a_scheduler_of_the_cluster_takes_it_and_no_other(head: Head, files: Files, tmp_path: Path) -> None:
    tls = head.data.tls
    request = certificates.make_request(tls, "scheduler", subject="scheduler")
    certificates.sign(tls, request, tls.certificate("scheduler"), subject="scheduler")
    certify(head, files, name="client-ada-1")  # type: ignore[arg-type]
    stranger = Tls(tmp_path / "stranger")
    certificates.make_ca(stranger, name="stranger")
    forged = certificates.make_request(stranger, "client", subject="client")
    certificates.sign(stranger, forged, stranger.certificate("client"), subject="client")
    own = security(tls.ca, tls.certificate("scheduler"), tls.key("scheduler"))
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tls",
        security=own,
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        worker_dashboard_address="127.0.0.1:0",
    ) as cluster:
        address = cluster.scheduler_address
        with Client(address, security=security(files.ca, files.certificate, files.key), timeout=30) as client:
            assert client.submit(sum, [1, 2]).result(timeout=60) == 3
        theirs = security(tls.ca, stranger.certificate("client"), stranger.key("client"))
        with pytest.raises(OSError, match=r"(?i)timed out|ssl|tls|alert"):
            Client(address, security=theirs, timeout=2)


def test_an_answer_that_is_no_certificate_is_said(head: Head, files: Files) -> None:
    head.ask = lambda *_, **__: f"{head.folder}/incoming" if _ == ("mktemp",) else "what?"  # type: ignore[method-assign]
    with pytest.raises(ClusterError, match="certificate cannot be read"):
        certify(head, files, name="x")  # type: ignore[arg-type]


# Versions


def test_versions_that_differ_are_all_listed() -> None:
    ours = {"python": "3.12", "dask": "1", "distributed": "1", "cloudpickle": "3", "msgpack": "1", "numpy": "2.1"}
    theirs = ours | {"python": "3.13", "dask": "2", "numpy": "2.0", "pandas": "2"}
    del theirs["msgpack"]
    with pytest.raises(UsageError) as refused:
        versions.check(ours, theirs)
    assert str(refused.value).splitlines()[1:-1] == [
        "  python: 3.12 here, 3.13 on the cluster",
        "  dask: 1 here, 2 on the cluster",
        "  msgpack: 1 here, not installed on the cluster",
        "  numpy: 2.1 here, 2.0 on the cluster",
    ]
    versions.check(ours, ours | {"pandas": "2"})


def test_the_cluster_is_asked_for_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Machine:
        def ask(self, python: str, *words: str) -> str:
            asked.append(python)
            return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True).stdout

    found = versions.there(Machine(), lock="abc")  # type: ignore[arg-type]
    assert found == versions.here()
    assert asked == ["/opt/sweepfleet/environments/abc/bin/python"]
    assert {"python", "dask", "distributed", "cloudpickle", "msgpack"} <= found.keys()


# Tasks


def test_no_class_that_machines_lack_goes_with_scikit_learns_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters of warnings do; those of others stay, and ours are there again afterwards."""
    ours = ("ignore", None, InsecurePlatformWarning, None, 0)
    mine = ("ignore", None, RankWarning, None, 0)
    monkeypatch.setattr(warnings, "filters", [ours, mine])
    with dask_client._without_operators_filters():
        assert warnings.filters == [mine]
    assert warnings.filters == [mine, ours]


# The job


def test_its_job_has_the_stacks_limits_and_prices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fleet: Any = Fleet(tmp_path, OUTPUTS, None)  # type: ignore[arg-type]
    release: Any = type("Release", (), {"sha256": "s", "lock": "l", "engine": "e"})
    rate = Rate(0.1, "", ())
    monkeypatch.setattr(session, "rate_of", lambda *_, **__: rate)
    monkeypatch.setattr(session, "vcpus", lambda *_: {"a": 4, "b": 2})
    monkeypatch.setattr(session.getpass, "getuser", lambda: "Ada L.")
    job = session.job_of(fleet, release, workers=None)
    assert job.name.startswith("client-ada-l-")
    assert (job.kind, job.workers_needed, job.slots_each) == (CLIENT, OUTPUTS.max_workers, 2)
    assert (job.usd_per_worker_hour, job.budget_usd) == (0.1, OUTPUTS.budget_usd)
    assert Job.from_json(job.to_json()) == job
    assert session.job_of(fleet, release, workers=1).workers_needed == 1
    for count in (0, OUTPUTS.max_workers + 1):
        with pytest.raises(UsageError, match=f"workers={count}"):
            session.job_of(fleet, release, workers=count)
    rate = Rate(None, "", ("c9.large",))
    with pytest.raises(UsageError, match=r"the price of c9\.large is unknown.*client\(unpriced=True\)"):
        session.job_of(fleet, release, workers=1)
    assert session.job_of(fleet, release, workers=1, unpriced=True).usd_per_worker_hour is None


def test_a_stack_whose_workers_cannot_reach_each_other_is_refused(tmp_path: Path) -> None:
    """dask's tasks would wait for each other's data without end; what mends it is said."""
    fleet: Any = Fleet(tmp_path, dataclasses.replace(OUTPUTS, worker_peers=""), None)  # type: ignore[arg-type]
    refused = pytest.raises(UsageError, match=r"An earlier version made the stack dev.*inv up")
    with refused, session.way_of(fleet, workers=None, unpriced=False, steps=None):  # type: ignore[arg-type]
        pytest.fail("it was let in")


def test_a_job_that_the_head_refuses_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [
        State.of({"state": "waiting", "waiting_for": "its code"}),
        State.of({"ended": True, "error": "The cluster runs another version"}),
    ]
    monkeypatch.setattr(jobs, "follow", lambda *_: iter(states))
    said: list[str] = []
    with pytest.raises(UsageError, match="another version"):
        session._wait(None, "x", say=said.append)  # type: ignore[arg-type]
    assert said == ["The head waits for its code"]
    monkeypatch.setattr(jobs, "follow", lambda *_: iter([State.of({"state": "running"})]))
    session._wait(None, "x", say=said.append)  # type: ignore[arg-type]
