"""`inv ssh-config`: hosts for ssh and editors, with the keys that machines published.

What ssh makes of it, ssh itself says (`ssh -G`). Real connections: tests/system/test_fleet_console.py.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach import ssh_config, ssh_proxy
from sweepfleet.fleet.reach import ssh_config_files as files
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.fleet.reach.host_keys import NoKeyError
from sweepfleet.fleet.reach.ssh_folder import SshFolder, add_worker, remove
from sweepfleet.fleet.stack.doctor import examine
from sweepfleet.fleet.stack.folder import StackFolder
from sweepfleet.fleet.workers.group import Group, Worker
from sweepfleet.grid.errors import UsageError
from sweepfleet.infra.layout import BucketLayout
from tests.cloud.moto import Moto
from tests.fleet.test_runs_far import OUTPUTS

pytest_plugins = ["tests.cloud.fixtures"]
REGION = "us-east-1"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHead"
MINE = b"# mine\r\nCompression yes\nHost *.example.org sweepfleet-other\n  User ada\n\tPort = 2222"
needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="OpenSSH's client is not installed")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SshFolder:
    """~/.ssh of a home of its own, which is not there yet."""
    monkeypatch.setenv("HOME", str(tmp_path / "home of ada"))
    (tmp_path / "home of ada").mkdir()
    return SshFolder.own()


@pytest.fixture
def fleet(moto: Moto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A cluster that is up, whose head has published its key."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    ec2, s3 = moto.client("ec2", REGION), moto.client("s3", REGION)
    image = ec2.describe_images()["Images"][0]["ImageId"]
    head_id = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    outputs = replace(
        OUTPUTS, head_id=head_id, ssh_public_key=f"{KEY} ada", region=REGION, endpoint_url=moto.endpoint
    )
    s3.create_bucket(Bucket=outputs.bucket)
    s3.put_object(Bucket=outputs.bucket, Key=BucketLayout().host_key(outputs.head_identity), Body=f"{KEY} root@head")
    root = tmp_path / "a checkout"
    StackFolder(root, outputs.stack).keep(outputs)
    return Fleet(root, outputs, Cloud(REGION, endpoint_url=moto.endpoint))


def config(folder: SshFolder, content: bytes, mode: int = 0o600) -> None:
    folder.path.mkdir(mode=0o700)
    folder.config.write_bytes(content)
    folder.config.chmod(mode)


def seen_by_ssh(folder: SshFolder, host: str) -> dict[str, str]:
    """What ssh itself makes of a host, without connecting."""
    done = subprocess.run(["ssh", "-G", "-F", folder.config, host], capture_output=True, text=True, check=True)
    return dict(line.partition(" ")[::2] for line in done.stdout.splitlines())


@needs_ssh
@pytest.mark.parametrize("before", [None, b"", MINE])
def test_ssh_connects_with_the_published_key_and_no_other(
    fleet: Fleet, folder: SshFolder, before: bytes | None
) -> None:
    """Whatever the user's own configuration says after it; a host of the user's is as before."""
    if before is not None:
        config(folder, before)
    name = ssh_config.host_name(OUTPUTS.stack)
    assert files.add(fleet, folder) == folder.block(OUTPUTS.stack)
    head = seen_by_ssh(folder, name)
    assert (head["user"], head["hostkeyalias"]) == (OUTPUTS.ssh_user, name)
    assert "HostName" not in folder.block(OUTPUTS.stack).read_text(), "its address changes"
    assert head["stricthostkeychecking"] == "true"
    assert head["userknownhostsfile"].strip('"') == str(folder.known_hosts(OUTPUTS.stack))
    assert head["globalknownhostsfile"] == "/dev/null"
    assert folder.known_hosts(OUTPUTS.stack).read_text() == f"{name} {KEY}\n"
    for host in (name, f"{name}-worker-12", f"{name}-i-0abc"):
        far = seen_by_ssh(folder, host)
        assert far["stricthostkeychecking"] == "true"
        if host != name:
            assert far["userknownhostsfile"].strip('"') == str(folder.workers_known_hosts(OUTPUTS.stack))
        assert far["proxycommand"].endswith(" '%n'")  # which a shell reads
        said = subprocess.check_output(["sh", "-c", f"printf '%s\\n' {far['proxycommand']}"], text=True)
        assert said.splitlines() == [
            *(sys.executable, "-m", "sweepfleet.fleet.reach.ssh_proxy"),
            *("--root", str(fleet.root), "--stack", OUTPUTS.stack, "%n"),
        ]
    if before:
        assert seen_by_ssh(folder, "sweepfleet-other")["port"] == "2222"


def test_the_stacks_own_key_is_the_one_that_is_offered(fleet: Fleet, folder: SshFolder) -> None:
    """An agent with many keys would be refused before it comes to it."""
    folder.path.mkdir(mode=0o700)
    (folder.path / "my key.pub").write_text(fleet.outputs.ssh_public_key)
    files.add(fleet, folder)
    assert "Identit" not in folder.block(OUTPUTS.stack).read_text(), "the private key is not here"
    (folder.path / "my key").touch()
    files.add(fleet, folder)
    text = folder.block(OUTPUTS.stack).read_text()
    assert text.count(f'IdentityFile "{folder.path / "my key"}"\n    IdentitiesOnly yes') == 2


@pytest.mark.parametrize("before", [None, b"", MINE, b"Host a\n"])
def test_removed_it_leaves_everything_as_it_was(fleet: Fleet, folder: SshFolder, before: bytes | None) -> None:
    if before is not None:
        config(folder, before, mode=0o640)
    files.add(fleet, folder)
    files.add(fleet, folder)
    assert folder.config.read_bytes().count(b"Include") == 1
    assert stat.S_IMODE(folder.config.stat().st_mode) == (0o600 if before is None else 0o640)
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.ours.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.ours.stat().st_mode) == 0o700
    assert remove(folder, OUTPUTS.stack)
    assert not folder.ours.exists()
    assert not remove(folder, OUTPUTS.stack)
    if before:
        assert folder.config.read_bytes() == before
    else:
        assert not folder.config.exists()


def test_of_two_stacks_the_other_stays(fleet: Fleet, folder: SshFolder) -> None:
    other = Fleet(fleet.root, replace(fleet.outputs, stack="other"), fleet.cloud)
    other.folder.keep(other.outputs)
    files.add(fleet, folder)
    files.add(other, folder)
    with pytest.raises(UsageError, match="More than one stack has hosts for ssh"):
        files.which(folder, fleet.root, "")
    assert files.which(folder, fleet.root, "other") == "other"
    assert remove(folder, OUTPUTS.stack)
    assert b"Include" in folder.config.read_bytes()
    assert files.which(folder, fleet.root, "") == "other"


def test_a_configuration_kept_elsewhere_is_changed_there(fleet: Fleet, folder: SshFolder, tmp_path: Path) -> None:
    folder.path.mkdir(mode=0o700)
    kept = tmp_path / "dotfiles"
    kept.mkdir()
    (kept / "ssh_config").write_bytes(MINE)
    folder.config.symlink_to(kept / "ssh_config")
    files.add(fleet, folder)
    assert folder.config.is_symlink()
    assert (kept / "ssh_config").read_bytes().endswith(MINE)
    remove(folder, OUTPUTS.stack)
    assert (kept / "ssh_config").read_bytes() == MINE


def test_one_that_cannot_be_changed_is_said_with_the_line_to_add(fleet: Fleet, folder: SshFolder) -> None:
    """And where the user has added it, nothing more is to be done."""
    folder.path.mkdir(mode=0o700)
    folder.config.symlink_to("/proc/self/no-such-folder/config")
    with pytest.raises(UsageError, match=r"cannot be changed .* Add this line above its first Host: Include "):
        files.add(fleet, folder)
    folder.config.unlink()
    own = f'include "{folder.pattern}"\n{MINE.decode()}'.encode()
    folder.config.write_bytes(own)
    files.add(fleet, folder)
    assert folder.config.read_bytes() == own


def test_a_host_of_the_users_is_refused_with_its_place_wherever_it_is_included(
    fleet: Fleet, folder: SshFolder
) -> None:
    name = ssh_config.host_name(OUTPUTS.stack)
    config(folder, b"Include conf.d/*\nInclude ~nobody-of-this-name/x\nHost a\n")
    (folder.path / "conf.d").mkdir()
    theirs = folder.path / "conf.d" / "work"
    theirs.write_text(f"Include ../config\nHost b {name}\nHOST={name}-worker-1\n")
    with pytest.raises(UsageError) as error:
        files.add(fleet, folder)
    assert f"{theirs}, line 2: Host {name}\n" in str(error.value)
    assert f"{theirs}, line 3: Host {name}-worker-1" in str(error.value)
    assert not folder.ours.exists()


def test_the_stack_of_another_checkout_is_not_replaced(fleet: Fleet, folder: SshFolder, tmp_path: Path) -> None:
    """Until it is down or its checkout is gone."""
    files.add(fleet, folder)
    other = Fleet(tmp_path / "other", fleet.outputs, fleet.cloud)
    other.folder.keep(other.outputs)
    for command in (
        lambda: files.add(other, folder),
        lambda: files.which(folder, other.root, OUTPUTS.stack),
    ):
        with pytest.raises(UsageError, match=f"is the stack {OUTPUTS.stack} of another checkout"):
            command()
    other.folder.forget()
    assert folder.block(OUTPUTS.stack).exists(), "another checkout's stack of this name is not this one"
    shutil.rmtree(fleet.root)
    assert files.which(folder, other.root, OUTPUTS.stack) == OUTPUTS.stack
    files.add(other, folder)
    assert folder.blocks()[OUTPUTS.stack].root == other.root


def test_a_head_without_a_published_key_writes_nothing(fleet: Fleet, folder: SshFolder) -> None:
    nobody = Fleet(fleet.root, replace(fleet.outputs, head_identity="AROA:i-0new"), fleet.cloud)
    with pytest.raises(NoKeyError):
        files.add(nobody, folder)
    assert not folder.path.exists()


def test_the_hosts_of_a_stack_that_is_down_go_with_it(fleet: Fleet, folder: SshFolder) -> None:
    files.add(fleet, folder)
    assert fleet.folder.forget()
    assert not folder.config.exists()
    assert not fleet.folder.forget()


def test_stale_hosts_are_known_with_their_fix(
    fleet: Fleet, folder: SshFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.add(fleet, folder)
    assert files.stale(folder) == {}
    stack = OUTPUTS.stack
    again, away = f"inv ssh-config --stack {stack}", f"inv ssh-config --remove --stack {stack}"
    fleet.folder.keep(replace(fleet.outputs, head_id="i-0new"))
    assert files.stale(folder)[stack] == ("the head was replaced", again)
    monkeypatch.setenv("PATH", "/nowhere")
    [finding] = [one for one in examine(fleet.root, asked_stack=stack) if one.subject == "SSH configuration"]
    assert (finding.good, finding.fix) == (False, again)
    fleet.folder.keep(fleet.outputs)
    folder.config.unlink()
    assert files.stale(folder)[stack][1] == again
    fleet.folder.outputs_file.unlink()
    assert files.stale(folder)[stack][1] == away
    shutil.rmtree(fleet.root)
    assert files.stale(folder)[stack][1] == away


def worker(instance_id: str) -> Worker:
    return Worker(instance_id, "c7i.large", "us-east-1a", True, "running", "10.42.3.4", None)  # type: ignore[arg-type]


def test_a_worker_is_found_by_its_place_or_its_id(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Group(2, 3, (worker("i-0a1"), worker("i-0b2")))
    monkeypatch.setattr(ssh_proxy, "group", lambda *_: found)
    monkeypatch.setattr("sweepfleet.fleet.fleet.group", lambda *_: found)
    name = ssh_config.host_name(OUTPUTS.stack)
    assert ssh_proxy.worker_of(fleet, f"{name}-worker-2").instance_id == "i-0b2"
    assert ssh_proxy.worker_of(fleet, f"{name}-i-0a").instance_id == "i-0a1"
    for wrong in ("worker-0", "worker-3", "worker-x", "worker-²"):
        with pytest.raises(UsageError, match=rf"is not a worker. Workers now: \n  {name}-worker-1  i-0a1\n"):
            ssh_proxy.worker_of(fleet, f"{name}-{wrong}")
    with pytest.raises(UsageError, match="No worker has an id that begins with 'i-0c'"):
        ssh_proxy.worker_of(fleet, f"{name}-i-0c")


def test_the_way_to_a_worker_brings_its_key_before_ssh_looks(
    fleet: Fleet, folder: SshFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a name that now means another machine has the other's key alone."""
    key = BucketLayout().host_key(f"{OUTPUTS.worker_role_id}:i-0a1")
    fleet.cloud.client("s3").put_object(Bucket=OUTPUTS.bucket, Key=key, Body=b"ssh-ed25519 AAAAWorker root@w")
    monkeypatch.setattr(ssh_proxy, "group", lambda *_: Group(1, 3, (worker("i-0a1"),)))
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda _, command: started.append(command))
    name = ssh_config.host_name(OUTPUTS.stack)
    add_worker(folder, OUTPUTS.stack, f"{name}-worker-1", "ssh-ed25519 AAAABefore")
    add_worker(folder, OUTPUTS.stack, f"{name}-worker-2", "ssh-ed25519 AAAAOther")
    ssh_proxy.main(["--root", str(fleet.root), "--stack", OUTPUTS.stack, f"{name}-worker-1"])
    assert folder.workers_known_hosts(OUTPUTS.stack).read_text() == (
        f"{name}-worker-2 ssh-ed25519 AAAAOther\n{name}-worker-1 ssh-ed25519 AAAAWorker\n"
    )
    [command] = started
    assert command[command.index("-W") + 1] == "[10.42.3.4]:22"
    assert command[-1] == f"{OUTPUTS.ssh_user}@{fleet.state().public_ip}"
    assert "StrictHostKeyChecking=yes" in command


def test_the_way_to_the_head_starts_it_and_goes_to_its_address_of_then(
    fleet: Fleet, folder: SshFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ssh sends goes there, and what comes from there to ssh, until either ends."""
    awake = replace(fleet.outputs, head_ip="127.0.0.1")
    monkeypatch.setattr(Fleet, "woken", lambda _: awake)
    to_ssh, from_ssh = os.pipe(), os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as head, contextlib.ExitStack() as stack:
        monkeypatch.setattr(ssh_proxy, "SSH_PORT", head.getsockname()[1])
        kept = {number: os.dup(number) for number in (0, 1)}
        for number, before in kept.items():
            stack.callback(os.dup2, before, number)

        def answer() -> None:
            line, _ = head.accept()
            with line:
                line.sendall(line.recv(100).upper())

        thread = threading.Thread(target=answer)
        thread.start()
        os.write(from_ssh[1], b"hello")
        os.dup2(from_ssh[0], 0)
        os.dup2(to_ssh[1], 1)
        ssh_proxy.main(["--root", str(fleet.root), "--stack", OUTPUTS.stack, ssh_config.host_name(OUTPUTS.stack)])
        thread.join()
    assert os.read(to_ssh[0], 100) == b"HELLO"
    for end in (*to_ssh, *from_ssh, *kept.values()):
        os.close(end)


def test_a_head_that_does_not_answer_is_said(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ClusterError, match="does not answer on port"):
        ssh_proxy.relay("127.0.0.1", port)
