"""What machines run around a sweep: the same places and ports as the program declares, and certificates that hold."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sweepfleet.infra import layout
from sweepfleet.infra.boot_text import HEAD_SCRIPTS, Machine
from sweepfleet.infra.policies import worker_policy
from sweepfleet.machine import certificates, dask_command, facts
from sweepfleet.machine.certificates import CertificateError, fits, make_ca, make_request, sign
from sweepfleet.machine.facts import HOME, KEYS, Data, Facts, Tls
from sweepfleet.machine.head import keeper
from sweepfleet.machine.head.keeper import workers_needed
from tests.iam import allows

MACHINE = Machine(
    stack="dev",
    region="eu-west-1",
    bucket="sweepfleet-dev-0123",
    role_id="AROA0123456789ABCDEFG",
    head_private_ip="10.42.0.10",
    architecture="amd64",
    package_index="https://pypi.org/simple",
    endpoint_url="http://10.99.0.1:5000",
    data_volume_id="vol-0123456789abcdef0",
    worker_groups="sweepfleet-dev-workers",
)


def test_machines_and_program_mean_the_same_places_and_ports() -> None:
    """Neither may import the other: the program runs where no release is, a machine where no Pulumi is."""
    bucket, paths = layout.BucketLayout(), layout.MachinePaths()
    assert facts.SCHEDULER_PORT == layout.SCHEDULER_PORT
    assert facts.WORKER_PORTS == layout.WORKER_PORTS
    assert str(HOME.path) == paths.home
    assert str(HOME.current) == paths.current
    assert str(Data(Path(paths.data)).runs) == paths.runs
    assert KEYS.current == bucket.current
    assert KEYS.fleet == bucket.fleet
    assert KEYS.requests == bucket.requests
    assert KEYS.release("a").startswith(bucket.releases)
    assert KEYS.environment("a").startswith(bucket.environments)
    assert KEYS.certificate("me").startswith(bucket.certificates)
    assert KEYS.ca.startswith(bucket.tls)
    assert (KEYS.inbox, KEYS.outbox) == (bucket.inbox, bucket.outbox)


def test_a_machine_reads_what_the_boot_text_told_it() -> None:
    told = Facts.read(MACHINE.facts())
    assert (told.role, told.bucket, told.group) == ("head", MACHINE.bucket, MACHINE.worker_groups)
    assert (told.head_ip, told.endpoint_url, told.data) == ("10.42.0.10", MACHINE.endpoint_url, "/srv/sweepfleet")
    assert "await-release" in HEAD_SCRIPTS


def test_a_worker_may_do_what_it_does_in_the_bucket_and_no_more() -> None:
    arn, me = "arn:aws:s3:::b", "AROA:i-1"
    policy = worker_policy(bucket_arn=arn)
    for key in (
        KEYS.current,
        KEYS.ca,
        KEYS.release("a"),
        KEYS.data("a"),
        KEYS.environment("a"),
        KEYS.certificate(me),
    ):
        assert allows(policy, "s3:GetObject", f"{arn}/{key}", userid=me, context={})
    assert allows(policy, "s3:PutObject", f"{arn}/{KEYS.request(me)}", userid=me, context={})
    assert not allows(policy, "s3:PutObject", f"{arn}/{KEYS.request('AROA:i-2')}", userid=me, context={})
    assert not allows(policy, "s3:PutObject", f"{arn}/{KEYS.certificate(me)}", userid=me, context={})
    assert allows(policy, "s3:PutObject", f"{arn}/runs/trial/artifacts/ab/plot.png", userid=me, context={})
    assert not allows(policy, "s3:PutObject", f"{arn}/runs/trial/ledger.sqlite", userid=me, context={})
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
        assert not allows(policy, action, f"{arn}/{KEYS.part('trial', '1', 0)}", userid=me, context={})
    for action in ("s3:GetObject", "s3:PutObject"):
        assert allows(policy, action, f"{arn}/{KEYS.checkpoints('trial')}ab.tar", userid=me, context={})


def test_a_certificate_is_the_cas_and_its_keys_own(tmp_path: Path) -> None:
    """Signed for the name that the signer knows, whatever the request says; good for no other key and no other CA."""
    head, worker = Tls(tmp_path / "head"), Tls(tmp_path / "worker")
    make_ca(head, name="cluster")
    before = head.ca.read_bytes()
    make_ca(head, name="cluster")
    assert head.ca.read_bytes() == before
    assert head.ca_key.stat().st_mode & 0o077 == 0
    request = make_request(worker, "worker", subject="somebody else")
    worker.ca.write_bytes(before)
    assert not fits(worker, "worker")
    sign(head, request, worker.certificate("worker"), subject="AROA:i-1")
    assert fits(worker, "worker")
    shown = ["openssl", "x509", "-noout", "-subject", "-ext", "basicConstraints", "-in"]
    said = subprocess.run([*shown, worker.certificate("worker")], capture_output=True, text=True, check=True).stdout
    assert "CN = AROA:i-1" in said
    assert "CA:FALSE" in said
    worker.key("worker").unlink()
    make_request(worker, "worker", subject="x")
    assert not fits(worker, "worker"), "it belongs to another key"
    other = Tls(tmp_path / "other")
    make_ca(other, name="other")
    worker.ca.write_bytes(other.ca.read_bytes())
    assert not fits(worker, "worker"), "it is another CA's"


def test_what_is_no_request_is_not_signed(tmp_path: Path) -> None:
    tls = Tls(tmp_path / "head")
    make_ca(tls, name="cluster")
    (tmp_path / "csr").write_text("-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n")
    with pytest.raises(CertificateError):
        sign(tls, tmp_path / "csr", tmp_path / "cert", subject="x")
    assert not (tmp_path / "cert").exists()
    assert certificates.DAYS < certificates.CA_DAYS


def test_everything_speaks_tls_and_the_dashboard_stays_on_the_head(tmp_path: Path) -> None:
    command = dask_command.scheduler(Path("python"), head_ip="10.42.0.10")
    assert command[command.index("--protocol") + 1] == "tls"
    assert command[command.index("--dashboard-address") + 1] == "127.0.0.1:8787"
    settings = dask_command.environment(Tls(tmp_path), "worker")
    assert settings["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "True"
    assert dask_command.address("10.42.0.10") == "tls://10.42.0.10:8786"


def test_the_keeper_wants_what_runs_can_use_and_nothing_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `inv start` asked for is kept for a while that is counted since the boot, or since the last one."""
    for name in ("UPTIME", "BOOT"):
        monkeypatch.setattr(keeper, name, tmp_path / name)
    (tmp_path / "BOOT").write_text("this\n")
    (tmp_path / "UPTIME").write_text("1099.5 4000.0\n")
    data = Data(tmp_path)
    jobs = {"one": 3, "two": 4, "ended": 5}
    for name, workers in jobs.items():
        folder = data.jobs / name
        folder.mkdir(parents=True)
        (folder / "progress.json").write_text(f'{{"workers_needed": {workers}}}')
        if name != "ended":
            (folder / "active").touch()
    assert workers_needed(data, most=20, now_s=0) == 7
    assert workers_needed(data, most=5, now_s=0) == 5
    (data.jobs / "one" / "active").unlink()
    (data.jobs / "two" / "active").unlink()
    assert workers_needed(data, most=20, now_s=0) == 0
    data.hold.write_text('{"workers": 2, "for_s": 100, "boot": "this", "since_s": 1000.0, "until_s": 0}')
    assert workers_needed(data, most=20, now_s=0) == 2
    assert workers_needed(data, most=1, now_s=1e12) == 1
    (tmp_path / "UPTIME").write_text("1100.0 4000.0\n")
    assert workers_needed(data, most=20, now_s=0) == 0
    (tmp_path / "BOOT").write_text("another\n")
    assert workers_needed(data, most=20, now_s=0) == 0
    (tmp_path / "UPTIME").write_text("99.0 4000.0\n")
    assert workers_needed(data, most=20, now_s=0) == 2
    data.hold.write_text("{}")
    assert workers_needed(data, most=20, now_s=0) == 0
