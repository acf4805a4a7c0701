"""Who is let in, and who is not; and what is refused leaves the cluster as it was. See docs/security.md.

In the rehearsal cloud: real machines, real TLS and SSH, roles and security groups enforced.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.machine.facts import KEYS, WORKER_TLS
from tests.cloud.rehearsal.cloud import Cloud, until
from tests.cloud.rehearsal.handle import MachineHandle
from tests.cloud.rehearsal.host import why_not
from tests.cloud.rehearsed import Laptop

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
SCHEDULER, FIRST_WORKER_PORT = 8786, 40000
PATIENCE_S = 300
QUICK = "name: {name}\nrun: sweeps_of_tests.fit:fit\nparameters: {{x: [1, 2, 3]}}\n"
# Asks at each [address, port, certificate, key] and prints what came of it: with TLS, or without when the certificate
# is None, or with TLS and no certificate when it is "". dask speaks first to whomever it accepts.
ASK = """
import json, socket, ssl, sys
from concurrent.futures import ThreadPoolExecutor
def ask(one):
    address, port, certificate, key = one
    try:
        with socket.create_connection((address, port), timeout=5) as plain:
            plain.settimeout(5)
            if certificate is None:
                plain.sendall(b"hello" * 100)
                return plain.recv(64).hex() or "closed"
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if certificate:
                context.load_cert_chain(certificate, key)
            with context.wrap_socket(plain) as safe:
                return "let in" if safe.recv(64) else "closed"
    except TimeoutError:
        return "silence"
    except (OSError, ssl.SSLError) as error:
        return "refused " + type(error).__name__
with ThreadPoolExecutor(64) as pool:
    print(json.dumps(list(pool.map(ask, json.loads(sys.argv[1])))))
"""
MAKE_IDENTITIES = """
cd {folder}
for name in self other-ca; do openssl ecparam -name prime256v1 -genkey -noout -out $name.key; done
openssl req -x509 -new -key self.key -subj "/CN=$1" -days 9 -out self.pem
openssl req -x509 -new -key other-ca.key -subj /CN=sweepfleet -days 9 -out other-ca.pem
openssl ecparam -name prime256v1 -genkey -noout -out other.key
openssl req -new -key other.key -subj "/CN=$1" -out other.csr
openssl x509 -req -in other.csr -CA other-ca.pem -CAkey other-ca.key -CAcreateserial -days 9 -out other.pem
""".format(folder="/root")
PLAIN_CLIENT = """
import sys
from distributed import Client
try:
    Client(sys.argv[1], timeout="5s")
except OSError as error:
    print("refused:", error)
"""


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A laptop whose cluster is up, has its code, and one worker."""
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        laptop = Laptop(cloud, tmp_path_factory.mktemp("laptop"))
        laptop.up()
        prepare(laptop)
        yield laptop


def prepare(laptop: Laptop) -> None:
    """Push with a function of the tests' own, and start one worker."""
    folder = laptop.path / "sweeps_of_tests"
    folder.mkdir()
    (folder / "fit.py").write_text("def fit(x):\n    return float(x)\n")
    laptop.commit("A function to run")
    laptop.push()
    laptop.inv("start", "--workers", "1")


@pytest.fixture
def head(laptop: Laptop) -> MachineHandle:
    return laptop.cloud.machine(laptop.outputs.head_id)


@pytest.fixture
def worker(laptop: Laptop) -> MachineHandle:
    return workers(laptop)[0]


def workers(laptop: Laptop) -> list[MachineHandle]:
    """The group's machines that have power, the oldest first."""
    groups = laptop.cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    machines = [laptop.cloud.machine(one["InstanceId"]) for group in groups for one in group["Instances"]]
    return [machine for machine in machines if machine.running]


def address(machine: MachineHandle) -> str:
    return machine.run(["hostname", "-I"]).stdout.split()[0]


def ask(machine: MachineHandle, *questions: tuple[str, int, str | None, str]) -> list[str]:
    return list(json.loads(machine.run(["/usr/bin/python3", "-c", ASK, json.dumps(questions)]).stdout))


def listening(machine: MachineHandle) -> set[int]:
    """The ports on which a machine listens to more than itself."""
    lines = machine.run(["ss", "-ltnH"]).stdout.splitlines()
    places = [line.split()[3].rpartition(":") for line in lines]
    return {int(port) for host, _, port in places if not host.startswith(("127.", "[::1]"))}


def sweep(laptop: Laptop, name: str, *words: str, code: int = 0, run: str = "sweeps_of_tests.fit:fit") -> str:
    """Run three points there; what was said."""
    grid = laptop.path / "sweeps_of_tests" / f"{name}.yaml"
    grid.write_text(QUICK.format(name=name).replace("sweeps_of_tests.fit:fit", run))
    done = laptop.inv("sweep", "--grid", str(grid), "--workers", "1", *words, code=code)
    return done.stdout + done.stderr


def current(laptop: Laptop) -> str:
    """The commit of the cluster's release."""
    body = laptop.cloud.client("s3").get_object(Bucket=laptop.outputs.bucket, Key=KEYS.current)["Body"].read()
    return str(json.loads(body)["commit"])


@contextmanager
def replaced(laptop: Laptop, key: str, content: bytes | None) -> Iterator[None]:
    """Something else, or nothing, in an object's place for a while."""
    s3, bucket = laptop.cloud.client("s3"), laptop.outputs.bucket
    before = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    if content is None:
        s3.delete_object(Bucket=bucket, Key=key)
    else:
        s3.put_object(Bucket=bucket, Key=key, Body=content)
    try:
        yield
    finally:
        s3.put_object(Bucket=bucket, Key=key, Body=before)


def test_no_port_but_the_heads_ssh_can_be_reached_from_outside(laptop: Laptop, head: MachineHandle) -> None:
    open_on_head = listening(head)
    assert open_on_head == {22, SCHEDULER}
    ports = [*sorted(open_on_head), 80, 443, 8787, FIRST_WORKER_PORT]
    questions = json.dumps([(laptop.head_ip, port, None, "") for port in ports])
    seen = json.loads(laptop.cloud.laptop.run([sys.executable, "-c", ASK, questions]).stdout)
    assert bytes.fromhex(seen[0]).startswith(b"SSH-2.0")
    assert seen[1:] == ["silence"] * (len(ports) - 1)


def test_nobody_without_the_clusters_certificate_gets_anything(
    laptop: Laptop, head: MachineHandle, worker: MachineHandle
) -> None:
    """From inside too: without TLS, without a certificate, with one's own, with another CA's of the right name."""
    scheduler = laptop.outputs.head_private_ip
    [port] = [port for port in listening(worker) if port != 22]
    assert FIRST_WORKER_PORT <= port <= 40127
    own = (str(WORKER_TLS.certificate("worker")), str(WORKER_TLS.key("worker")))
    heads_own = ("/srv/sweepfleet/tls/driver.pem", "/srv/sweepfleet/tls/driver.key")
    for machine, places, good in (
        (worker, [(scheduler, SCHEDULER), (address(worker), port)], own),
        (head, [(scheduler, SCHEDULER), (address(worker), port)], heads_own),
    ):
        machine.run(["sh", "-euc", MAKE_IDENTITIES, "identities", laptop.outputs.worker_role_id])
        for place in places:
            bad: list[tuple[str | None, str]] = [
                *((None, ""), ("", "")),
                *(("/root/self.pem", "/root/self.key"), ("/root/other.pem", "/root/other.key")),
            ]
            seen = ask(machine, *((*place, *identity) for identity in (good, *bad)))
            assert seen[0] == "let in", f"{machine.instance_id} at {place}"
            assert all(one == "closed" or one.startswith("refused") for one in seen[1:]), f"{place}: {seen}"
    python = "/opt/sweepfleet/environment/bin/python"
    said = head.run([python, "-c", PLAIN_CLIENT, f"tcp://{scheduler}:{SCHEDULER}"]).stdout
    assert said.startswith("refused:")
    assert "Done: 3 of 3" in sweep(laptop, "after-strangers")


def test_no_other_user_of_a_machine_can_read_its_keys(head: MachineHandle, worker: MachineHandle) -> None:
    for machine, folder, keys in (
        (worker, WORKER_TLS.folder, ["worker.key"]),
        (head, Path("/srv/sweepfleet/tls"), ["scheduler.key", "driver.key", "ca.key"]),
    ):
        for key in keys:
            script = f"test -s {folder}/{key} && ! runuser -u nobody -- cat {folder}/{key}"
            assert "Permission denied" in machine.run(["sh", "-c", script]).stderr
    said = head.run(["runuser", "-u", "sweepfleet", "--", "cat", "/srv/sweepfleet/tls/ca.key"], check=False).stderr
    assert "Permission denied" in said, "the CA's key is root's alone"
    moved = head.run(
        ["runuser", "-u", "sweepfleet", "--", "mv", "/srv/sweepfleet/tls", "/srv/sweepfleet/x"], check=False
    )
    assert "Permission denied" in moved.stderr


def test_only_members_of_the_clusters_groups_reach_its_ports(laptop: Laptop, worker: MachineHandle) -> None:
    """A machine in the same network that is in another group; it does once it is in the workers' group."""
    ec2, outputs = laptop.cloud.client("ec2"), laptop.outputs
    head = ec2.describe_instances(InstanceIds=[outputs.head_id])["Reservations"][0]["Instances"][0]
    group = ec2.create_security_group(GroupName="other", Description="other", VpcId=outputs.vpc_id)["GroupId"]
    machine = ec2.run_instances(
        MinCount=1,
        MaxCount=1,
        ImageId=head["ImageId"],
        InstanceType="t3.micro",
        SubnetId=head["SubnetId"],
        SecurityGroupIds=[group],
        UserData="#cloud-config\n{}\n",
    )["Instances"][0]["InstanceId"]
    stranger = laptop.cloud.machine(machine)
    stranger.wait_running(timeout_s=PATIENCE_S)
    try:
        places = [(outputs.head_private_ip, port) for port in (22, SCHEDULER)]
        places += [(address(worker), port) for port in (22, *(listening(worker) - {22}))]
        assert ask(stranger, *((*place, "", "") for place in places)) == ["silence"] * len(places)
        described = ec2.describe_instances(InstanceIds=[worker.instance_id])["Reservations"][0]["Instances"][0]
        ec2.modify_instance_attribute(
            InstanceId=machine, Groups=[one["GroupId"] for one in described["SecurityGroups"]]
        )
        knock = (outputs.head_private_ip, SCHEDULER, "", "")
        until(lambda: ask(stranger, knock) != ["silence"], what="a member is heard", timeout_s=PATIENCE_S)
        assert "let in" not in ask(stranger, knock), "and gets nothing without a certificate"
    finally:
        ec2.terminate_instances(InstanceIds=[machine])


ROLE = """
. /etc/sweepfleet/machine.env
me=$SWEEPFLEET_ROLE_ID:$(cat /var/lib/cloud/data/instance-id)
b=s3://$SWEEPFLEET_BUCKET
call() { aws --endpoint-url "$AWS_ENDPOINT_URL" --region "$AWS_DEFAULT_REGION" "$@" >/dev/null 2>/tmp/said; }
may() { if call "$@"; then echo "may $*"
  elif grep -qE 'denied|Forbidden|not authorized' /tmp/said; then echo "not $*"
  else echo "unclear $*: $(cat /tmp/said)"; fi; }
echo x > /tmp/x
may s3 cp $b/releases/current.json /tmp/y
may s3 cp $b/tls/ca.pem /tmp/y
may s3 cp $b/certificates/$me/cert.pem /tmp/y
may s3 cp $b/certificates/$1/cert.pem /tmp/y
may s3 cp $b/requests/$1/csr.pem /tmp/y
may s3 cp $b/runs/after-strangers/summary.json /tmp/y
may s3 ls $b/
for key in releases/current.json releases/x.tar.gz environments/x.tar.gz tls/ca.pem runs/x/summary.json \
  hosts/$1/ssh_host_ed25519_key.pub requests/$1/csr.pem certificates/$me/cert.pem requests/$me/more hosts/$me/more \
  runs/x/ledger.sqlite runs/x/artifacts/0123456789abcdef/y
do may s3 cp /tmp/x $b/$key; done
may s3 rm $b/releases/current.json
may autoscaling set-desired-capacity --auto-scaling-group-name "$2" --desired-capacity 3
may autoscaling terminate-instance-in-auto-scaling-group --instance-id "${me#*:}" --should-decrement-desired-capacity
may ec2 describe-instances
may iam list-roles
"""


def test_the_worst_that_a_worker_can_do_with_its_role(laptop: Laptop, worker: MachineHandle) -> None:
    """It reads code and its own certificate, and writes artifacts: so can a point of a sweep, which is this user."""
    outputs = laptop.outputs
    words = ["sh", "-c", ROLE, "role", outputs.head_identity, outputs.worker_group]
    said = worker.run(["runuser", "-u", "sweepfleet", "--", *words]).stdout.splitlines()
    assert [line for line in said if line.startswith("unclear")] == []
    me = f"{outputs.worker_role_id}:{worker.instance_id}"
    readable = ("releases/current.json", "tls/ca.pem", f"certificates/{me}/cert.pem")
    expected = [f"may s3 cp s3://{outputs.bucket}/{key} /tmp/y" for key in readable]
    expected += [f"may s3 cp /tmp/x s3://{outputs.bucket}/runs/x/artifacts/0123456789abcdef/y"]
    assert [line for line in said if line.startswith("may")] == expected
    assert len(said) == 24


def test_another_host_key_stops_everything(laptop: Laptop) -> None:
    """Nothing is sent to a machine that is not the one that published its key."""
    key = f"hosts/{laptop.outputs.head_identity}/ssh_host_ed25519_key.pub"
    with replaced(laptop, key, laptop.public_key.encode()):
        assert "is not the one that the machine published" in laptop.inv("status", code=3).stderr
    laptop.inv("status")


def test_a_missing_host_key_stops_everything_and_says_what_to_look_at(laptop: Laptop, worker: MachineHandle) -> None:
    """The head's, and a worker's; a wrong one of a worker's, too."""
    outputs = laptop.outputs
    heads, workers_ = (
        f"hosts/{me}/ssh_host_ed25519_key.pub"
        for me in (outputs.head_identity, f"{outputs.worker_role_id}:{worker.instance_id}")
    )
    with replaced(laptop, heads, None):
        said = laptop.inv("status", code=3).stderr
        assert f"{outputs.head_id} has not published its host key" in said
    with replaced(laptop, workers_, None):
        said = laptop.inv("logs", "--worker", worker.instance_id, code=3).stderr
        assert f"{worker.instance_id} has not published its host key" in said
    with replaced(laptop, workers_, laptop.public_key.encode()):
        said = laptop.inv("logs", "--worker", worker.instance_id, code=3).stderr
        assert f"the worker {worker.instance_id} is not the one that the machine published" in said
    laptop.inv("logs", "--worker", worker.instance_id, "--lines", "1")


def test_a_worker_that_cannot_have_what_it_needs_says_so_harms_nobody_and_joins_when_it_can(
    laptop: Laptop, worker: MachineHandle
) -> None:
    """First it has no role, then the release is another's, then the environment was cut short; then all is well."""
    iam, s3, bucket = laptop.cloud.client("iam"), laptop.cloud.client("s3"), laptop.outputs.bucket
    note = json.loads(s3.get_object(Bucket=bucket, Key=KEYS.current)["Body"].read())
    release, environment = note["release"]["key"], note["environment"]["key"]
    [(profile, role)] = [
        (one["InstanceProfileName"], one["Roles"][0]["RoleName"])
        for one in iam.list_instance_profiles()["InstanceProfiles"]
        if "worker" in one["InstanceProfileName"]
    ]
    whole = s3.get_object(Bucket=bucket, Key=environment)["Body"].read()
    with replaced(laptop, release, b"something else"), replaced(laptop, environment, whole[: len(whole) // 2]):
        iam.remove_role_from_instance_profile(InstanceProfileName=profile, RoleName=role)
        try:
            laptop.inv("scale", "2")
            [late] = until(
                lambda: [one for one in workers(laptop) if one.instance_id != worker.instance_id],
                what="another worker has power",
                timeout_s=PATIENCE_S,
            )
            says(late, "waiting for a release (inv push) or a role to read it: ")
            assert "Unable to locate credentials" in late.console()
            status = laptop.inv("status").stdout
            assert [line for line in status.splitlines() if late.instance_id in line and "has not joined" in line]
            assert "Done: 3 of 3" in sweep(laptop, "beside-a-late-one")
            assert nothing_there(late)
        finally:
            iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=role)
        says(late, f"{release} is not what was pushed: its SHA-256 is ")
        assert nothing_there(late)
        restore(s3, bucket, release)
        says(late, f"{environment} is not what was pushed: its SHA-256 is ")
        assert late.run(["ls", "/opt/sweepfleet/releases"]).stdout.split() == [note["release"]["sha256"]]
        assert late.run(["sh", "-c", "ls /opt/sweepfleet/environments || true"]).stdout.split() == []
    until(
        lambda: f"{late.instance_id}" in joined(laptop),
        what="the late worker joins",
        timeout_s=PATIENCE_S,
    )


def restore(s3: Any, bucket: str, key: str) -> None:
    """The version before the newest one is the newest again."""
    versions = s3.list_object_versions(Bucket=bucket, Prefix=key)["Versions"]
    before = next(one for one in versions if not one["IsLatest"])
    body = s3.get_object(Bucket=bucket, Key=key, VersionId=before["VersionId"])["Body"].read()
    s3.put_object(Bucket=bucket, Key=key, Body=body)


def says(machine: MachineHandle, text: str) -> None:
    """Wait until a machine's boot says something in its journal."""
    unit = "sweepfleet-boot@await-release"
    until(
        lambda: machine.running and text in machine.journal("-u", unit),
        what=f"it says: {text}",
        timeout_s=PATIENCE_S,
    )


def nothing_there(machine: MachineHandle) -> bool:
    script = (
        "ls -A /opt/sweepfleet/releases /opt/sweepfleet/environments /opt/sweepfleet/.unpacking 2>/dev/null || true"
    )
    return machine.run(["sh", "-c", script]).stdout.strip() == ""


def joined(laptop: Laptop) -> list[str]:
    """The workers that the scheduler has."""
    lines = laptop.inv("status").stdout.splitlines()
    return [line.split()[0] for line in lines if line.strip().startswith("i-") and line.endswith("slots")]


def breaks(lock: str, how: str) -> str:
    """A lock file that no environment can be built from."""
    name = 'name = "locket"\nversion = "'
    start = lock.index(name)
    end = lock.index("[[package]]", start)
    one = lock[start:end]
    version = one.removeprefix(name).partition('"')[0]
    if how == "wheel missing":
        return lock[:start] + one.replace(version, "99.0.0") + lock[end:]
    parts = one.split('hash = "sha256:')
    return (
        lock[:start] + parts[0] + "".join('hash = "sha256:' + "0" * 64 + part[64:] for part in parts[1:]) + lock[end:]
    )


@pytest.mark.parametrize(
    ("how", "reason"),
    [("wheel missing", "locket==99.0.0"), ("another hash", "ash mismatch")],
)
def test_an_environment_that_cannot_be_built_leaves_the_release_before(
    laptop: Laptop, head: MachineHandle, how: str, reason: str
) -> None:
    """The push says uv's reason; sweeps go on with what was there; nothing half-built stays; a mended push works."""
    lock = laptop.path / "uv.lock"
    good, before = lock.read_text(), current(laptop)
    there = environments(head)
    lock.write_text(breaks(good, how))
    laptop.commit(f"A lock file with {how}")
    try:
        said = laptop.inv("push", code=3).stderr
        assert (
            "The release was not published; the release before it stays current: the environment cannot be built"
            in said
        )
        assert reason in said
        assert current(laptop) == before
        assert environments(head) == there
        assert "Done: 3 of 3" in sweep(laptop, f"after-{how.replace(' ', '-')}", "--as-pushed")
    finally:
        lock.write_text(good)
        mended = laptop.commit("The lock file that was")
    laptop.inv("push")
    assert current(laptop) == mended
    assert environments(head) == there


def test_a_lock_that_cannot_be_read_is_refused_before_anything_is_sent(laptop: Laptop) -> None:
    lock = laptop.path / "uv.lock"
    good, before = lock.read_text(), current(laptop)
    lock.write_text(good + "this is no lock file [\n")
    laptop.commit("No lock file")
    said = laptop.inv("push", code=2).stderr
    assert "uv.lock" in said
    assert current(laptop) == before
    lock.write_text(good)
    laptop.commit("The lock file that was")
    laptop.inv("push")


def environments(head: MachineHandle) -> list[str]:
    """Environments on the head, whole or not."""
    return sorted(head.run(["ls", "-A", "/opt/sweepfleet/environments"]).stdout.split())


def test_a_power_cut_while_the_head_builds_is_made_good_by_the_next_push(laptop: Laptop, head: MachineHandle) -> None:
    settings = laptop.path / "pyproject.toml"
    before, there = current(laptop), environments(head)
    settings.write_text(settings.read_text().replace('">=3.11"', '">=3.11,<5"'))  # another one, of the same packages
    laptop.commit("Another environment")
    with laptop.start("push") as push:
        until(lambda: set(environments(head)) - set(there), what="the build begins", timeout_s=PATIENCE_S)
        head.kill()
        said, _ = push.communicate(timeout=PATIENCE_S)
    assert push.returncode == 3, said
    assert "connection broke" in said, said
    assert current(laptop) == before
    laptop.cloud.client("ec2").start_instances(InstanceIds=[head.instance_id])
    head.wait_running(timeout_s=PATIENCE_S)
    settings.write_text(settings.read_text().replace('">=3.11,<5"', '">=3.11,<6"'))
    commit = laptop.commit("An environment of another name than the half-built one")
    laptop.inv("push")
    assert current(laptop) == commit
    assert [name for name in environments(head) if name.startswith(".")] == []
    assert "Done: 3 of 3" in sweep(laptop, "after-a-power-cut")


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ("sweeps_of_tests.here:fit", "there is no module 'sweeps_of_tests.here'"),
        ("sweeps_of_tests.fit:other", "has no 'other'"),
    ],
)
def test_a_target_that_was_not_pushed_is_refused_before_anything_runs(
    laptop: Laptop, head: MachineHandle, run: str, reason: str
) -> None:
    """The code is here and not there: the error names the commit that runs there, and what to do."""
    (laptop.path / "sweeps_of_tests" / "here.py").write_text("def fit(x):\n    return 1.0\n")
    name = run.rpartition(":")[0].replace(".", "-").replace("_", "-")
    said = sweep(laptop, name, code=2, run=run)
    assert reason in said
    assert f"The cluster runs the code of commit {current(laptop)[:10]}" in said
    assert "inv push" in said
    assert f"Run {name}" not in laptop.inv("status").stdout, "no run goes on"
    assert head.run(["sh", "-c", f"ls /srv/sweepfleet/runs/{name}/ledger.sqlite"], check=False).returncode != 0
