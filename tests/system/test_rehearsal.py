"""The rehearsal cloud behaves as AWS does, and what new machines are told works on a real one."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sweepfleet.infra.boot_text import UV_VERSION
from sweepfleet.infra.layout import BucketLayout
from tests.cloud.rehearsal import lease
from tests.cloud.rehearsal.cloud import Cloud, until
from tests.cloud.rehearsal.handle import MachineHandle
from tests.cloud.rehearsal.host import why_not
from tests.cloud.rehearsal.network import BRIDGE_MAC, SERVICES
from tests.cloud.rehearsal.stack import Stack

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
IMDS = "http://169.254.169.254/latest"
HELLO = "#cloud-config\nwrite_files: [{path: /hello, content: told}]\nssh_genkeytypes: [ed25519]\n"
KEYS = BucketLayout()
CAP_SYS_RESOURCE = 24  # https://github.com/torvalds/linux/blob/master/include/uapi/linux/capability.h
STATUS = Path("/proc/self/status")
MAY_RESIZE = STATUS.exists() and int(STATUS.read_text().split("CapEff:")[1].split()[0], 16) >> CAP_SYS_RESOURCE & 1


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture
def stack(cloud: Cloud, request: pytest.FixtureRequest) -> Iterator[Stack]:
    stack = Stack(cloud, request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-"))
    yield stack
    stack.close()
    until(lambda: not cloud.machines(), what="all machines are gone")


def metadata(machine: MachineHandle, path: str, *, token: bool = True) -> tuple[int, str]:
    """The status and the text of a metadata request from within a machine."""
    script = (
        "import sys, urllib.error, urllib.request as r\n"
        "url, path, token = sys.argv[1:]\n"
        "headers = {}\n"
        "if token:\n"
        "    ttl = {'X-aws-ec2-metadata-token-ttl-seconds': '60'}\n"
        "    put = r.Request(url + '/api/token', method='PUT', headers=ttl)\n"
        "    headers['X-aws-ec2-metadata-token'] = r.urlopen(put, timeout=9).read().decode()\n"
        "try:\n"
        "    answer = r.urlopen(r.Request(url + path, headers=headers), timeout=9)\n"
        "    print(answer.status); print(answer.read().decode(), end='')\n"
        "except urllib.error.HTTPError as error:\n"
        "    print(error.code)\n"
    )
    status, _, text = machine.run(["python3", "-c", script, IMDS, path, "yes" if token else ""]).stdout.partition(
        "\n"
    )
    return int(status), text


def test_machine_has_its_user_data_address_and_sshd(stack: Stack) -> None:
    """A machine boots with its own user data and private address, and the operator reaches it at its public one."""
    machine = stack.run(HELLO, PrivateIpAddress="10.42.0.77")
    address = stack.address(machine)
    machine.wait_booted()
    assert machine.run(["cat", "/hello"]).stdout == "told"
    assert "10.42.0.77" in machine.run(["ip", "-4", "address"]).stdout
    console = stack.ec2.get_console_output(InstanceId=machine.instance_id)["Output"]
    assert "BEGIN SSH HOST KEY KEYS" in console
    seen = stack.ssh(address, "sudo id -u; hostname; echo $SSH_CONNECTION")
    assert seen.stdout.split()[:2] == ["0", "ip-10-42-0-77"], seen.stderr
    assert "10.42.0.77 22" in seen.stdout  # the machine knows nothing of its public address


def test_metadata_is_the_instances_own_and_wants_a_token(stack: Stack) -> None:
    """The metadata service tells an instance about itself, and tells nothing to a request without a token."""
    machine = stack.run(HELLO).wait_booted()
    assert metadata(machine, "/meta-data/instance-id", token=False) == (401, "")
    assert metadata(machine, "/meta-data/instance-id") == (200, machine.instance_id)
    assert metadata(machine, "/user-data") == (200, HELLO)
    assert metadata(machine, "/meta-data/public-keys/") == (200, f"0={stack.name}")
    assert metadata(machine, "/meta-data/spot/instance-action") == (404, "")
    document = json.loads(metadata(machine, "/dynamic/instance-identity/document")[1])
    assert (document["instanceId"], document["region"]) == (machine.instance_id, "us-east-1")
    machine.imds_fault(status=503)
    assert metadata(machine, "/meta-data/", token=False)[0] == 503
    machine.imds_fault()
    assert metadata(machine, "/meta-data/mac")[1] in machine.run(["ip", "link"]).stdout


def test_terminated_is_gone(stack: Stack) -> None:
    """A terminated instance has no machine any more."""
    machine = stack.run(HELLO).wait_running()
    stack.ec2.terminate_instances(InstanceIds=[machine.instance_id])
    until(lambda: not machine.exists, what="the machine is gone", timeout_s=15)


def test_group_keeps_its_size(stack: Stack) -> None:
    """A group of two has two machines; one that loses power is replaced, and one that powers itself off too."""
    stack.group(2, user_data=HELLO)
    first, second = (member.wait_booted() for member in stack.members())
    first.kill()
    until(lambda: first.instance_id not in {m.instance_id for m in stack.members()}, what="the dead one has left")
    [third] = [m for m in stack.members() if m.instance_id != second.instance_id]
    third.wait_booted()
    assert third.run(["cat", "/hello"]).stdout == "told"
    assert metadata(third, "/meta-data/instance-id", token=False)[0] == 401  # as the launch template wants it
    second.run(["systemctl", "poweroff"])
    until(lambda: not second.exists, what="the one that went by itself is gone")
    until(lambda: len(stack.members()) == 2, what="it has been replaced")
    stack.autoscaling.set_desired_capacity(AutoScalingGroupName=stack.name, DesiredCapacity=0)
    until(lambda: not stack.cloud.machines(), what="an empty group has no machines")


def test_group_buys_spot_and_says_when_there_is_none(stack: Stack) -> None:
    """A group's spot share comes from its first type with capacity; without any, its activities say why."""
    stack.cloud.refuse_capacity(instance_types=["c7a.xlarge"])
    stack.group(1, user_data=HELLO, OnDemandBaseCapacity=0, OnDemandPercentageAboveBaseCapacity=0)
    [member] = stack.members()
    member.wait_running()
    assert metadata(member.wait_booted(), "/meta-data/instance-life-cycle") == (200, "spot")
    assert metadata(member, "/meta-data/instance-type") == (200, "c7i.xlarge")
    stack.cloud.refuse_capacity()
    stack.autoscaling.set_desired_capacity(AutoScalingGroupName=stack.name, DesiredCapacity=2)
    last = stack.autoscaling.describe_scaling_activities(AutoScalingGroupName=stack.name)["Activities"][0]
    assert last["StatusCode"] == "Failed"
    assert "InsufficientInstanceCapacity" in last["StatusMessage"]
    stack.cloud.restore_capacity()
    until(lambda: len(stack.members()) == 2, what="the group tries again")


def test_spot_notice_then_the_end(stack: Stack) -> None:
    """An interrupted spot instance finds its notice in its metadata, is terminated when due, and is replaced."""
    stack.group(1, user_data=HELLO, OnDemandPercentageAboveBaseCapacity=0)
    [member] = stack.members()
    member.wait_booted()
    stack.cloud.interrupt_spot(member.instance_id, in_s=3)
    notice = json.loads(metadata(member, "/meta-data/spot/instance-action")[1])
    assert notice["action"] == "terminate"
    until(lambda: not member.exists, what="it is gone when due")
    [other] = stack.members()
    stack.cloud.recommend_rebalance(other.wait_booted().instance_id)
    assert "noticeTime" in metadata(other, "/meta-data/events/recommendations/rebalance")[1]
    assert len(stack.members()) == 2  # capacity rebalance: one more before this one goes


def test_scheduled_action_runs(stack: Stack) -> None:
    """A scheduled scale-in happens when it is due, with nobody there."""
    stack.group(1, user_data=HELLO)
    [member] = stack.members()
    stack.autoscaling.put_scheduled_update_group_action(
        AutoScalingGroupName=stack.name,
        ScheduledActionName="dead-man",
        StartTime=time.time() + 2,
        DesiredCapacity=0,
    )
    until(lambda: not stack.members() and not member.exists, what="the group is empty")
    assert not stack.autoscaling.describe_scheduled_actions(AutoScalingGroupName=stack.name)[
        "ScheduledUpdateGroupActions"
    ]


def test_stopped_machine_keeps_its_disk(stack: Stack) -> None:
    """Stopped and started again, a machine finds its disk as it was; so it does after a reboot and a power cut."""
    machine = stack.run(HELLO).wait_booted()
    machine.run(["sh", "-c", "echo mine > /root/note"])
    stack.ec2.stop_instances(InstanceIds=[machine.instance_id])
    until(lambda: not machine.running, what="it is off")
    stack.ec2.start_instances(InstanceIds=[machine.instance_id])
    machine.wait_booted()
    machine.reboot()
    machine.wait_booted().kill()
    state = {"Name": "instance-state-name", "Values": ["stopped"]}
    assert stack.ec2.describe_instances(Filters=[state])["Reservations"], "a start would have no effect"
    stack.ec2.start_instances(InstanceIds=[machine.instance_id])
    machine.wait_booted()
    assert machine.boots == 4
    assert machine.run(["cat", "/root/note"]).stdout == "mine\n"
    stack.ec2.stop_instances(InstanceIds=[machine.instance_id])
    stack.ec2.start_instances(InstanceIds=[machine.instance_id])  # before anybody sees it stopped
    until(lambda: machine.boots == 5, what="it is started again")


def test_volume_outlives_its_instance(stack: Stack) -> None:
    """What is written to a volume is found by the next instance that it is attached to."""
    volume = stack.volume()
    device = f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{volume.replace('-', '')}"
    first, second = stack.run(HELLO).wait_booted(), stack.run(HELLO).wait_booted()
    stack.ec2.attach_volume(VolumeId=volume, InstanceId=first.instance_id, Device="/dev/xvdf")
    until(lambda: first.run(["test", "-b", device], check=False).returncode == 0, what="the device is there")
    first.run(["sh", "-ec", f"mkfs.ext4 -q {device}; mount {device} /mnt; echo kept > /mnt/note"])
    stack.ec2.terminate_instances(InstanceIds=[first.instance_id])
    until(lambda: not first.exists, what="the first is gone")
    stack.ec2.attach_volume(VolumeId=volume, InstanceId=second.instance_id, Device="/dev/xvdf")
    until(lambda: second.run(["test", "-b", device], check=False).returncode == 0, what="the device is there")
    assert second.run(["sh", "-ec", f"mount {device} /mnt; cat /mnt/note"]).stdout == "kept\n"


def test_no_way_out(stack: Stack) -> None:
    """Neither a machine nor the laptop reaches any address outside: there is no route, and that shows at once."""
    machine = stack.run(HELLO).wait_booted()
    connect = "import socket; socket.create_connection(('1.1.1.1', 443), timeout=60)"
    for where in (machine, stack.cloud.laptop):
        assert "Network is unreachable" in where.run(["python3", "-c", connect], check=False).stderr


def test_the_way_to_the_services_stays_when_machines_come_and_go(stack: Stack) -> None:
    """The bridge has an address of its own, and not that of whichever machine has the lowest."""
    machine = stack.run(HELLO).wait_booted()
    connect = f"import socket; socket.create_connection(('{SERVICES}', 5000), timeout=60)"
    machine.run(["python3", "-c", connect])
    assert f"dev eth0 lladdr {BRIDGE_MAC} " in machine.run(["ip", "neigh", "show", SERVICES]).stdout


def test_security_groups_are_enforced(stack: Stack) -> None:
    """A port that no rule names is closed, from outside and inside; a rule for a group opens it to its members."""
    machine, peer = stack.run(HELLO, PrivateIpAddress="10.42.0.77"), stack.run(HELLO)
    address = stack.address(machine)
    closed = stack.ec2.create_security_group(GroupName="closed", Description="closed", VpcId=stack.vpc)["GroupId"]
    stack.ec2.modify_instance_attribute(InstanceId=machine.instance_id, Groups=[closed])
    machine.wait_booted()
    peer.wait_booted()
    connect = "import socket; socket.create_connection(('10.42.0.77', 22), timeout=2).recv(9)"

    def reached() -> bool:
        return peer.run(["python3", "-c", connect], check=False).returncode == 0

    assert stack.ssh(address, "true").returncode == 255
    assert not reached()
    members = [{"GroupId": stack.open_group}]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "UserIdGroupPairs": members}
    stack.ec2.authorize_security_group_ingress(GroupId=closed, IpPermissions=[rule])
    until(reached, what="the rule has opened the port")
    assert stack.ssh(address, "true").returncode == 255  # to the group, not to the laptop
    everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    stack.ec2.revoke_security_group_egress(GroupId=closed, IpPermissions=[everything])
    answers = ["python3", "-c", f"import urllib.request as r; r.urlopen('{stack.cloud.endpoint_url}', timeout=2)"]
    until(lambda: "timed out" in machine.run(answers, check=False).stderr, what="no rule lets it out any more")
    assert metadata(machine, "/meta-data/instance-id") == (200, machine.instance_id)


def test_limited_machine_uses_no_more_than_its_share(stack: Stack) -> None:
    """Whatever starts in it later, too."""
    machine = stack.run(HELLO).wait_booted()
    machine.limit(0.2)
    began_s, before_s = time.monotonic(), machine.used_s
    machine.run(["systemd-run", "--wait", "timeout", "3", "sh", "-c", "while :; do :; done"], check=False)
    assert 0 < machine.used_s - before_s < 0.3 * (time.monotonic() - began_s)


def test_partition_heals(stack: Stack) -> None:
    """A machine off the network is not reached, runs on, and is reached again."""
    machine = stack.run(HELLO)
    address = stack.address(machine)
    machine.wait_booted()
    assert stack.ssh(address, "true").returncode == 0
    machine.partition()
    assert stack.ssh(address, "true").returncode == 255
    machine.heal()
    until(lambda: stack.ssh(address, "true").returncode == 0, what="it is reached again")
    assert machine.boots == 1


def shown(machine: MachineHandle, unit: str) -> str:
    """What systemd says of a unit: active, inactive, failed or activating."""
    return machine.run(["systemctl", "is-active", unit], check=False).stdout.strip()


def published(stack: Stack, key: str) -> bytes | None:
    """An object of the bucket; None when it is not there."""
    found = {each["Key"] for each in stack.s3.list_objects_v2(Bucket=stack.bucket).get("Contents", [])}
    return stack.s3.get_object(Bucket=stack.bucket, Key=key)["Body"].read() if key in found else None


def settled(machine: MachineHandle) -> MachineHandle:
    """Until the boot text's own units have done what they can."""
    machine.wait_booted()
    done = ("data-volume", "install-uv", "publish-host-key")
    until(
        lambda: all(shown(machine, f"sweepfleet-boot@{name}") == "inactive" for name in done), what="they have ended"
    )
    return machine


def archive(files: dict[str, str]) -> bytes:
    """A gzipped tar of executable files."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text.encode()), 0o755
            tar.addfile(member, io.BytesIO(text.encode()))
    return data.getvalue()


START = ".sweepfleet/code/sweepfleet/machine/start"


def push(stack: Stack, name: str, *, sha256: str = "") -> None:
    """Publish a release whose start writes what it is told, with an environment; `sha256` belies the release."""
    start = '#!/bin/sh\nsed "s/^/$1 /" "$2/version" > /run/started\nexec sleep infinity\n'
    current = {}
    for kind, prefix, data in (
        ("release", KEYS.releases, archive({START: start, "name": name})),
        ("environment", KEYS.environments, archive({"version": f"environment of {name}\n"})),
    ):
        key = f"{prefix}{hashlib.sha256(data).hexdigest()}.tar.gz"
        stack.s3.put_object(Bucket=stack.bucket, Key=key, Body=data)
        current[kind] = {"key": key, "sha256": hashlib.sha256(data).hexdigest()}
    if sha256:
        current["release"]["sha256"] = sha256
    stack.s3.put_object(Bucket=stack.bucket, Key=KEYS.current, Body=json.dumps(current).encode())


def test_boot_text_makes_a_head(stack: Stack, tmp_path: Path) -> None:
    """A head's boot text does all that it promises, without a warning, and once: a later boot finds it done."""
    volume = stack.volume()
    head = settled(stack.head(volume))
    address = stack.address(head)

    assert "status: done" in head.run(["cloud-init", "status", "--long"]).stdout
    assert "Valid cloud-config" in head.run(["cloud-init", "schema", "--system"]).stdout
    assert not head.run(["grep", "-E", "WARNING|ERROR", "/var/log/cloud-init.log"], check=False).stdout
    assert head.run(["systemctl", "is-system-running"], check=False).stdout == "running\n"

    me = f"{stack.head_role_id}:{head.instance_id}"
    key = published(stack, KEYS.host_key(me))
    assert key is not None
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"{address} {' '.join(key.decode().split()[:2])}\n")
    seen = stack.ssh(address, "sudo -n id -u; id -un", known_hosts=known_hosts)
    assert seen.stdout.split() == ["0", "admin"], seen.stderr
    assert head.run(["getent", "passwd", "sweepfleet"]).stdout.strip().endswith(":/opt/sweepfleet:/usr/sbin/nologin")
    assert head.run(["getent", "shadow", "sweepfleet"]).stdout.split(":")[1].startswith("!")

    assert head.run(["findmnt", "-no", "FSTYPE,OPTIONS", "/srv/sweepfleet"]).stdout.startswith("ext4")
    assert head.run(["stat", "-c", "%U %G", "/srv/sweepfleet"]).stdout.split() == ["root", "root"]
    assert head.run(["uv", "--version"]).stdout.split()[1] == UV_VERSION
    install = "uv pip install --target /tmp/there --default-index $SWEEPFLEET_PACKAGE_INDEX uv"
    head.run(["sh", "-ec", f". /etc/sweepfleet/machine.env; {install}; test -x /tmp/there/bin/uv"])
    assert "OMP_NUM_THREADS=1" in head.run(["cat", "/etc/sweepfleet/machine.env"]).stdout
    journal = head.journal("-u", "systemd-journald")
    assert "System Journal (/var/log/journal/" in journal
    assert "max 500.0M" in journal
    assert shown(head, "sweepfleet-boot@await-release") == "active"

    head.run(["sh", "-c", "mkdir /srv/sweepfleet/runs; echo results > /srv/sweepfleet/runs/one"])
    uuid = head.run(["blkid", "-o", "value", "-s", "UUID", "/dev/nvme1n1"]).stdout
    head.reboot()
    settled(head)
    assert head.run(["cat", "/srv/sweepfleet/runs/one"]).stdout == "results\n"
    assert head.run(["systemctl", "is-system-running"], check=False).stdout == "running\n"

    stack.ec2.terminate_instances(InstanceIds=[head.instance_id])
    until(lambda: not head.exists, what="the first head is gone")
    other = settled(stack.head(volume))
    assert other.run(["cat", "/srv/sweepfleet/runs/one"]).stdout == "results\n"
    assert other.run(["blkid", "-o", "value", "-s", "UUID", "/dev/nvme1n1"]).stdout == uuid
    assert published(stack, KEYS.host_key(f"{stack.head_role_id}:{other.instance_id}")) != key
    assert not [line for line in stack.cloud.denials() if line.startswith(stack.head_role_id)]


@pytest.mark.skipif(not MAY_RESIZE, reason="growing a mounted file system needs CAP_SYS_RESOURCE")
def test_data_volume_grows(stack: Stack) -> None:
    """A data volume that has been made larger is all in use after a reboot."""
    volume = stack.volume(size_gb=1)
    head = settled(stack.head(volume))
    stack.ec2.modify_volume(VolumeId=volume, Size=2)
    head.reboot()
    settled(head)
    assert int(head.run(["findmnt", "-bno", "SIZE", "/srv/sweepfleet"]).stdout) > 1 << 30


def test_a_data_volume_that_seems_empty_and_is_not_gets_no_new_file_system(stack: Stack) -> None:
    """blkid says the same of a device that it cannot read as of one with nothing on it."""
    head = settled(stack.head(stack.volume(size_gb=1)))
    unit, blkid = "sweepfleet-boot@data-volume", "/usr/local/sbin/blkid"
    head.run(["sh", "-ec", "echo kept > /srv/sweepfleet/note; umount /srv/sweepfleet"])
    head.run(["sh", "-ec", f"printf '#!/bin/sh\\nexit 2\\n' > {blkid}; chmod +x {blkid}; systemctl restart {unit}"])
    until(lambda: "is not empty" in head.run(["journalctl", "-u", unit]).stdout, what="it says so")
    assert head.run(["mountpoint", "/srv/sweepfleet"], check=False).returncode
    head.run(["sh", "-ec", f"rm {blkid}; systemctl restart {unit}"])
    until(lambda: shown(head, unit) == "inactive", what="it is mounted")
    assert head.run(["cat", "/srv/sweepfleet/note"]).stdout == "kept\n"


def test_boot_text_makes_workers_that_run_a_release(stack: Stack) -> None:
    """Workers wait for a release, take it and its environment whole, and start it; so do later and rebooted ones."""
    stack.group(1)
    [worker] = stack.members()
    worker.wait_booted()
    assert "status: done" in worker.run(["cloud-init", "status", "--long"]).stdout
    assert not worker.run(["grep", "-E", "WARNING|ERROR", "/var/log/cloud-init.log"], check=False).stdout
    unit = "sweepfleet-boot@await-release"
    until(lambda: "waiting for a release" in worker.journal("-u", unit), what="the worker waits")
    until(
        lambda: published(stack, KEYS.host_key(f"{stack.worker_role_id}:{worker.instance_id}")),
        what="its key is published",
    )

    push(stack, "first", sha256="0" * 64)
    until(lambda: "is not what was pushed" in worker.journal("-u", unit), what="a forged release is refused")
    left = worker.run(["find", "/opt/sweepfleet", "-type", "f", "!", "-name", ".current.json"])
    assert left.stdout == ""  # nothing of it; what the bucket says is current is there

    push(stack, "first")
    started = ["cat", "/run/started"]
    until(lambda: worker.run(started, check=False).returncode == 0, what="the release has been started")
    assert worker.run(started).stdout == "worker environment of first\n"
    assert worker.run(["cat", "/opt/sweepfleet/current/name"]).stdout == "first"

    stack.autoscaling.set_desired_capacity(AutoScalingGroupName=stack.name, DesiredCapacity=2)
    [later] = [member for member in stack.members() if member.instance_id != worker.instance_id]
    for machine in (worker, later):
        if machine is worker:
            machine.reboot()
        machine.wait_booted()
        until(lambda machine=machine: machine.run(started, check=False).returncode == 0, what="it has been started")
        assert (
            machine.run(["sh", "-c", "ls /opt/sweepfleet/releases /opt/sweepfleet/environments | wc -w"]).stdout
            == "4\n"
        )


def test_an_object_is_what_was_put_last_whole_and_in_parts(cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    bucket = {"Bucket": "objects-of-a-test"}
    s3.create_bucket(**bucket)
    for text in (b"first", b"written anew"):
        s3.put_object(**bucket, Key="object", Body=text)
        for _ in range(2):
            assert s3.get_object(**bucket, Key="object")["Body"].read() == text
            assert s3.get_object(**bucket, Key="object", Range="bytes=1-3")["Body"].read() == text[1:4]
    s3.delete_object(**bucket, Key="object")
    s3.delete_bucket(**bucket)


def test_roles_are_enforced(stack: Stack) -> None:
    """A worker writes under its own id and nowhere else, and does nothing that its policy does not name."""
    stack.group(1)
    [worker] = stack.members()
    worker.wait_booted()
    stack.s3.put_object(Bucket=stack.bucket, Key=f"{KEYS.runs}secret", Body=b"")
    aws = f"aws --region us-east-1 --endpoint-url {stack.cloud.endpoint_url}"
    me = f"{stack.worker_role_id}:{worker.instance_id}"

    def may(command: str) -> bool:
        done = worker.run(["sh", "-c", f"{aws} {command}"], check=False)
        assert done.returncode == 0 or "AccessDenied" in done.stderr or "403" in done.stderr, done.stderr
        return done.returncode == 0

    assert may(f"s3 cp /etc/hostname s3://{stack.bucket}/{KEYS.requests}{me}/csr.pem")
    assert not may(f"s3 cp /etc/hostname s3://{stack.bucket}/{KEYS.requests}{me}0/csr.pem")
    assert not may(f"s3 cp /etc/hostname s3://{stack.bucket}/{KEYS.requests}{me}/another")
    assert not may(f"s3 cp /etc/hostname s3://{stack.bucket}/{KEYS.current}")
    assert not may(f"s3 cp s3://{stack.bucket}/{KEYS.runs}secret -")
    assert not may(f"s3 cp s3://{stack.bucket}/{KEYS.current} -")  # not there; who may not list is told no more
    assert not may(f"s3 ls s3://{stack.bucket}/")
    assert not may(f"autoscaling set-desired-capacity --auto-scaling-group-name {stack.name} --desired-capacity 3")
    denied = worker.run(
        ["sh", "-c", f"AWS_ACCESS_KEY_ID=testing AWS_SECRET_ACCESS_KEY=testing {aws} s3 ls"], check=False
    )
    assert "AccessDenied" in denied.stderr
    assert any(f"{me}: s3:ListBucket" in line for line in stack.cloud.denials())


OWNER = """
import sys, time
from pathlib import Path
from tests.cloud.rehearsal.cloud import Cloud
from tests.cloud.rehearsal.stack import Stack
with Cloud(Path(sys.argv[1])) as cloud:
    stack = Stack(cloud, "left")
    machine = stack.run("#cloud-config\\n").wait_running()
    machine.limit(0.5)
    machine.limit(0)
    volume = stack.volume()
    stack.ec2.attach_volume(VolumeId=volume, InstanceId=machine.instance_id, Device="/dev/xvdf")
    while machine.run(["sh", "-c", "mkfs.ext4 -q /dev/nvme1n1 && mount /dev/nvme1n1 /mnt"], check=False).returncode:
        time.sleep(0.2)
    print(cloud.lease.name, flush=True)
    time.sleep(600)
"""


def test_killed_owner_leaves_nothing(tmp_path: Path) -> None:
    """When a test process is killed, its machines die with it, and `down` clears the rest away."""
    repository = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=repository, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": repository}
    ) as owner:
        assert owner.stdout is not None
        name = owner.stdout.readline().strip()
        [entry] = [each for each in lease.leases() if each.name == name]
        assert entry.alive
        assert left_of(name, tmp_path)
        owner.send_signal(signal.SIGKILL)
    until(lambda: not entry.alive, what="the rig has ended with its owner")
    assert name in lease.down(name)
    until(lambda: not left_of(name, tmp_path), what="nothing is left", timeout_s=15)
    assert name not in lease.down(name)


def left_of(name: str, root: Path) -> list[str]:
    """Processes, loop devices, mounts and control groups of a cloud, from outside."""
    found = [
        f"process {p.pid}"
        for p in psutil.process_iter(["cmdline"])
        if str(root) in " ".join(p.info["cmdline"] or []) and p.pid != os.getpid()
    ]
    found += [str(f) for f in Path("/sys/block").glob("loop*/loop/backing_file") if str(root) in f.read_text()]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(root) in line]
    return found + [str(folder) for hierarchy in lease.HIERARCHIES if (folder := hierarchy / name).exists()]
